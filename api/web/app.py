"""The HTTP/1.1 server: the JSON gateway over the table of methods, and what operators ask.

Its connections come from the front, one protocol each. Every path answers something of use; an
unknown one is 404 in plain text, as with etcd.
"""

import asyncio
import logging
from collections.abc import Iterable, MutableMapping
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from metastore.api.calls import Method
from metastore.api.grpc.running import Running
from metastore.api.link import NodeLink
from metastore.api.metrics import Metrics
from metastore.api.web import limits
from metastore.api.web.answers import (
    HEADERS,
    NOT_FOUND,
    NOT_FOUND_OF_CALLS,
    WRONG_METHOD,
    plain,
)
from metastore.api.web.calls import Handler, handler_of
from metastore.api.web.health import Health
from metastore.api.web.paths import PATHS, PREFIXES

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_log = logging.getLogger("metastore.api.web")


class WebApp:
    """`start`, then `make_protocol` for each connection, then `stop`."""

    def __init__(
        self,
        methods: Iterable[Method],
        link: NodeLink,
        metrics: Metrics,
        *,
        bodies_bytes_max: int = limits.BODIES_BYTES_MAX,
    ) -> None:
        self._running = Running(limits.CALLS_MAX, bodies_bytes_max)
        self._calls: dict[str, Handler] = {}
        for method in methods:
            handler = handler_of(method, metrics, self._running)
            for path in PATHS.get((method.service, method.name), ()):
                self._calls.update((prefix + path, handler) for prefix in PREFIXES)
        health = Health(link, metrics)
        self._pages = health.pages()
        self._metrics_page = health.metrics
        self._server: web.Server | None = None

    async def start(self) -> None:
        # A client that has gone must free its watches at once: its handler is cancelled. Bodies are
        # taken as they are: etcd does not look at their encoding.
        self._server = web.Server(
            self._serve,
            handler_cancellation=True,
            keepalive_timeout=limits.KEEPALIVE_S,
            lingering_time=limits.LINGER_S,
            max_line_size=limits.HEADER_BYTES_MAX,
            max_field_size=limits.HEADER_BYTES_MAX,
            auto_decompress=False,
            access_log=None,
            logger=_OfConnections(_log, {}),
        )

    def make_protocol(self) -> asyncio.Protocol:
        """For one connection that has just sent its first bytes."""
        if self._server is None:
            raise RuntimeError("start() comes before make_protocol()")
        protocol: asyncio.Protocol = self._server()
        return protocol

    @property
    def running_count(self) -> int:
        """Calls being served."""
        return len(self._running)

    def set_leader(self, has_leader: bool) -> None:
        """Streams that asked for a leader end when there is none."""
        self._running.set_leader(has_leader)

    async def stop(self) -> None:
        """Streams end now, with etcd's "server stopped", other calls after a moment; connections
        then. Who calls in between is told the same."""
        await self._running.stop(limits.STOP_S)
        if self._server is not None:
            await self._server.shutdown(limits.STOP_S)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path, verb = request.path, request.method
        if verb == "OPTIONS":  # a page in a browser asks whether it may
            return web.Response(headers=HEADERS)
        call = self._calls.get(path)
        if call is not None:
            if verb != "POST":
                return plain(WRONG_METHOD + "\n", 405)
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(CONTINUE)
            return await call(request)
        if path == "/metrics":  # by any method, as Prometheus' own handler
            return await self._metrics_page(request)
        page = self._pages.get(path)
        if page is not None:
            if verb != "GET":
                return plain(WRONG_METHOD + "\n", 405, allow="GET")
            return await page(request)
        is_of_calls = path.startswith(tuple(f"{prefix}/" for prefix in PREFIXES))
        return plain((NOT_FOUND_OF_CALLS if is_of_calls else NOT_FOUND) + "\n", 404)


class _OfConnections(logging.LoggerAdapter[logging.Logger]):
    """What the library tells of: a defect of a page is an error; bytes that are no HTTP and clients
    that left are nobody's concern but the client's."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs

    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        is_clients = isinstance(exc_info, HttpProcessingError | ConnectionError)
        self.log(
            logging.DEBUG if is_clients else logging.ERROR, msg, *args, exc_info=exc_info, **kwargs
        )
