"""Strangers at the sockets of a node with keys: without a key, with an unknown one, and with bytes
that are no handshake at all; each refused and counted, and the node serves who may come (H8)."""

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from node_processes import LOOPBACK, SOCKETS, NodeProcesses, eventually

from metastore.transport.envelope import Welcome, decode_node_frame, encode_hello
from metastore.transport.security import CurveClient, Keys, new_keys, write_key_file
from metastore.transport.sockets import open_dealer

pytestmark = pytest.mark.timeout(120)


class Keyed:
    """A node with keys that is alone, and who talks to it."""

    def __init__(self, cluster: NodeProcesses, folder: Path, context: zmq.Context[Any]) -> None:
        self.cluster, self.context = cluster, context
        self.keys = new_keys()
        write_key_file(folder / "node.key", self.keys)
        (folder / "access.toml").write_text(f'[nodes]\nkeys = ["{self.keys.public}"]\n')
        files = ("--key-file", folder / "node.key", "--access-file", folder / "access.toml")
        cluster.options += tuple(map(str, files))
        cluster.start()

    def dial(self, name: str, keys: Keys | None) -> Any:
        """A DEALER, connected or not; without `keys` it speaks in plaintext."""
        curve = None if keys is None else CurveClient(keys, self.keys.public)
        sizes = {"frame_bytes_max": 1 << 20, "send_max": 10, "receive_max": 10}
        address = self.cluster.address(1, name)
        return open_dealer(self.context, address, routing_id=b"", curve=curve, **sizes)

    def ask(self, name: str, *frames: bytes) -> list[bytes]:
        """With the right key."""
        dealer = self.dial(name, self.keys)
        assert dealer.poll(10_000, zmq.POLLOUT), f"the {name} socket lets in who has the key"
        dealer.send_multipart(frames)
        assert dealer.poll(10_000)
        answer: list[bytes] = dealer.recv_multipart()
        dealer.close(0)
        return answer

    def counters(self) -> dict[str, int]:
        answer = msgpack.unpackb(self.ask("status", b"", msgpack.packb({"method": "status"}))[-1])
        return {k: v for k, v in answer["counters"].items() if k.startswith("keys.")}


@pytest.fixture
def keyed(make_cluster: Callable[..., NodeProcesses], tmp_path: Path) -> Iterator[Keyed]:
    context: zmq.Context[Any] = zmq.Context()
    yield Keyed(make_cluster(1), tmp_path, context)
    context.destroy(linger=0)


def test_strangers_get_nothing_through_any_socket_and_are_counted(keyed: Keyed) -> None:
    chance = random.Random(1)
    strangers = [keyed.dial(name, keys) for name in SOCKETS for keys in (None, new_keys())]
    for name in SOCKETS:
        for _ in range(5):
            port = keyed.cluster.ports[1][name]
            with socket.create_connection((LOOPBACK, port)) as raw:
                raw.sendall(chance.randbytes(chance.randrange(1, 2000)))

    def are_counted() -> bool:
        counted = keyed.counters()
        return all(
            any(reason.startswith(f"keys.{name}.{part}") for reason in counted)
            for name in SOCKETS
            for part in ("its key is not in the access file", "it does not use a key")
        )

    eventually("each stranger is counted by its socket and reason", are_counted)
    # Not one of them was ever let in: there is nobody to send to.
    assert not any(stranger.poll(0, zmq.POLLOUT) for stranger in strangers)
    assert isinstance(decode_node_frame(keyed.ask("client", encode_hello(1, 0))[0]), Welcome)
    log = keyed.cluster.log(1)
    assert keyed.keys.secret not in log
    # Each once, however often it came back.
    assert log.count("its key is not in the access file") == len(SOCKETS)
