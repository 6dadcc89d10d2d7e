"""Writers that remember what was acknowledged, and the check that all of it is still there."""

import threading
import time

from node_processes import NodeProcesses

from metastore.client import Client
from metastore.client.errors import MetastoreError, OutcomeUnknown

KEYS_EACH = 50


class Writer(threading.Thread):
    """Writes numbered values until told to stop; remembers the newest acknowledged of each key and
    whatever later one may have happened."""

    def __init__(self, client: Client, name: str, timeout_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self.client = client
        self.timeout_s = timeout_s
        self.stopping = threading.Event()
        self.acknowledged: dict[str, int] = {}
        self.attempted: dict[str, int] = {}
        self.number = 0
        self.failures: list[MetastoreError] = []

    def run(self) -> None:
        while not self.stopping.is_set():
            self.number += 1
            key = f"{self.name}/{self.number % KEYS_EACH}"
            self.attempted[key] = self.number
            try:
                self.client.put(key, str(self.number), timeout_s=self.timeout_s)
            except OutcomeUnknown as error:
                self.failures.append(error)
            except MetastoreError as error:
                self.failures.append(error)
                time.sleep(0.01)  # no leader yet: yield to the nodes that elect one
            else:
                self.acknowledged[key] = self.number


class Written:
    """What all writers together were told, over any number of crashes."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.attempted: dict[str, int] = {}

    def stop(self, writers: list[Writer]) -> None:
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join(10)
            self.acknowledged |= writer.acknowledged
            self.attempted |= writer.attempted

    def check(self, client: Client, where: str) -> None:
        """AssertionError for a write that was acknowledged and is gone."""
        assert self.acknowledged, "no write was ever acknowledged, so nothing was tested"
        stored = {kv.key.decode(): int(kv.value) for kv in client.scan("r", "s")}
        for key, value in self.acknowledged.items():
            found = stored.get(key, -1)
            assert value <= found <= self.attempted[key], (
                f"{where}: {key} is {found}, acknowledged was {value}"
            )


def start_writers(
    client: Client, name: str, count: int = 4, timeout_s: float = 2.0
) -> list[Writer]:
    writers = [Writer(client, f"r{name}w{number}", timeout_s) for number in range(count)]
    for writer in writers:
        writer.start()
    return writers


def terms(cluster: NodeProcesses) -> dict[int, int]:
    return {node_id: cluster.status(node_id).get("term", 0) for node_id in cluster.node_ids}
