"""The status socket answers any REQ, and goes on answering whatever it was sent."""

import random
import socket as tcp
import threading
from collections.abc import Iterator
from typing import Any

import keyed
import msgpack
import pytest
import zmq

from metastore.transport import limits
from metastore.transport.errors import BindFailed
from metastore.transport.security import STATUS_DOMAIN, CurveServer
from metastore.transport.status import StatusServer, UnknownMethod
from metastore.transport.zap import ZapHandler

ANSWER = {"node_id": 1, "term": 7}


def answer(method: str) -> dict[str, Any]:
    if method == "broken":
        raise RuntimeError("the rest of the node is ill")
    if method == "unpackable":
        return {"x": object()}
    if method != "raft_status":
        raise UnknownMethod(method)
    return ANSWER


def fail(error: BaseException) -> None:
    pytest.fail(repr(error))


@pytest.fixture
def server(context: zmq.Context[Any]) -> Iterator[StatusServer]:
    server = StatusServer("tcp://127.0.0.1:*", answer, context, fail)
    yield server
    server.close()


def ask(raw: Any, server: StatusServer, *frames: bytes) -> Any:
    socket = raw(server.address, zmq.REQ)
    socket.send_multipart(frames)
    return msgpack.unpackb(socket.recv())


def method(name: Any) -> bytes:
    return bytes(msgpack.packb({"method": name}))


def test_a_request_gets_its_answer(server: StatusServer, raw: Any) -> None:
    assert ask(raw, server, method("raft_status")) == ANSWER
    assert server.counters() == {"answered": 1}


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\xc1"],
        [random.Random(1).randbytes(100)],
        [b"\x91" * 3000],
        [b"\xdf\xff\xff\xff\xff"],
        [method("raft_status"), b"a second frame"],
        [method(5)],
        [method(b"raft_status")],
        [msgpack.packb(["raft_status"])],
        [msgpack.packb({"method": "raft_status", "more": 1})],
        [b"\x82" + (msgpack.packb("method") + msgpack.packb("raft_status")) * 2],
        [b"\x81" + msgpack.packb([1]) + msgpack.packb(1)],
    ],
)
def test_a_malformed_request_gets_an_error_and_the_next_one_its_answer(
    frames: list[bytes], server: StatusServer, raw: Any
) -> None:
    reply = ask(raw, server, *frames)
    assert reply["error"]["code"] == "malformed"
    assert reply["error"]["message"]
    assert ask(raw, server, method("raft_status")) == ANSWER


@pytest.mark.parametrize(
    ("name", "code"),
    [("no_such", "unknown_method"), ("broken", "internal"), ("unpackable", "internal")],
)
def test_a_request_without_an_answer_gets_an_error(
    name: str, code: str, server: StatusServer, raw: Any
) -> None:
    assert ask(raw, server, method(name))["error"]["code"] == code
    assert ask(raw, server, method("raft_status")) == ANSWER
    assert server.counters() == {code: 1, "answered": 1}


def test_a_client_without_the_delimiter_is_answered_without_it(
    server: StatusServer, raw: Any
) -> None:
    dealer = raw(server.address)
    dealer.send(method("raft_status"))
    assert [msgpack.unpackb(frame) for frame in dealer.recv_multipart()] == [ANSWER]


def test_a_client_that_asks_and_leaves_harms_nobody(server: StatusServer, raw: Any) -> None:
    for _ in range(20):
        socket = raw(server.address, zmq.REQ)
        socket.send(method("raft_status"))
        socket.close(0)
    assert ask(raw, server, method("raft_status")) == ANSWER


def test_garbage_and_giants_harm_nobody(server: StatusServer, raw: Any) -> None:
    host, port = server.address.removeprefix("tcp://").split(":")
    with tcp.create_connection((host, int(port))) as connection:
        connection.sendall(random.Random(1).randbytes(4096))
    giant = raw(server.address, zmq.REQ)
    giant.send(bytes(limits.STATUS_REQUEST_BYTES_MAX + 1))
    assert ask(raw, server, method("raft_status")) == ANSWER


def test_answers_come_from_a_thread_of_its_own(context: zmq.Context[Any], raw: Any) -> None:
    names: list[str] = []

    def remember(name: str) -> dict[str, Any]:
        names.append(threading.current_thread().name)
        return {}

    server = StatusServer("tcp://127.0.0.1:*", remember, context, fail)
    ask(raw, server, method("x"))
    server.close()
    assert names == ["status"]


def test_a_close_ends_the_thread_and_may_be_repeated(context: zmq.Context[Any]) -> None:
    server = StatusServer("tcp://127.0.0.1:*", answer, context, fail)
    server.close()
    server.close()
    context.term()  # would wait for a socket left open


def test_a_taken_port_is_a_bind_failure(server: StatusServer, context: zmq.Context[Any]) -> None:
    with pytest.raises(BindFailed):
        StatusServer(server.address, answer, context, fail)


def test_with_keys_only_a_key_that_is_let_in_gets_an_answer(context: zmq.Context[Any]) -> None:
    asked: list[str] = []

    def allow(domain: str, key: str) -> str:
        asked.append(domain)
        return "" if key == keyed.KNOWN.public else "not known"

    zap = ZapHandler(context, allow, fail)
    curve = CurveServer(keyed.SERVER, STATUS_DOMAIN)
    server = StatusServer("tcp://127.0.0.1:*", answer, context, fail, curve)
    stranger = keyed.connect(context, server.address, keyed.UNKNOWN)
    stranger.send_multipart([b"", method("raft_status")])
    plain = keyed.connect(context, server.address, None)
    plain.send_multipart([b"", method("raft_status")])
    known = keyed.connect(context, server.address)
    known.send_multipart([b"", method("raft_status")])
    assert msgpack.unpackb(known.recv_multipart()[-1]) == ANSWER
    assert server.counters() == {"answered": 1}
    assert set(asked) == {"status"}
    server.close()
    zap.close()
