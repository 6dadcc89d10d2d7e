"""Bytes that no node or client of ours sends, to every socket: refused, counted, and the node goes
on."""

import os
import random
import socket
from collections.abc import Iterator

import msgpack
import pytest
import zmq
from node_processes import LOOPBACK, SOCKETS, NodeProcesses, ask_status, eventually

from metastore.transport import envelope
from metastore.transport.handshake import Header, encode_header

SEED = int(os.environ.get("METASTORE_HOSTILE_SEED", "1"))

pytestmark = pytest.mark.timeout(180)


def hostile_frames(chance: random.Random) -> Iterator[list[bytes]]:
    yield [b""]
    yield [b"", b""]
    for value in (None, 1, "text", [], {}, [1], [1, 2], [99, 1, 1, 0], [1, 2, -1, 0, b""]):
        yield [msgpack.packb(value)]
    yield [msgpack.packb([1, 2, 1, 0, b"x"])[:-1]]
    yield [b"\xc6\x40\x00\x00\x00"]  # claims a gigabyte
    yield [b"\x91" * 5000]  # deeply nested
    yield [b"\x82\xa1a\x01\xa1a\x02"]  # a key twice
    yield [chance.randbytes(100_000)]
    for _ in range(60):
        yield [chance.randbytes(chance.randrange(200)) for _ in range(chance.randrange(1, 4))]
    header = Header(1, 2, 3, 4)
    yield [encode_header(header), msgpack.packb([[1, 2, 3]])]
    yield [encode_header(header)[:-1], b"x"]


def node_is_well(cluster: NodeProcesses) -> None:
    cluster.leader()
    with cluster.client() as client:
        client.put("still", "alive")
        found = client.get("still")
    assert found is not None
    assert found.value == b"alive"


@pytest.mark.parametrize("name", SOCKETS)
def test_hostile_frames_to_a_socket_leave_the_node_well(cluster: NodeProcesses, name: str) -> None:
    chance = random.Random(SEED)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 1000
    dealer.connect(cluster.address(1, name))
    for frames in hostile_frames(chance):
        dealer.send_multipart(frames)
    dealer.close()
    for _ in range(20):
        with socket.create_connection((LOOPBACK, cluster.ports[1][name])) as raw:
            raw.sendall(chance.randbytes(chance.randrange(1, 2000)))
    node_is_well(cluster)


def test_malformed_frames_are_counted_in_status(cluster: NodeProcesses) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    for name in ("client", "peer"):
        dealer = context.socket(zmq.DEALER)
        dealer.linger = 1000
        dealer.connect(cluster.address(1, name))
        dealer.send(b"\xc1")
        dealer.close()

    def counted() -> bool:
        answer = ask_status(cluster.address(1, "status"), "status")
        counters = answer.get("counters", {})
        return bool(counters.get("clients.dropped.malformed")) and any(
            name.startswith("peers.") and "malformed" in name and count
            for name, count in counters.items()
        )

    eventually("both refusals are counted", counted)


def test_a_client_of_another_cluster_is_refused_with_the_reason(cluster: NodeProcesses) -> None:
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect(cluster.address(1, "client"))
    dealer.send(envelope.encode_hello(7, cluster_id=12345))
    assert dealer.poll(5000)
    answer = envelope.decode_node_frame(dealer.recv())
    dealer.close()
    assert isinstance(answer, envelope.Error)
    assert answer.code == envelope.ErrorCode.WRONG_CLUSTER


def test_a_client_of_another_version_is_refused_with_the_reason(cluster: NodeProcesses) -> None:
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect(cluster.address(1, "client"))
    dealer.send(msgpack.packb([99, 1, 7, 0]))
    assert dealer.poll(5000)
    answer = envelope.decode_node_frame(dealer.recv())
    dealer.close()
    assert isinstance(answer, envelope.Error)
    assert answer.code == envelope.ErrorCode.WRONG_VERSION
