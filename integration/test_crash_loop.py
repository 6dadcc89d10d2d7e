"""All nodes are killed at once, under load, again and again: nothing acknowledged may be missing.

METASTORE_CRASH_ROUNDS sets the number of rounds (100 is the long form), METASTORE_CRASH_SEED the
moments of the kills.
"""

import os
import random
import threading
import time
from collections.abc import Callable

import pytest
from node_processes import NodeProcesses

from metastore.client import Client
from metastore.client.errors import MetastoreError, OutcomeUnknown

ROUNDS = int(os.environ.get("METASTORE_CRASH_ROUNDS", "4"))
SEED = int(os.environ.get("METASTORE_CRASH_SEED", "1"))

pytestmark = pytest.mark.timeout(60 + 30 * ROUNDS)


class Writer(threading.Thread):
    """Writes numbered values until told to stop; remembers the newest acknowledged of each key and
    whatever later one may have happened."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.client = client
        self.stopping = threading.Event()
        self.acknowledged: dict[str, int] = {}
        self.attempted: dict[str, int] = {}
        self.number = 0

    def run(self) -> None:
        while not self.stopping.is_set():
            self.number += 1
            key = f"{self.name}/{self.number % 50}"
            self.attempted[key] = self.number
            try:
                self.client.put(key, str(self.number), timeout_s=2)
            except OutcomeUnknown:
                continue
            except MetastoreError:
                time.sleep(0.01)  # no leader yet: yield to the nodes that elect one
            else:
                self.acknowledged[key] = self.number


def test_nothing_acknowledged_is_missing_after_all_nodes_were_killed(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3, ("--snapshot-entries", "200"))
    chance = random.Random(SEED)
    acknowledged: dict[str, int] = {}
    attempted: dict[str, int] = {}
    total = 0
    for number in range(ROUNDS):
        cluster.start()
        cluster.leader()
        with cluster.client() as client:
            check(client, acknowledged, attempted, number)
            writers = [Writer(client, f"r{number}w{n}") for n in range(4)]
            for writer in writers:
                writer.start()
            time.sleep(chance.uniform(0.2, 1.0))
            cluster.kill(*cluster.node_ids)
            for writer in writers:
                writer.stopping.set()
            for writer in writers:
                writer.join(10)
                acknowledged |= writer.acknowledged
                attempted |= writer.attempted
                total += len(writer.acknowledged)
    cluster.start()
    cluster.leader()
    with cluster.client() as client:
        check(client, acknowledged, attempted, ROUNDS)
    assert total > 0, "no write was ever acknowledged, so nothing was tested"


def check(
    client: Client, acknowledged: dict[str, int], attempted: dict[str, int], number: int
) -> None:
    stored = {kv.key.decode(): int(kv.value) for kv in client.scan("r", "s")}
    for key, value in acknowledged.items():
        found = stored.get(key, -1)
        assert value <= found <= attempted[key], (
            f"seed {SEED}, round {number}: {key} is {found}, acknowledged was {value}; "
            f"again with METASTORE_CRASH_SEED={SEED} METASTORE_CRASH_ROUNDS={ROUNDS}"
        )
