"""Whatever breaks inside a node ends it: with an exit code and a last line, never half-alive (H7).

Each test breaks one place where a node works and then gives it something to do there.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from node_changes import BROKEN
from node_processes import SOCKETS, NodeProcesses, eventually

from metastore.client import Client
from metastore.node.exit_codes import ExitCode
from metastore.transport.envelope import encode_request_frame
from metastore.transport.schema import Op, encode_request
from metastore.transport.security import CurveClient, new_keys, write_key_file
from metastore.transport.sockets import open_dealer

pytestmark = pytest.mark.timeout(120)
WITH_KEYS = ("keys", "handshakes")
PUT = encode_request_frame(1, 0, encode_request([(Op.PUT, b"k", b"v", 0, 0)]))


@contextmanager
def poking(cluster: NodeProcesses, curve: CurveClient | None) -> Iterator[Callable[[], None]]:
    """Gives every socket of node 1 something to do, each time it is called."""
    context: zmq.Context[Any] = zmq.Context()
    sizes = {"frame_bytes_max": 1 << 20, "send_max": 10, "receive_max": 10}

    def poke() -> None:
        for name in SOCKETS:
            # Each time anew: the thread that asks for keys hears of new connections only.
            dealer = open_dealer(
                context, cluster.address(1, name), routing_id=b"", curve=curve, **sizes
            )
            if dealer.poll(50, zmq.POLLOUT):
                dealer.send(PUT, zmq.NOBLOCK)
                dealer.poll(50)
            dealer.close(0)

    yield poke
    context.destroy(linger=0)


def with_keys(cluster: NodeProcesses, folder: Path) -> CurveClient:
    """The cluster's nodes share one key; so does who uses it."""
    keys = new_keys()
    write_key_file(folder / "node.key", keys)
    (folder / "access.toml").write_text(f'[nodes]\nkeys = ["{keys.public}"]\n')
    cluster.options += ("--key-file", str(folder / "node.key"))
    cluster.options += ("--access-file", str(folder / "access.toml"))
    return CurveClient(keys, keys.public)


@pytest.mark.parametrize("place", BROKEN)
def test_an_error_anywhere_ends_the_node_with_its_code_and_the_reason(
    make_cluster: Callable[..., NodeProcesses], tmp_path: Path, place: str
) -> None:
    cluster = make_cluster(1)
    curve = with_keys(cluster, tmp_path) if place in WITH_KEYS else None
    cluster.faults[1] = ["--change", place]
    with (
        subprocess.Popen(cluster.command(1), stderr=subprocess.PIPE) as node,
        poking(cluster, curve) as poke,
    ):
        try:
            eventually("the node ends", lambda: (poke(), node.poll())[1])
        finally:
            node.kill()
        assert node.stderr is not None
        shown = node.stderr.read().decode()
    assert node.returncode == ExitCode.INTERNAL, shown
    last = shown.splitlines()[-1]
    assert last.startswith("metastore node stopped, exit code 70 (internal): RuntimeError"), shown
    assert "is out of order" in last


def test_without_a_report_of_deaths_a_node_serves_on_half_alive(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(1)
    cluster.faults[1] = ["--change", "status", "--change", "without a report of deaths"]
    cluster.start()
    with poking(cluster, None) as poke:
        poke()
    with Client(cluster.endpoints) as client:
        client.put("still", "served")
    assert cluster.status(1) == {}
    assert not cluster.has_ended(1)
