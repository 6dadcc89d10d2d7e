"""The gRPC server: the table of methods on a unix socket, which only the front connects to.

grpcio's asyncio server serves. Its threaded server is quicker by itself, but every call would then
change threads twice on its way to the node. uvloop saves little and crashed beside it and TLS.
Servers whose HTTP/2 is no Python at all are several times quicker; none yet tells a stream who its
caller is behind a relay, which certificates need.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import grpc

from metastore.api.calls import Method
from metastore.api.front.peers import Peers
from metastore.api.grpc import limits
from metastore.api.grpc.handlers import Handlers
from metastore.api.grpc.health import Health
from metastore.api.grpc.reflection import Reflection
from metastore.api.grpc.running import Running
from metastore.api.metrics import Metrics
from metastore.api.protocol import messages

STOP_S = 2.0  # after the grace, for statuses to reach their clients


class GrpcServer:
    """For one event loop, in which it has to be made. `peers`: who stands behind the front's
    relays; without, callers have no address and no certificate."""

    def __init__(
        self,
        methods: Iterable[Method],
        *,
        peers: Peers | None = None,
        metrics: Metrics | None = None,
        calls_max: int = limits.CALLS_MAX,
        request_bytes_max: int = limits.REQUEST_BYTES_MAX,
    ) -> None:
        table = tuple(methods)
        known = {method.service for method in table} & set(messages.SERVICES)
        services = [name for name in messages.SERVICES if name in known]
        self._health = Health({method.service for method in table})
        self._running = Running(calls_max, request_bytes_max)
        everything = (*table, *self._health.methods(), *Reflection(services).methods())
        self._server = grpc.aio.server(options=limits.OPTIONS)
        self._server.add_generic_rpc_handlers(
            (Handlers(everything, peers, self._running, metrics),)
        )

    @property
    def running_count(self) -> int:
        """Calls being served."""
        return len(self._running)

    async def start(self, path: Path) -> None:
        """Listens on a unix socket at `path`, in a folder that only this user may enter. Raises
        RuntimeError when it cannot."""
        with suppress(FileNotFoundError):
            path.unlink()  # of a gateway that was killed
        self._server.add_insecure_port(f"unix:{path}")
        await self._server.start()

    def set_leader(self, has_leader: bool) -> None:
        """What the health service says; and streams with `hasleader` end when there is none."""
        self._health.set_serving(has_leader)
        self._running.set_leader(has_leader)

    async def stop(self, grace_s: float) -> None:
        """GOAWAY to all; streams end now with etcd's "server stopped", other calls after `grace_s`
        at the latest. Takes no longer than that and STOP_S."""
        self._health.set_serving(False)
        stopping = asyncio.ensure_future(self._server.stop(grace_s + STOP_S))
        await self._running.stop(grace_s)
        await stopping
