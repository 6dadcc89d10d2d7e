"""Connections that fail before they show a key, and so never reach zap.py: counted and logged.

Reading order 9. Listens to libzmq's monitors of the listening sockets, on a thread of its own;
decides nothing, and nothing depends on it. What a monitor says does not name the connection that
failed, but its closing comes next from libzmq's one I/O thread and names its file descriptor.
"""

import errno
import os
import socket as tcp
import struct
from typing import Any

import zmq

from metastore.transport import limits
from metastore.transport.refusals import Counts, Refusals
from metastore.transport.socket_thread import Died, SocketThread
from metastore.transport.sockets import Context, Socket, inproc_address

# One reason, because it is a race: a plaintext client that reads our greeting first closes before
# we have read its own. Then it is like a probe that only looks whether the port is open.
PLAINTEXT = "it does not use a key (plaintext), or left before it could show one"
OTHER_SERVER_KEY = "it expects another server key than this node's"
BROKEN_HANDSHAKE = "its handshake breaks the protocol"
NOT_ZMTP = "it does not speak the protocol (or an old, plaintext version of it)"
SILENT = "it did not finish its handshake in time"

UNKNOWN_ADDRESS = "unknown address"

_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_DISCONNECTED
)
_EVENT = struct.Struct("=HI")  # number and value, as libzmq lays them out
# zmq.h: an error of the mechanism itself, and not one of how its messages are written.
_CRYPTOGRAPHIC = 0x11000001
_MECHANISM_MISMATCH = 0x11000002


class WatchedSocket:
    """The events of one listening socket, and what is known of its connections."""

    __slots__ = ("_domain", "_failure", "_keys_shown", "_named", "_open", "_refusals", "monitor")

    def __init__(self, monitor: Socket, domain: str, refusals: Refusals) -> None:
        self.monitor = monitor
        self._domain = domain
        self._refusals = refusals
        self._named: set[str] = set()  # reasons of which somebody was logged
        self._keys_shown = 0
        self._failure: str | None = None
        # {descriptor: (address, keys shown before it came)}; descriptors are used again, so there
        # are never more than the process may have open.
        self._open: dict[int, tuple[str, int]] = {}

    def on_event(self, number: int, value: int, endpoint: bytes) -> None:
        match number:
            case zmq.EVENT_ACCEPTED:
                self._open[value] = (remote_address(value, endpoint), self._keys_shown)
            # A refused key is zap.py's to note; its connection closes some time later.
            case zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._keys_shown += 1
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._failure = _reason_of(value)
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                self._failure = SILENT if value == errno.EAGAIN else PLAINTEXT
            case zmq.EVENT_DISCONNECTED:
                self._on_closed(value)

    def _on_closed(self, descriptor: int) -> None:
        address, keys_shown = self._open.pop(descriptor, (UNKNOWN_ADDRESS, -1))
        failure, self._failure = self._failure, None
        if failure is None and keys_shown == self._keys_shown:
            # No connection has shown a key since it came, so this one had not either. Where another
            # one has, it is not counted: better that than to accuse who left in good order.
            failure = NOT_ZMTP
        if not failure:
            return
        if address == UNKNOWN_ADDRESS and failure in self._named:
            self._refusals.count(self._domain, failure)  # most likely one that was logged by name
            return
        self._named.add(failure)
        self._refusals.note(self._domain, address, failure)


class HandshakeWatch:
    """First `watch` each listening socket before it listens (CurveServer.watch does), then `start`.
    The sockets must be closed (close_router) before the watch is, else all of libzmq waits for ever
    to hand over their next event. `died` as in SocketThread."""

    def __init__(self, context: Context, died: Died) -> None:
        self._context = context
        self._died = died
        self._refusals = Refusals()
        self._watched: list[WatchedSocket] = []
        self._thread: SocketThread | None = None

    def watch(self, socket: Any, domain: str) -> None:
        """By the thread that opens `socket`, before `start`."""
        endpoint = inproc_address(f"handshakes-{domain}")
        monitor = self._context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.LINGER, 0)
        # Unlimited: a full monitor queue would block libzmq's I/O thread, and with it every socket.
        monitor.setsockopt(zmq.RCVHWM, 0)
        socket.monitor(endpoint, _EVENTS)
        monitor.connect(endpoint)
        self._watched.append(WatchedSocket(monitor, domain, self._refusals))

    def start(self) -> None:
        if not self._watched:
            return
        first, *others = [watched.monitor for watched in self._watched]
        self._thread = SocketThread(
            self._context,
            first,
            "handshakes",
            self._serve,
            self._died,
            also=others,
            # Also a thread that dies must not close them: the listening sockets are still open, and
            # libzmq would wait for ever to hand over their next event.
            leaves_open=True,
        )
        self._thread.start()

    def counters(self) -> Counts:
        """{domain: {reason: failed connections}}; a copy, any thread may ask."""
        return self._refusals.as_dict()

    def close(self) -> None:
        """Safe to call twice."""
        if self._thread is not None:
            self._thread.close()
        for watched in self._watched:
            watched.monitor.close(0)

    def _serve(self) -> None:
        for watched in self._watched:
            for _ in range(limits.HANDSHAKE_EVENTS_PER_TURN):
                try:
                    event, endpoint = watched.monitor.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                number, value = _EVENT.unpack(event)
                watched.on_event(number, value, endpoint)


def remote_address(descriptor: int, endpoint: bytes) -> str:
    """Of a connection accepted at `endpoint`. A descriptor may have been closed, and even opened
    as something else, since: then it is UNKNOWN_ADDRESS."""
    try:
        with tcp.socket(fileno=os.dup(descriptor)) as connection:
            local, remote = connection.getsockname(), connection.getpeername()
    except OSError:
        return UNKNOWN_ADDRESS
    if not isinstance(local, tuple) or endpoint.rpartition(b":")[2] != str(local[1]).encode():
        return UNKNOWN_ADDRESS
    return str(remote[0]).removeprefix("::ffff:")  # as ZAP writes an IPv4 client of an IPv6 socket


def _reason_of(value: int) -> str:
    if value == _MECHANISM_MISMATCH:
        return PLAINTEXT
    return OTHER_SERVER_KEY if value == _CRYPTOGRAPHIC else BROKEN_HANDSHAKE
