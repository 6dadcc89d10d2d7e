"""A new connection: its TLS, then its first bytes, which say who goes on with it.

HTTP/2 begins with a fixed text; anything else that looks like a request goes to the HTTP server,
which takes the connection over as if it had accepted it. Who says nothing, or nothing of either
kind, is disconnected.
"""

import asyncio
import logging
import select
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

from metastore.api.front import limits
from metastore.api.front.limits import FIRST_BYTES_S, KEEPALIVE_COUNT, KEEPALIVE_IDLE_S
from metastore.api.front.peers import Peer, Peers
from metastore.api.front.relay import ClientSide, Side, close_soon, connect
from metastore.api.front.tls import Tls

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PREFACE_ENOUGH = PREFACE[:16]  # its first line; the gRPC server checks the rest
_METHOD_STARTS = {bytes((letter,)) for letter in range(ord("A"), ord("Z") + 1)}

_log = logging.getLogger("metastore.api.front")


class Owner(Protocol):
    """What a connection asks of the front."""

    grpc_path: Path
    peers: Peers

    def make_http_protocol(self) -> asyncio.Protocol: ...

    def ended(self, connection: "Connection") -> None: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


class Connection(asyncio.Protocol):
    """One accepted connection: its protocol until it is known whose it is, its entry in the front's
    count to its end."""

    def __init__(self, owner: Owner, tls: Tls | None) -> None:
        self._owner = owner
        self._tls = tls
        self._data: bytes | None = b""  # None: it is known
        self._deadline: asyncio.TimerHandle | None = None
        self._transport: Any = None
        self._is_secured = tls is None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        _tune(transport.get_extra_info("socket"))
        if self._tls is None:
            self._wait()
        else:
            transport.pause_reading()  # the first bytes are the handshake's
            self._owner.spawn(self._secure(self._tls))

    def data_received(self, data: bytes) -> None:
        if self._data is not None:
            self._data += data
            if self._is_secured:
                self._look(self._data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._owner.ended(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(FIRST_BYTES_S, self._transport.abort)

    async def _secure(self, tls: Tls) -> None:
        loop, plain = asyncio.get_running_loop(), self._transport
        secured = None
        try:
            secured = await loop.start_tls(
                plain, self, tls.context(), server_side=True, ssl_handshake_timeout=FIRST_BYTES_S
            )
        except OSError as error:  # also what ssl raises: a client without a certificate, or of HTTP
            _log.debug("a TLS handshake failed", extra={"reason": str(error)})
        finally:
            if secured is None:
                plain.abort()
                self._owner.ended(self)
        if secured is not None and not secured.is_closing():
            self._transport = secured
            self._is_secured = True
            self._wait()
            if self._data:  # it came with the end of the handshake
                self._look(self._data)

    def _look(self, data: bytes) -> None:
        """Once for each piece of the first bytes, until they are enough."""
        if len(data) < len(PREFACE_ENOUGH) and PREFACE.startswith(data):
            return
        self._data = None
        if self._deadline is not None:
            self._deadline.cancel()
        if data.startswith(PREFACE_ENOUGH):
            self._transport.pause_reading()
            self._owner.spawn(self._relay(data))
        elif data[:1] in _METHOD_STARTS:
            self._serve_http(data)
        else:
            self._transport.abort()

    def _serve_http(self, data: bytes) -> None:
        protocol = _HttpSide(self._owner.make_http_protocol(), self)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)

    async def _relay(self, data: bytes) -> None:
        peers, transport = self._owner.peers, self._transport
        name = peers.add(self._peer())
        server = Side(None, transport, on_lost=lambda: peers.remove(name))
        try:
            await connect(self._owner.grpc_path, name, server)
        except OSError as error:
            peers.remove(name)
            transport.abort()
            _log.error("the gRPC server cannot be reached", extra={"reason": str(error)})
            return
        if transport.is_closing() or server.transport.is_closing():
            close_soon(server.transport)
            return
        client = ClientSide(transport, server.transport, on_lost=lambda: self._owner.ended(self))
        transport.set_protocol(client)
        server.transport.write(data)
        transport.resume_reading()

    def _peer(self) -> Peer:
        host, port = (self._transport.get_extra_info("peername") or ("", 0))[:2]
        connection = self._transport.get_extra_info("ssl_object")
        name = "" if self._tls is None else self._tls.name_of(connection)
        return Peer(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", name)


class _HttpSide(asyncio.Protocol):
    """The HTTP server's protocol, and the word to the front that its connection has ended."""

    def __init__(self, inner: Any, connection: Connection) -> None:
        self._inner = inner
        self._connection = connection
        self._transport: Any = None
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)
        if self._look is None and not self._transport.is_reading():
            self._look_later()

    def eof_received(self) -> Any:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        self._inner.connection_lost(error)
        self._connection.connection_lost(error)

    def _look_later(self) -> None:
        self._look = asyncio.get_running_loop().call_later(limits.LEFT_LOOK_S, self._look_again)

    def _look_again(self) -> None:
        """The HTTP server reads no further while many requests wait behind one that is served, so
        it would not notice that their client has left, and serve a watch for ever."""
        self._look = None
        if self._transport.is_closing() or self._transport.is_reading():
            return
        if _has_left(self._transport.get_extra_info("socket")):
            self._transport.abort()
        else:
            self._look_later()


def _has_left(connection: Any) -> bool:
    """Whether the other end has closed, although what it sent before has not been read."""
    poll = select.poll()
    poll.register(connection.fileno(), getattr(select, "POLLRDHUP", 0))  # HUP and ERR come unasked
    return bool(poll.poll(0))


def _tune(connection: Any) -> None:
    """No waiting for more to send; and TCP's own pings, which notice a client that is gone without
    a word."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
