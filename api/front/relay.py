"""The relay: bytes between a client's connection and the gRPC server's socket, and nothing else.

Each side is read only as long as the other takes what was read, so a relay holds at most what its
two write buffers do. The end of either connection is the end of the other.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metastore.api.front.limits import CONNECT_RETRY_S, CONNECT_S, FLUSH_S


class Side(asyncio.Protocol):
    """One of the two connections. `other` is the transport of the other one, which may be read only
    when both have theirs."""

    def __init__(self, transport: Any, other: Any, on_lost: Callable[[], None]) -> None:
        self.transport = transport
        self.other = other
        self._on_lost = on_lost

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.other.write(data)

    def pause_writing(self) -> None:
        """This side takes no more for now: what would be written here is not read there."""
        if not self.other.is_closing():
            self.other.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.is_closing():
            self.other.resume_reading()

    def eof_received(self) -> bool:
        """False: closed at once. The gRPC server never ends only half of a connection."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._on_lost()
        close_soon(self.other)
        self.transport = self.other = GONE


class ClientSide(Side):
    def eof_received(self) -> bool:
        """A client that sends no more may still read; TLS has no half of a connection."""
        if not self.transport.can_write_eof() or self.other.is_closing():
            return False
        self.other.write_eof()
        return True


class _Gone:
    """In place of a transport that is no more."""

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return True


GONE = _Gone()


def close_soon(transport: Any) -> None:
    """Once the last bytes are written, or when nobody has read them for a while."""
    if transport.is_closing():  # it has been, or there is none
        return
    transport.close()
    if transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(FLUSH_S, transport.abort)


async def connect(path: Path, name: str, side: Side) -> None:
    """Connects `side` to the server's socket at `path`, from the abstract address `name`. Raises
    OSError."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + CONNECT_S
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.bind(f"\0{name}")
        while True:
            try:
                connection.connect(str(path))
                break
            except BlockingIOError:  # its backlog is full; this kind of socket does not wait
                if loop.time() > end_s:
                    raise
            await asyncio.sleep(CONNECT_RETRY_S)
        await loop.create_unix_connection(lambda: side, sock=connection)
    except BaseException:
        connection.close()
        raise
