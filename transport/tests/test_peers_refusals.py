"""Who is not let in, and what hostile bytes may not do: counted, told where it can be, gone on."""

import os
import random
import socket as tcp
from collections.abc import Callable
from typing import Any

import pytest
import zmq

from metastore.transport import limits
from metastore.transport.handshake import HEADER_BYTES, Header, encode_header
from metastore.transport.links import PeerLink, Place
from metastore.transport.peers import PeerTransport

NOWHERE = "tcp://127.0.0.1:1"
CLUSTER = 9

Opener = Callable[..., PeerTransport]
Eventually = Callable[[Callable[[], Any]], Any]


def receive(transport: PeerTransport, eventually: Eventually) -> list[tuple[int, bytes]]:
    return list(eventually(lambda: transport.drain(100)))


def speak(raw: Any, address: str, header: bytes, *frames: bytes) -> Any:
    socket = raw(address)
    socket.send_multipart([header, *frames])
    return socket


# Strangers


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (encode_header(Header(8, 2, 77, 1)), "stranger cluster"),
        (encode_header(Header(CLUSTER, 3, 77, 1)), "unknown node"),
        (encode_header(Header(CLUSTER, 1, 77, 1)), "duplicate node"),
        (encode_header(Header(CLUSTER, 2, 77, 1), version=7), "other version"),
    ],
)
def test_a_stranger_is_refused_counted_and_told_why(
    header: bytes, reason: str, node: Opener, raw: Any, eventually: Eventually
) -> None:
    one = node(1, {2: NOWHERE})
    socket = speak(raw, one.address, header, b"payload")
    eventually(lambda: one.drain(10) or one.counters()["refused"])
    assert one.counters()["refused"] == {0: {reason: 1}}
    assert socket.recv_multipart()[1] == reason.encode()


def test_an_old_incarnation_is_refused_under_its_own_id(
    node: Opener, raw: Any, eventually: Eventually
) -> None:
    one = node(1, {2: NOWHERE})
    speak(raw, one.address, encode_header(Header(CLUSTER, 2, 77, 5)), b"new")
    assert receive(one, eventually) == [(2, b"new")]
    speak(raw, one.address, encode_header(Header(CLUSTER, 2, 77, 4)), b"old")
    eventually(lambda: one.drain(10) or one.counters()["refused"])
    assert one.counters()["refused"] == {2: {"old incarnation": 1}}


def test_a_refusal_shows_at_the_sender_and_goes_when_it_no_longer_holds(
    node: Opener, meet: Any, eventually: Eventually
) -> None:
    one = node(1, {})
    two = node(2, {1: one.address})

    def send_and_drain() -> list[tuple[int, bytes]]:
        two.send(1, b"x")
        return one.drain(10)

    eventually(lambda: send_and_drain() or two.refusals)
    assert two.refusals == {1: "unknown node"}
    meet(one, {2: two.address})
    eventually(lambda: (send_and_drain(), not two.refusals)[1])
    assert two.refusals == {}


def test_a_refusal_goes_with_the_connection_it_came_over(
    node: Opener, eventually: Eventually
) -> None:
    one = node(1, {})
    two = node(2, {1: one.address})
    eventually(lambda: (two.send(1, b"x"), one.drain(10), two.refusals)[2])
    one.close()
    eventually(lambda: not two.refusals)


def test_watching_a_connection_never_blocks_the_one_who_reports() -> None:
    context: zmq.Context[Any] = zmq.Context()
    link = PeerLink(context, b"me", [Place(NOWHERE, "")], None, now=0.0)
    assert link._monitor.getsockopt(zmq.RCVHWM) == 0  # unlimited; a full one would block libzmq
    link.close()
    context.term()


def test_who_is_no_member_any_more_is_neither_sent_to_nor_heard(
    pair: tuple[PeerTransport, PeerTransport], meet: Any, eventually: Eventually
) -> None:
    one, two = pair
    meet(one, {})
    assert not one.send(2, b"x")
    two.send(1, b"y")
    eventually(lambda: one.drain(10) or one.counters()["refused"])
    assert one.counters()["refused"] == {0: {"unknown node": 1}}


def test_a_stranger_with_the_node_id_of_a_peer_does_not_take_its_connection(
    pair: tuple[PeerTransport, PeerTransport], node: Opener, eventually: Eventually
) -> None:
    one, two = pair
    stranger = node(2, {1: one.address}, cluster=8)
    eventually(lambda: (stranger.send(1, b"z"), one.drain(10), stranger.refusals)[2])
    assert two.send(1, b"still here")
    assert receive(one, eventually) == [(2, b"still here")]
    assert two.counters()["connected"] == [1]


# Hostile frames: H8


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"x"],
        [random.Random(1).randbytes(HEADER_BYTES)],
        [random.Random(1).randbytes(HEADER_BYTES), b"x"],
        [random.Random(1).randbytes(HEADER_BYTES), os.urandom(100)],
        [encode_header(Header(CLUSTER, 2, 77, 1))],
        [encode_header(Header(CLUSTER, 2, 77, 1)), b"x", b"one frame too many"],
        [encode_header(Header(CLUSTER, 2, 77, 1))[:-1], b"x"],
        [b"x"] * 1000,
    ],
)
def test_a_malformed_message_is_counted_and_the_next_one_arrives(
    frames: list[bytes], node: Opener, raw: Any, eventually: Eventually
) -> None:
    one = node(1, {2: NOWHERE})
    socket = speak(raw, one.address, *frames)
    socket.send_multipart([encode_header(Header(CLUSTER, 2, 77, 1)), b"good"])
    assert receive(one, eventually) == [(2, b"good")]
    assert one.counters()["refused"] == {0: {"malformed": 1}}


def test_bytes_that_are_not_even_zeromq_leave_the_socket_alive(
    pair: tuple[PeerTransport, PeerTransport], eventually: Eventually
) -> None:
    one, two = pair
    host, port = one.address.removeprefix("tcp://").split(":")
    for garbage in (
        random.Random(1).randbytes(4096),
        b"GET / HTTP/1.1\r\n\r\n" * 50,
        b"\xff" + b"\x7f" * 200,
    ):
        with tcp.create_connection((host, int(port))) as connection:
            connection.sendall(garbage)
    assert two.send(1, b"good")
    assert receive(one, eventually) == [(2, b"good")]


def test_a_frame_over_the_limit_ends_its_connection_and_no_other(
    pair: tuple[PeerTransport, PeerTransport], raw: Any, eventually: Eventually
) -> None:
    one, two = pair
    header = encode_header(Header(CLUSTER, 2, 77, 1))
    huge = raw(one.address)
    monitor = huge.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    huge.send_multipart([header, bytes(limits.PEER_PAYLOAD_BYTES_MAX + 1)])
    assert monitor.poll(20_000)
    huge.disable_monitor()
    assert two.send(1, b"good")
    assert receive(one, eventually) == [(2, b"good")]


def test_a_stranger_cannot_fill_the_refusals_of_a_node_it_is_asked_by(
    node: Opener, context: zmq.Context[Any], eventually: Eventually
) -> None:
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.RCVTIMEO, 20_000)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    one = node(1, {2: f"tcp://127.0.0.1:{port}"})
    eventually(lambda: one.send(2, b"x"))
    identity = router.recv_multipart()[0]
    router.send_multipart([identity, b"anything"])
    router.send_multipart([identity, encode_header(Header(8, 2, 77, 1)), b"a text of its own"])
    router.send_multipart([identity, encode_header(Header(8, 2, 77, 1)), b"stranger cluster"])
    assert eventually(lambda: one.refusals) == {2: "stranger cluster"}
