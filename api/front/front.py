"""The listening sockets of the gateway, and the count of their connections.

One port serves gRPC and HTTP, as clients of etcd assume; what a connection is, first_bytes finds
out.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from metastore.api.front import limits
from metastore.api.front.first_bytes import Connection
from metastore.api.front.peers import Peers
from metastore.api.front.tls import Tls, TlsFiles

_log = logging.getLogger("metastore.api.front")


class Front:
    """For one event loop.

    `listen`: http://HOST:PORT or https://HOST:PORT, the latter with the files of `tls`.
    `make_http_protocol`: a new protocol for one connection of HTTP/1.1 (aiohttp's Server).
    `grpc_path`: the unix socket of the gRPC server, which knows its callers by the same `peers`.
    """

    def __init__(
        self,
        listen: Sequence[str],
        make_http_protocol: Callable[[], asyncio.Protocol],
        *,
        grpc_path: Path,
        peers: Peers,
        tls: TlsFiles | None = None,
        connections_max: int = limits.CONNECTIONS_MAX,
    ) -> None:
        """Raises TlsFilesInvalid."""
        self.make_http_protocol = make_http_protocol
        self.grpc_path = grpc_path
        self.peers = peers
        self.connections_max = connections_max
        self.refused_count = 0  # connections above the limit
        self._listen = listen
        self._tls = None if tls is None else Tls(tls)
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """(host, port) of each listening socket, in the order of `listen`."""
        sockets = [one for server in self._servers for one in server.sockets]
        return tuple(one.getsockname()[:2] for one in sockets)

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    async def start(self) -> None:
        """Listens. Raises OSError for an address that cannot be used, with no socket left open."""
        wanted = self.connections_max
        self.connections_max = limits.connections_possible(wanted)
        if self.connections_max < wanted:
            _log.warning(
                f"the limit of open files allows {self.connections_max} connections of clients, "
                f"not {wanted}"
            )
        try:
            for url in self._listen:
                self._servers.append(await self._server_of(url))
        except BaseException:
            self.stop_listening()
            raise

    def stop_listening(self) -> None:
        """No new connections; those that are there go on, until whoever serves them ends them."""
        for server in self._servers:
            server.close()

    async def close(self) -> None:
        """Ends what is left."""
        self.stop_listening()
        for task in tuple(self._tasks):
            task.cancel()
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        end_s = asyncio.get_running_loop().time() + limits.CLOSE_S
        while self._connections and asyncio.get_running_loop().time() < end_s:
            await asyncio.sleep(0)

    # For Connection

    def ended(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _server_of(self, url: str) -> asyncio.Server:
        parts = urlsplit(url)
        tls = None
        if parts.scheme == "https":
            if self._tls is None:
                raise ValueError(f"{url}: https needs the files of TLS")
            tls = self._tls
        return await asyncio.get_running_loop().create_server(
            lambda: self._accepted(tls), parts.hostname, parts.port or 0, backlog=limits.BACKLOG
        )

    def _accepted(self, tls: Tls | None) -> asyncio.Protocol:
        if len(self._connections) >= self.connections_max:
            self.refused_count += 1
            if self.refused_count & (self.refused_count - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                _log.warning(
                    "a connection was refused: there are as many as may be",
                    extra={"connections_max": self.connections_max, "refused": self.refused_count},
                )
            return _Refused()
        connection = Connection(self, tls)
        self._connections.add(connection)
        return connection


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.abort()
