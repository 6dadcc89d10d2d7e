"""The HTTP/1.1 server: the JSON gateway over the table of methods, and what operators ask.

Its connections come from the front, one protocol each. Every path answers something of use; an
unknown one is 404 in plain text, as with etcd.
"""

import asyncio
from collections.abc import Iterable

from aiohttp import web

from metastore.api.calls import Method
from metastore.api.link import NodeLink
from metastore.api.metrics import Metrics
from metastore.api.web.calls import handler_of
from metastore.api.web.health import Health
from metastore.api.web.paths import PATHS, PREFIXES

KEEPALIVE_S = 3600.0  # clients keep a pool of idle connections
STOP_S = 1.0


class WebApp:
    """`start`, then `make_protocol` for each connection, then `stop`."""

    def __init__(self, methods: Iterable[Method], link: NodeLink, metrics: Metrics) -> None:
        app = web.Application(client_max_size=0)  # bodies are read, and measured, by the calls
        for method in methods:
            for path in PATHS.get((method.service, method.name), ()):
                for prefix in PREFIXES:
                    app.router.add_post(prefix + path, handler_of(method, metrics))
        health = Health(link, metrics)
        for path, handler in (
            ("/version", health.version),
            ("/health", health.health),
            ("/readyz", health.readyz),
            ("/livez", health.livez),
            ("/metrics", health.metrics),
        ):
            app.router.add_get(path, handler)
        # A client that has gone must free its watches at once: its handler is cancelled.
        self._runner = web.AppRunner(
            app,
            handler_cancellation=True,
            keepalive_timeout=KEEPALIVE_S,
            access_log=None,
            shutdown_timeout=STOP_S,
        )

    async def start(self) -> None:
        await self._runner.setup()

    def make_protocol(self) -> asyncio.Protocol:
        """For one connection that has just sent its first bytes."""
        server = self._runner.server
        if server is None:
            raise RuntimeError("start() comes before make_protocol()")
        protocol: asyncio.Protocol = server()
        return protocol

    async def stop(self) -> None:
        """Ends what is under way after a moment."""
        await self._runner.cleanup()
