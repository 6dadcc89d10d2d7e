"""All nodes are killed at once, under load, again and again: nothing acknowledged may be missing,
and no node's term may go down (A1, with #202's script: all restart together, somebody wins).

METASTORE_CRASH_ROUNDS sets the number of rounds (100 is the long form), METASTORE_CRASH_SEED the
moments of the kills.
"""

import os
import random
import time
from collections.abc import Callable

import pytest
from load import Written, start_writers, terms
from node_processes import BOTH_ENGINES, NodeProcesses

ROUNDS = int(os.environ.get("METASTORE_CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("METASTORE_CRASH_SEED", "1"))
AGAIN = f"METASTORE_CRASH_SEED={SEED} METASTORE_CRASH_ROUNDS={ROUNDS}"

pytestmark = [pytest.mark.timeout(60 + 30 * ROUNDS), BOTH_ENGINES]


def test_nothing_acknowledged_is_missing_after_all_nodes_were_killed(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3, ("--snapshot-entries", "200"))
    chance = random.Random(SEED)
    written = Written()
    before = dict.fromkeys(cluster.node_ids, 0)
    for number in range(ROUNDS + 1):
        cluster.start()
        cluster.leader()
        now = terms(cluster)
        assert all(now[node_id] >= before[node_id] for node_id in now), (before, now)
        with cluster.client() as client:
            if number:
                written.check(client, f"round {number}, again with {AGAIN}")
            writers = start_writers(client, str(number))
            time.sleep(chance.uniform(0.2, 1.0))
            before = terms(cluster)
            cluster.kill(*cluster.node_ids)
            written.stop(writers)
