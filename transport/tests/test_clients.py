"""The socket of clients: frames in, frames out, and nobody can wedge it."""

import os
import socket as tcp
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
import zmq

from metastore.transport import limits
from metastore.transport.clients import (
    GONE,
    MALFORMED,
    SLOW,
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
        (os.urandom(50), 0, "invalid"),
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
    for garbage in (os.urandom(4096), b"GET / HTTP/1.1\r\n\r\n" * 50):
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
