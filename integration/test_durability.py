"""An acknowledged write is on disk after a log that cannot grow (A11); and status answers while a
node writes. Power that goes is in test_power_loss.py."""

import resource
import threading
from collections.abc import Callable

import pytest
from lost_power import log_files
from node_processes import BOTH_ENGINES, NodeProcesses, eventually

from metastore.client import Client
from metastore.client.errors import MetastoreError
from metastore.node.exit_codes import ExitCode

LOG_BYTES_MORE = 64 << 10  # how much the log may still grow before the disk "is full"

pytestmark = [pytest.mark.timeout(120), BOTH_ENGINES]


@pytest.fixture
def alone(make_cluster: Callable[..., NodeProcesses]) -> NodeProcesses:
    """A single running node: it commits by its own sync alone."""
    cluster = make_cluster(1)
    cluster.start()
    cluster.leader()
    return cluster


def all_are_there(cluster: NodeProcesses, acknowledged: dict[str, str]) -> None:
    with cluster.client() as client:
        stored = {kv.key.decode(): kv.value.decode() for kv in client.scan("k", "l")}
    assert {key: stored.get(key) for key in acknowledged} == acknowledged


def limit_file_size(pid: int, size_bytes: int) -> None:
    """From now on the process cannot write past this size of any file: EFBIG, since Python ignores
    the signal."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, hard))


def write_until_refused(client: Client, acknowledged: dict[str, str]) -> None:
    for count in range(1_000_000):
        key = f"k/{count}"
        try:
            client.put(key, "x" * 1000, timeout_s=2)
        except MetastoreError:
            return
        acknowledged[key] = "x" * 1000


def test_a_node_whose_log_cannot_be_written_stops_and_has_lost_no_acknowledged_write(
    alone: NodeProcesses,
) -> None:
    log = log_files(alone.data_dir(1), alone.engine)[-1]
    limit_file_size(alone.pids[1], log.stat().st_size + LOG_BYTES_MORE)
    acknowledged: dict[str, str] = {}
    with alone.client() as client:
        write_until_refused(client, acknowledged)
    assert alone.wait_gone(1) == ExitCode.STORAGE
    assert acknowledged, "the limit came before the first write"
    lines = alone.log(1).strip().splitlines()
    assert lines[-1].startswith("metastore node stopped, exit code 3 (storage)")
    assert "File too large" in lines[-1]
    assert "Traceback" not in alone.log(1)
    alone.start()
    alone.leader()
    all_are_there(alone, acknowledged)
    with alone.client() as client:
        client.put("k/after", "repaired")


def test_the_status_socket_goes_on_answering_while_the_node_writes(
    alone: NodeProcesses,
) -> None:
    stopping = threading.Event()
    with alone.client() as client:

        def load() -> None:
            while not stopping.is_set():
                client.put("k/load", "x" * 1000)

        writers = [threading.Thread(target=load) for _ in range(8)]
        for writer in writers:
            writer.start()
        try:
            before = alone.status(1)["applied"]
            for _ in range(50):
                answer = eventually("status answers", lambda: alone.status(1))
                assert answer["state"] == "leader"
            eventually("the load goes on", lambda: alone.status(1).get("applied", 0) > before)
        finally:
            stopping.set()
            for writer in writers:
                writer.join()
