"""Connections that never show a key: refused, counted, and logged once with their address."""

import queue
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
    WatchedSocket,
    remote_address,
)
from metastore.transport.refusals import Refusals
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
    for _ in range(10):  # it is a race that an event of the closing socket wins now and then
        watch = HandshakeWatch(context, fail)
        routers = [keyed.listen(context, name, watch.watch) for name in ("peer", "client")]
        watch.start()
        clients: zmq.Context[Any] = zmq.Context()
        (router, address), _ = routers
        connected = [keyed.connect(clients, address) for _ in range(40)]
        for client in connected:
            client.send(b"x")
            assert keyed.hears(router) == b"x"
        connected += [keyed.connect(clients, address) for _ in range(40)]  # in their handshakes
        for router, _ in routers:
            close_router(router)
        watch.close()
        watch.close()
        clients.destroy(0)
    zap.close()
    ending = threading.Thread(target=context.term, daemon=True)
    ending.start()
    ending.join(keyed.WAIT_MS / 1000)
    assert not ending.is_alive()


def test_one_watch_tells_several_sockets_apart(
    context: zmq.Context[Any], zap: ZapHandler, eventually: Eventually
) -> None:
    watch = HandshakeWatch(context, fail)
    routers = {domain: keyed.listen(context, domain, watch.watch) for domain in ("peer", "client")}
    watch.start()
    plain = []
    for domain in ("client", "peer"):
        _, address = routers[domain]
        plain.append(keyed.connect(context, address, None))
        # Each wakes the watch by itself, without a word from the other.
        eventually(lambda: len(watch.counters()) == len(plain))
    assert watch.counters() == {"peer": {PLAINTEXT: 1}, "client": {PLAINTEXT: 1}}
    for client in plain:
        client.close(0)
    for router, _ in routers.values():
        close_router(router)
    watch.close()


def test_a_watch_that_dies_is_reported_and_holds_up_nobody(  # H7
    context: zmq.Context[Any], zap: ZapHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*event: object) -> None:
        raise RuntimeError("the watch is broken")

    monkeypatch.setattr(WatchedSocket, "on_event", die)
    deaths: queue.Queue[BaseException] = queue.Queue()
    watch = HandshakeWatch(context, deaths.put)
    router, address = keyed.listen(context, "client", watch.watch)
    watch.start()
    for text in (b"one", b"two"):
        known = keyed.connect(context, address)
        known.send(text)
        assert keyed.hears(router) == text
        if text == b"one":
            assert "broken" in str(deaths.get(timeout=keyed.WAIT_MS / 1000))
    close_router(router)
    watch.close()


ACCEPTED, FAILED = zmq.EVENT_ACCEPTED, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
CLOSED = zmq.EVENT_DISCONNECTED
MISMATCH = 0x11000002
NO_SUCH_DESCRIPTOR = 1 << 20


def test_a_refused_key_that_closes_late_is_not_taken_for_something_else(
    context: zmq.Context[Any],
) -> None:
    refusals = Refusals()
    watched = WatchedSocket(context.socket(zmq.PAIR), "client", refusals)
    stranger, plain = NO_SUCH_DESCRIPTOR, NO_SUCH_DESCRIPTOR + 1
    watched.on_event(ACCEPTED, stranger, b"")
    watched.on_event(zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400, b"")
    watched.on_event(ACCEPTED, plain, b"")
    watched.on_event(FAILED, MISMATCH, b"")
    watched.on_event(CLOSED, plain, b"")
    watched.on_event(CLOSED, stranger, b"")
    assert refusals.as_dict() == {"client": {PLAINTEXT: 1}}


def test_who_was_gone_too_soon_for_an_address_is_not_logged_beside_one_that_has_it(
    context: zmq.Context[Any], caplog: pytest.LogCaptureFixture
) -> None:
    refusals = Refusals()
    watched = WatchedSocket(context.socket(zmq.PAIR), "client", refusals)

    def refuse(descriptor: int, endpoint: str) -> None:
        watched.on_event(ACCEPTED, descriptor, endpoint.encode())
        watched.on_event(FAILED, MISMATCH, b"")
        watched.on_event(CLOSED, descriptor, b"")

    listener = tcp.create_server(("127.0.0.1", 0))
    client = tcp.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    refuse(accepted.fileno(), f"tcp://127.0.0.1:{listener.getsockname()[1]}")
    refuse(NO_SUCH_DESCRIPTOR, "tcp://127.0.0.1:1")
    assert refusals.as_dict() == {"client": {PLAINTEXT: 2}}
    assert [record.getMessage().rpartition(": ")[0] for record in caplog.records] == [
        "refused a connection to the client socket from 127.0.0.1"
    ]
    for socket in (listener, client, accepted):
        socket.close()
