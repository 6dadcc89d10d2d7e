"""Connections that never show a key: refused, counted, and logged once with their address."""

import socket as tcp
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keyed
import pytest
import zmq

from metastore.transport.handshake_watch import (
    BROKEN_HANDSHAKE,
    NOT_ZMTP,
    OTHER_SERVER_KEY,
    PLAINTEXT,
    UNKNOWN_ADDRESS,
    HandshakeWatch,
    remote_address,
)
from metastore.transport.security import new_keys
from metastore.transport.sockets import close_router
from metastore.transport.zap import ZapHandler

Eventually = Callable[[Callable[[], Any]], Any]

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"
NULL_GREETING = GREETING + b"NULL".ljust(20, b"\0") + bytes(32)
CURVE_GREETING = GREETING + b"CURVE".ljust(20, b"\0") + bytes(32)


def fail(error: BaseException) -> None:
    pytest.fail(repr(error))


@pytest.fixture
def zap(context: zmq.Context[Any]) -> Iterator[ZapHandler]:
    zap = ZapHandler(
        context, lambda domain, key: "" if key == keyed.KNOWN.public else "not known", fail
    )
    yield zap
    zap.close()


class Watching:
    """A listening socket with a watch over it."""

    def __init__(self, context: zmq.Context[Any]) -> None:
        self.watch = HandshakeWatch(context, fail)
        self.router, self.address = keyed.listen(context, "client", self.watch.watch)
        self.watch.start()

    def count(self, reason: str) -> int:
        return self.watch.counters().get("client", {}).get(reason, 0)

    def dial(self, data: bytes) -> tcp.socket:
        connection = tcp.create_connection(("127.0.0.1", int(self.address.rpartition(":")[2])))
        connection.sendall(data)
        return connection

    def close(self) -> None:
        close_router(self.router)
        self.watch.close()


@pytest.fixture
def watching(context: zmq.Context[Any], zap: ZapHandler) -> Iterator[Watching]:
    watching = Watching(context)
    yield watching
    watching.close()


def lines(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {record.getMessage() for record in caplog.records}


def test_a_plaintext_client_is_refused_counted_and_logged_and_the_others_are_served(
    watching: Watching,
    context: zmq.Context[Any],
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain = [keyed.connect(context, watching.address, None) for _ in range(3)]
    for client in plain:
        client.send(b"in plaintext")
    eventually(lambda: watching.count(PLAINTEXT) >= 3)
    known = keyed.connect(context, watching.address)
    known.send(b"with a key")
    assert keyed.hears(watching.router) == b"with a key"
    assert not watching.router.poll(0)
    # An address can only be had while the connection is open: at worst it is logged without one.
    start, end = "refused a connection to the client socket from ", f": {PLAINTEXT}"
    allowed = {f"{start}{who}{end}" for who in ("127.0.0.1", UNKNOWN_ADDRESS)}
    assert lines(caplog)
    assert lines(caplog) <= allowed
    assert len(caplog.records) == len(lines(caplog))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (NULL_GREETING, PLAINTEXT),
        (CURVE_GREETING + b"\x04\xc8\x05HELLO" + bytes(194), BROKEN_HANDSHAKE),
        (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", NOT_ZMTP),
        (b"\xff" + bytes(8) + b"\x7f\x01\x05\x00\x00", NOT_ZMTP),  # ZMTP 2.0: no mechanisms
    ],
    ids=["plaintext", "broken hello", "http", "old protocol"],
)
def test_what_is_no_encrypted_handshake_is_counted_with_its_reason(
    watching: Watching, eventually: Eventually, data: bytes, reason: str
) -> None:
    connections = [watching.dial(data) for _ in range(2)]
    eventually(lambda: watching.count(reason) == 2)
    for connection in connections:
        connection.close()
    assert watching.watch.counters() == {"client": {reason: 2}}


def test_a_client_with_the_key_of_another_server_is_told_apart(
    watching: Watching, context: zmq.Context[Any], eventually: Eventually
) -> None:
    lost = keyed.connect(context, watching.address, server_key=new_keys().public)
    lost.send(b"x")
    eventually(lambda: watching.count(OTHER_SERVER_KEY))


def test_an_unknown_key_is_left_to_who_checks_keys(
    watching: Watching, zap: ZapHandler, context: zmq.Context[Any], eventually: Eventually
) -> None:
    stranger = keyed.connect(context, watching.address, keyed.UNKNOWN)
    stranger.send(b"x")
    eventually(lambda: zap.counters())
    plain = watching.dial(NULL_GREETING)  # closed after the stranger was, so it is counted after
    eventually(lambda: watching.count(PLAINTEXT))
    plain.close()
    assert watching.watch.counters() == {"client": {PLAINTEXT: 1}}


def test_a_client_that_leaves_after_it_was_let_in_is_no_refusal(
    watching: Watching, context: zmq.Context[Any], eventually: Eventually
) -> None:
    known = keyed.connect(context, watching.address)
    known.send(b"x")
    assert keyed.hears(watching.router) == b"x"
    known.close(0)
    plain = watching.dial(NULL_GREETING)
    eventually(lambda: watching.count(PLAINTEXT))
    plain.close()
    assert watching.watch.counters() == {"client": {PLAINTEXT: 1}}


def test_the_address_of_a_connection_is_found_while_it_is_open() -> None:
    listener = tcp.create_server(("127.0.0.1", 0))
    endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}".encode()
    client = tcp.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    assert remote_address(accepted.fileno(), endpoint) == "127.0.0.1"
    # The number may belong to something else by now.
    assert remote_address(accepted.fileno(), b"tcp://127.0.0.1:1") == UNKNOWN_ADDRESS
    with open("/dev/null", "rb") as file:
        assert remote_address(file.fileno(), endpoint) == UNKNOWN_ADDRESS
    one, other = tcp.socketpair()
    assert remote_address(one.fileno(), endpoint) == UNKNOWN_ADDRESS
    assert remote_address(1 << 20, endpoint) == UNKNOWN_ADDRESS
    for socket in (listener, client, accepted, one, other):
        socket.close()


def test_a_watch_that_does_not_read_holds_up_nobody(
    context: zmq.Context[Any], zap: ZapHandler
) -> None:
    watch = HandshakeWatch(context, fail)
    router, address = keyed.listen(context, "client", watch.watch)
    port = int(address.rpartition(":")[2])
    for _ in range(1500):  # three events each; an ordinary queue holds 2000
        tcp.create_connection(("127.0.0.1", port)).close()
    known = keyed.connect(context, address)
    known.send(b"with a key")
    assert keyed.hears(router) == b"with a key"
    close_router(router)
    watch.close()


def test_closing_never_waits_whatever_still_happens_on_the_connections() -> None:
    context: zmq.Context[Any] = zmq.Context()
    zap = ZapHandler(context, lambda domain, key: "", fail)
    watch = HandshakeWatch(context, fail)
    router, address = keyed.listen(context, "client", watch.watch)
    watch.start()
    clients: zmq.Context[Any] = zmq.Context()
    connected = [keyed.connect(clients, address) for _ in range(30)]
    for client in connected:
        client.send(b"x")
        assert keyed.hears(router) == b"x"
    close_router(router)
    watch.close()
    watch.close()
    zap.close()
    ending = threading.Thread(target=context.term, daemon=True)
    ending.start()
    ending.join(keyed.WAIT_MS / 1000)
    assert not ending.is_alive()
    clients.destroy(0)
