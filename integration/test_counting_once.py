"""What is not to be done twice is done once over kill -9: puts counted by a key's version (A13).

Failed commands stand between them; they too are entries that count as applied.
"""

import os
import random
import threading
import time
from collections.abc import Callable

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses
from test_snapshots import all_hold_the_same

from metastore.client import Client, ops, value
from metastore.client.errors import MetastoreError, OutcomeUnknown

ROUNDS = int(os.environ.get("METASTORE_COUNT_ROUNDS", "2"))
SEED = int(os.environ.get("METASTORE_COUNT_SEED", "1"))

pytestmark = [pytest.mark.timeout(60 + 30 * ROUNDS), BOTH_ENGINES]


class Counter(threading.Thread):
    """Puts one key again and again, each time after a transaction that fails."""

    def __init__(self, client: Client, key: str) -> None:
        super().__init__(daemon=True)
        self.client, self.key = client, key
        self.stopping = threading.Event()
        self.counted = self.unknown = self.succeeded_wrongly = 0

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                compare = value(self.key) == b"never"
                failed = self.client.txn([compare], [ops.put(self.key, b"no")], timeout_s=2)
                self.succeeded_wrongly += failed.succeeded
                self._count()
            except MetastoreError:
                time.sleep(0.01)  # no leader yet: yield to the nodes that elect one

    def _count(self) -> None:
        try:
            self.client.put(self.key, b"once", timeout_s=2)
            self.counted += 1
        except OutcomeUnknown:
            self.unknown += 1


@pytest.mark.parametrize("count", [1, 3])
def test_every_acknowledged_put_is_done_once_over_kills(
    make_cluster: Callable[..., NodeProcesses], count: int
) -> None:
    cluster = make_cluster(count, ("--snapshot-entries", "100"))
    chance = random.Random(SEED)
    for number in range(ROUNDS):
        cluster.start()
        cluster.leader()
        with cluster.client() as client:
            counters = [Counter(client, f"c{number}/{name}") for name in range(3)]
            for counter in counters:
                counter.start()
            time.sleep(chance.uniform(0.2, 0.8))
            cluster.kill(*cluster.node_ids)
            for counter in counters:
                counter.stopping.set()
            for counter in counters:
                counter.join(10)
        cluster.start()
        cluster.leader()
        with cluster.client() as client:
            check(client, counters)
        all_hold_the_same(cluster)
        cluster.kill(*cluster.node_ids)


def check(client: Client, counters: list[Counter]) -> None:
    assert sum(counter.counted for counter in counters), "nothing was counted"
    for counter in counters:
        found = client.get(counter.key)
        version = 0 if found is None else found.version
        assert not counter.succeeded_wrongly
        assert counter.counted <= version <= counter.counted + counter.unknown, (
            f"{counter.key}: {version} times, acknowledged {counter.counted}, "
            f"unknown {counter.unknown}; again with METASTORE_COUNT_SEED={SEED}"
        )
