"""Stores larger than memory, restarts with many keys, and an empty node that joins a busy cluster.

What runs here is small enough for every run. The long forms are the same tests with
METASTORE_LARGE_BYTES (5000000000: five gigabytes under one) and METASTORE_LARGE_KEYS (1000000) in
the environment; add `-s` for the figures that they print. Nothing asserts a time: speed is
scripts/bench's to measure.

Memory is limited by RLIMIT_DATA (see memory_limit.py), which needs no rights and no control group.
RocksDB's blocks are read through its own cache and the system's, and files are the one thing that
the system may take back; so it is private memory that has to be bounded, and the resident size is
looked at as well.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from filling import fill, some_are_right
from node_processes import NodeProcesses, ask_status, eventually

from metastore.client import Client

MIB = 1 << 20
IS_LONG = "METASTORE_LARGE_BYTES" in os.environ or "METASTORE_LARGE_KEYS" in os.environ
LARGE_BYTES = int(os.environ.get("METASTORE_LARGE_BYTES", 300_000_000))
LARGE_KEYS = int(os.environ.get("METASTORE_LARGE_KEYS", 0))
VALUE_BYTES = 16 << 10
SMALL_VALUE_BYTES = 128
WRITERS = 4
LONG_S = 3600.0
ENGINES = ("memory", "rocksdb")

pytestmark = pytest.mark.timeout(LONG_S if IS_LONG else 180)


class LimitedNodes(NodeProcesses):
    """Nodes that can have no more than `limit_bytes` of memory for themselves."""

    limit_bytes = 0

    def command(self, node_id: int) -> list[str]:
        program = [sys.executable, str(Path(__file__).with_name("memory_limit.py"))]
        return [*program, str(self.limit_bytes), *super().command(node_id)]


def peak_bytes(pid: int) -> int:
    """The largest resident size that the process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def detail(cluster: NodeProcesses, node_id: int, *path: str) -> Any:
    answer: Any = ask_status(cluster.address(node_id, "status"), "status")
    for name in path:
        answer = answer.get(name, {}) if isinstance(answer, dict) else {}
    return answer


def tell(text: str) -> None:
    """For whoever runs the long forms, and with `-s` the short ones."""
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


class Stopwatch:
    """Tells what took how long."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def lap(self, what: str, count: int = 0) -> None:
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        rate = f", {count / seconds:,.0f}/s" if count else ""
        tell(f"{what}: {seconds:.2f} s{rate}")


def test_a_rocksdb_node_serves_more_data_than_its_memory_holds(
    xprocess: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "limited"
    folder.mkdir()
    options = ["--engine", "rocksdb", "--quota-bytes", "0"]
    if not IS_LONG:  # the default settings are for a limit of a gigabyte
        options += ["--snapshot-bytes", str(16 * MIB), "--rocksdb-write-buffer-bytes", str(4 * MIB)]
        options += ["--rocksdb-cache-bytes", str(8 * MIB)]
    cluster = LimitedNodes(xprocess, folder, 1, options)
    cluster.limit_bytes = (1 << 30) if IS_LONG else LARGE_BYTES * 2 // 3
    watch, count = Stopwatch(), LARGE_BYTES // VALUE_BYTES
    try:
        cluster.start()
        cluster.leader()
        with cluster.client() as client:
            watch.lap("start")
            fill(client, count, VALUE_BYTES)
            watch.lap("puts", count)
            some_are_right(client, count, VALUE_BYTES, 2000)
            watch.lap("reads at random keys", 2000)
        peak = peak_bytes(cluster.pids[1])
        cluster.kill(1)
        watch.lap("kill")
        cluster.start()
        cluster.leader()
        watch.lap("restart until there is a leader")
        with cluster.client() as client:
            some_are_right(client, count, VALUE_BYTES)
            client.put("after", "the restart")
        peak = max(peak, peak_bytes(cluster.pids[1]))
        watch.lap("first reads and a write")
        tell(f"largest resident size: {peak / MIB:.0f} MiB")
        assert peak < cluster.limit_bytes
        assert detail(cluster, 1, "store", "size_bytes") > cluster.limit_bytes
    finally:
        cluster.stop()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_store_with_many_keys_restarts_with_all_of_them(
    make_cluster: Callable[..., NodeProcesses], engine: str
) -> None:
    count = LARGE_KEYS or 100_000
    cluster = make_cluster(1, ("--engine", engine, "--quota-bytes", "0"))
    cluster.start()
    cluster.leader()
    watch = Stopwatch()
    with cluster.client() as client:
        fill(client, count, SMALL_VALUE_BYTES)
        watch.lap(f"{engine}: puts", count)
        cluster.kill(1)
        watch.lap(f"{engine}: kill")
        cluster.start()
        cluster.leader()
        watch.lap(f"{engine}: restart until there is a leader")
        eventually(
            "all keys are there again (this is published once a tick)",
            lambda: detail(cluster, 1, "store", "key_count") == count,
        )
        some_are_right(client, count, SMALL_VALUE_BYTES)
        fill(client, 100, SMALL_VALUE_BYTES, start=count)


class Writers:
    """Threads with a client each that overwrite keys until `stop`, and remember what failed."""

    def __init__(self, cluster: NodeProcesses, count: int) -> None:
        self._cluster, self._stopping = cluster, threading.Event()
        self.written, self.failures = [0] * count, list[Exception]()
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, number: int) -> None:
        try:
            with self._cluster.client(timeout_s=20.0) as client:
                while not self._stopping.is_set():
                    client.put(f"load/{number}/{self.written[number] % 100}", b"x" * 100)
                    self.written[number] += 1
        except Exception as error:
            self.failures.append(error)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


def lag_ms(cluster: NodeProcesses, node_ids: Sequence[int]) -> list[int]:
    """The longest delay of each node's loop since its start."""
    return [detail(cluster, node_id, "counters", "loop.lag_ms_max") for node_id in node_ids]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_node_joins_under_write_load_and_catches_up(
    make_cluster: Callable[..., NodeProcesses], engine: str
) -> None:
    count = LARGE_KEYS or 20_000
    options = ["--engine", engine, "--quota-bytes", "0"]
    if not IS_LONG:
        options += ["--snapshot-entries", "100", "--snapshot-trailing-entries", "10"]
    options += ["--snapshot-bytes", str(64 * MIB if IS_LONG else MIB // 4)]
    cluster = make_cluster(3, tuple(options))
    cluster.start(1, 2)
    leader = cluster.leader([1, 2])
    with cluster.client() as client:
        fill(client, count, SMALL_VALUE_BYTES)
    eventually(
        "the log no longer reaches back to its beginning",
        lambda: detail(cluster, leader, "log", "first_index") > 2,
    )
    term = cluster.status(leader)["term"]
    tell(f"{engine}: lag before: {lag_ms(cluster, [1, 2])} ms")
    watch, writers = Stopwatch(), Writers(cluster, WRITERS)
    try:
        cluster.start(3)
        target = cluster.status(leader)["commit"]
        eventually(
            "the empty node has caught up under load",
            lambda: cluster.status(3).get("applied", 0) >= target,
            LONG_S,
        )
        watch.lap(f"{engine}: an empty node has caught up with {count} keys, under load")
    finally:
        writers.stop()
    tell(f"{engine}: {sum(writers.written)} writes, lag {lag_ms(cluster, [1, 2, 3])} ms")
    assert not writers.failures
    assert all(writers.written)
    assert (cluster.leader(), cluster.status(leader)["term"]) == (leader, term)
    assert "restored snapshot" in cluster.log(3)
    all_hold_the_same(cluster)


def all_hold_the_same(cluster: NodeProcesses) -> None:
    """By their checksums at one revision; each node works out its own."""
    with cluster.client(timeout_s=60.0) as client:
        revision = client.put("last", "one").revision
    eventually(
        "all nodes have reached the last revision",
        lambda: all(detail(cluster, n, "store", "revision") >= revision for n in cluster.node_ids),
    )
    if IS_LONG:  # a hash of so many keys takes longer than a client waits before it asks again
        counts = {detail(cluster, n, "store", "key_count") for n in cluster.node_ids}
        assert len(counts) == 1
        return
    hashes = set()
    for node_id in cluster.node_ids:
        with Client(cluster.address(node_id, "client"), is_pinned=True, timeout_s=60.0) as client:
            hashes.add(client.hash(revision, level="local").hash)
    assert len(hashes) == 1
