"""The socket of clients: frames in, frames out, and nobody can wedge it."""

import random
import socket as tcp
from collections.abc import Callable, Iterator
from typing import Any

import keyed
import msgpack
import pytest
import zmq

from metastore.transport import limits
from metastore.transport.clients import (
    GONE,
    MALFORMED,
    SLOW,
    UNKNOWN_KEY,
    ClientMessage,
    ClientServer,
    Delivery,
)
from metastore.transport.envelope import (
    Error,
    Hello,
    Request,
    Results,
    decode_node_frame,
    encode_hello,
    encode_request_frame,
    encode_results_frame,
)
from metastore.transport.errors import BindFailed
from metastore.transport.security import CLIENT_DOMAIN, CurveServer, new_keys
from metastore.transport.zap import ZapHandler

ANY_PORT = "tcp://127.0.0.1:*"
Eventually = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def server(context: zmq.Context[Any]) -> Iterator[ClientServer]:
    server = ClientServer(ANY_PORT, context)
    yield server
    server.close()


def receive(server: ClientServer, eventually: Eventually) -> list[ClientMessage]:
    return list(eventually(lambda: server.drain(100)))


def test_a_hello_and_a_request_arrive_and_their_answer_returns(
    server: ClientServer, raw: Any, eventually: Eventually
) -> None:
    client = raw(server.address)
    client.send_multipart([encode_hello(1, 9), encode_request_frame(2, 0, b"operations")])
    arrived = receive(server, eventually)
    assert [message.frame for message in arrived] == [Hello(1, 9), Request(2, 0, b"operations")]
    answers = [encode_results_frame(2, b"results"), encode_results_frame(3, b"more")]
    assert server.reply(arrived[0].identity, answers)
    assert [decode_node_frame(f) for f in client.recv_multipart()] == [
        Results(2, b"results"),
        Results(3, b"more"),
    ]
    assert server.counters() == {"received": 2, "replied": 2, "dropped": {}}


def test_answers_go_to_the_client_that_asked(server: ClientServer, raw: Any, collect: Any) -> None:
    clients = [raw(server.address) for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(encode_request_frame(number, 0, b"x"))
    arrived = collect(lambda: server.drain(10), 3)
    for message in arrived:
        server.reply(message.identity, [encode_results_frame(message.frame.request_id, b"")])
    for number, client in enumerate(clients):
        assert decode_node_frame(client.recv()) == Results(number, b"")


def test_a_drain_counts_frames_against_its_budget(
    server: ClientServer, raw: Any, eventually: Eventually
) -> None:
    client = raw(server.address)
    for number in range(4):
        client.send_multipart([encode_request_frame(number, 0, b"x")] * 3)
    arrived: list[ClientMessage] = []
    while len(arrived) < 12:
        batch = server.drain(4)
        assert len(batch) <= 6
        arrived += batch


def test_a_drain_stops_at_its_bytes(
    server: ClientServer, raw: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CLIENT_DRAIN_BYTES_MAX", 10)
    client = raw(server.address)
    for number in range(3):
        client.send(encode_request_frame(number, 0, bytes(10)))
    for _ in range(3):
        assert len(receive(server, eventually)) == 1


@pytest.mark.parametrize(
    ("frame", "request_id", "code"),
    [
        (b"", 0, "invalid"),
        (random.Random(1).randbytes(50), 0, "invalid"),
        (b"\x91" * 3000, 0, "invalid"),
        (b"\xdd\xff\xff\xff\xff", 0, "invalid"),
        (msgpack.packb([1, 2, 5, 0, "text"]), 5, "invalid"),
        (msgpack.packb([9, 2, 5, 0, b"bytes"]), 5, "wrong_version"),
    ],
)
def test_a_malformed_frame_is_counted_and_answered_and_the_rest_of_its_message_counts(
    frame: bytes, request_id: int, code: str, server: ClientServer, raw: Any, eventually: Eventually
) -> None:
    client = raw(server.address)
    client.send_multipart([frame, encode_request_frame(6, 0, b"good")])
    assert [message.frame for message in receive(server, eventually)] == [Request(6, 0, b"good")]
    answer = decode_node_frame(client.recv())
    assert isinstance(answer, Error)
    assert (answer.request_id, answer.code) == (request_id, code)
    assert server.counters()["dropped"] == {MALFORMED: 1}


def test_a_message_of_too_many_frames_is_refused_whole(
    server: ClientServer, raw: Any, eventually: Eventually
) -> None:
    client = raw(server.address)
    frame = encode_request_frame(1, 0, b"x")
    client.send_multipart([frame] * (limits.CLIENT_FRAMES_MAX + 1))
    client.send(frame)
    assert len(receive(server, eventually)) == 1
    assert isinstance(decode_node_frame(client.recv()), Error)


def test_bytes_that_are_not_even_zeromq_leave_the_socket_alive(
    server: ClientServer, raw: Any, eventually: Eventually
) -> None:
    host, port = server.address.removeprefix("tcp://").split(":")
    for garbage in (random.Random(2).randbytes(4096), b"GET / HTTP/1.1\r\n\r\n" * 50):
        with tcp.create_connection((host, int(port))) as connection:
            connection.sendall(garbage)
    raw(server.address).send(encode_hello(1))
    assert receive(server, eventually)[0].frame == Hello(1, 0)


def test_an_answer_to_a_client_that_left_is_dropped_and_counted(
    server: ClientServer, raw: Any, eventually: Eventually
) -> None:
    client = raw(server.address)
    client.send(encode_hello(1))
    identity = receive(server, eventually)[0].identity
    client.close(0)
    eventually(lambda: not server.reply(identity, [b"x"]))
    assert server.counters()["dropped"] == {GONE: 1}
    assert server.reply(b"nobody", [b"x"]) is Delivery.GONE


def test_answers_to_a_client_that_does_not_read_are_bounded_and_counted(
    server: ClientServer, raw: Any, eventually: Eventually
) -> None:  # H1
    client = raw(server.address)
    client.setsockopt(zmq.RCVHWM, 1)
    client.send(encode_hello(1))
    identity = receive(server, eventually)[0].identity
    eventually(lambda: server.reply(identity, [bytes(256 << 10)]) is Delivery.SLOW)
    assert server.counters()["dropped"] == {SLOW: 1}
    raw(server.address).send(encode_hello(2))
    assert receive(server, eventually)[0].frame == Hello(2, 0)


def test_a_taken_port_is_a_bind_failure(server: ClientServer, context: zmq.Context[Any]) -> None:
    with pytest.raises(BindFailed):
        ClientServer(server.address, context)


@pytest.fixture
def zap(context: zmq.Context[Any]) -> Iterator[ZapHandler]:
    def allow(domain: str, key: str) -> str:
        return "" if (domain, key) != ("client", keyed.UNKNOWN.public) else "not known"

    zap = ZapHandler(context, allow, lambda error: pytest.fail(repr(error)))
    yield zap
    zap.close()


def with_keys(context: zmq.Context[Any], is_known: Callable[[str], bool]) -> ClientServer:
    return ClientServer(ANY_PORT, context, CurveServer(keyed.SERVER, CLIENT_DOMAIN), is_known)


def test_without_keys_a_message_names_no_user(
    server: ClientServer, raw: Any, eventually: Eventually
) -> None:
    raw(server.address).send(encode_hello(1))
    assert receive(server, eventually)[0].user == ""


def test_with_keys_every_frame_names_the_key_of_its_own_connection(
    context: zmq.Context[Any], zap: ZapHandler, collect: Any
) -> None:
    server = with_keys(context, lambda user: True)
    other = new_keys()
    one = keyed.connect(context, server.address)
    two = keyed.connect(context, server.address, other)
    for number in (1, 3):
        one.send_multipart([encode_hello(number), encode_hello(number + 1)])
        two.send(encode_hello(number + 10))
    arrived = collect(lambda: server.drain(100), 6)
    assert {(message.frame.request_id, message.user) for message in arrived} == {
        *((number, keyed.KNOWN.public) for number in (1, 2, 3, 4)),
        *((number, other.public) for number in (11, 13)),
    }
    by_user = {message.user: message.identity for message in arrived}
    assert server.reply(by_user[other.public], [encode_results_frame(11, b"for two")])
    assert decode_node_frame(two.recv()) == Results(11, b"for two")
    server.close()


def test_with_keys_neither_a_stranger_nor_plaintext_gets_a_frame_through(
    context: zmq.Context[Any], zap: ZapHandler, eventually: Eventually
) -> None:
    server = with_keys(context, lambda user: True)
    stranger = keyed.connect(context, server.address, keyed.UNKNOWN)
    stranger.send(encode_hello(1))
    plain = keyed.connect(context, server.address, None)
    plain.send(encode_hello(2))
    eventually(lambda: zap.counters().get("client"))
    known = keyed.connect(context, server.address)
    known.send(encode_hello(3))
    assert [message.frame.request_id for message in receive(server, eventually)] == [3]
    server.close()


def test_a_key_that_was_taken_out_is_refused_on_its_open_connection(
    context: zmq.Context[Any], zap: ZapHandler, eventually: Eventually
) -> None:
    known = {keyed.KNOWN.public}
    server = with_keys(context, known.__contains__)
    client = keyed.connect(context, server.address)
    client.send(encode_hello(1))
    assert receive(server, eventually)[0].user == keyed.KNOWN.public
    known.clear()
    client.send_multipart([encode_hello(2), b"\xc1", encode_hello(3)])
    eventually(lambda: server.drain(100) or server.counters()["dropped"].get(UNKNOWN_KEY) == 2)
    assert server.counters()["received"] == 1
    answers = [decode_node_frame(client.recv()) for _ in range(3)]
    assert [(a.request_id, a.code) for a in answers if isinstance(a, Error)] == [
        (2, "permission_denied"),
        (0, "invalid"),
        (3, "permission_denied"),
    ]
    server.close()


def test_with_keys_a_message_of_no_or_too_many_frames_is_refused_as_ever(
    context: zmq.Context[Any], zap: ZapHandler, eventually: Eventually
) -> None:
    server = with_keys(context, lambda user: True)
    client = keyed.connect(context, server.address)
    client.send_multipart([encode_hello(1)] * (limits.CLIENT_FRAMES_MAX + 1))
    client.send(encode_hello(2))
    assert [message.frame.request_id for message in receive(server, eventually)] == [2]
    assert server.counters()["dropped"] == {MALFORMED: 1}
    server.close()


def test_nobody_gets_the_answers_of_a_connection_by_coming_with_its_id(
    server: ClientServer, raw: Any, eventually: Eventually
) -> None:
    owner = raw(server.address, routing_id=b"id")
    owner.send(encode_hello(1))
    [asked] = receive(server, eventually)
    thief = raw(server.address, routing_id=b"id")
    thief.send(encode_hello(2))
    later = raw(server.address)
    later.send(encode_hello(3))
    assert [message.frame for message in receive(server, eventually)] == [Hello(3, 0)]
    assert server.reply(asked.identity, [encode_results_frame(1, b"secret")])
    assert decode_node_frame(owner.recv()) == Results(1, b"secret")
