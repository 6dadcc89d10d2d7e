"""The parts of one gateway, joined: link, access, services, both servers, and the one port.

Below process.py, which reads options and signals. Also for who embeds one: `async with Gateway(…)`.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import zmq

from metastore.api.access.authenticator import Authenticator
from metastore.api.calls import ApiError, methods
from metastore.api.front.front import Front
from metastore.api.front.peers import Peers
from metastore.api.front.tls import TlsFiles
from metastore.api.grpc.server import GrpcServer
from metastore.api.link import NodeLink
from metastore.api.metrics import Metrics
from metastore.api.service_table import services_of
from metastore.api.settings import GatewaySettings, check
from metastore.api.snapshot.snapshot_files import SnapshotFiles
from metastore.api.web.app import WebApp
from metastore.client.security import read_security
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import range_

GRACE_S = 1.0  # for calls under way when the gateway stops
REACH_S = 3600.0  # a node may take long to recover; its gateway waits
LEADER_LOOK_S = 0.5
LEADER_ANSWER_S = 1.0  # a node that tells nothing for so long knows no leader either
LEADERLESS_S = 3.0  # as long as etcd waits

_log = logging.getLogger("metastore.api")


class Gateway:
    """For one event loop. Entering returns once the node has been reached and the port is open;
    raises GatewaySettingsInvalid, TlsFilesInvalid, TokenSpecInvalid, client.errors.InvalidRequest
    for settings that cannot be used, OSError for an address, ApiError when the node is not there
    within `reach_s` seconds."""

    def __init__(self, settings: GatewaySettings, *, reach_s: float = REACH_S) -> None:
        self._settings = check(settings)
        self._reach_s = reach_s
        self._stack = AsyncExitStack()
        self._front: Front | None = None

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """(host, port) of each listening socket."""
        return () if self._front is None else tuple(self._front.addresses)

    async def __aenter__(self) -> "Gateway":
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.term)
        security = read_security(settings.key_file, settings.server_keys)
        link = NodeLink(settings.node, settings.node_status, context=context, security=security)
        stack.push_async_callback(link.close)
        authenticator = Authenticator(link, settings.auth_token)
        stack.callback(authenticator.passwords.close)
        link.access = authenticator
        snapshots = SnapshotFiles(link, context=context, security=security)
        metrics, peers = Metrics(), Peers()
        table = tuple(methods(services_of(link, authenticator, snapshots.messages)))
        web = WebApp(table, link, metrics)
        grpc = GrpcServer(table, peers=peers, metrics=metrics)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metastore-etcd-")))
        await link.start(self._reach_s)
        with suppress(ApiError):  # so that the first header has a term
            await link.ask_as_gateway(range_(b"\0"), level=ReadLevel.LOCAL)
        await grpc.start(folder / "grpc")
        front = await self._listen(stack, settings.listen, web, peers, folder / "grpc")
        if settings.listen_metrics:  # no calls are served there, only numbers
            numbers = WebApp((), link, metrics)
            await self._listen(stack, settings.listen_metrics, numbers, peers, folder / "none")
        stack.push_async_callback(grpc.stop, GRACE_S)
        stack.callback(front.stop_listening)
        self._front = front
        looking = asyncio.ensure_future(_tell_of_leader(link, grpc, web, metrics))
        stack.callback(looking.cancel)

    async def _listen(
        self, stack: AsyncExitStack, urls: Sequence[str], web: WebApp, peers: Peers, grpc_path: Path
    ) -> Front:
        settings = self._settings
        front = Front(
            urls,
            web.make_protocol,
            grpc_path=grpc_path,
            peers=peers,
            tls=_tls_of(settings),
            connections_max=settings.connections_max,
        )
        await web.start()
        stack.push_async_callback(front.close)
        stack.push_async_callback(web.stop)  # first: its streams are told, then connections end
        await front.start()
        return front


def _tls_of(settings: GatewaySettings) -> TlsFiles | None:
    if settings.cert_file is None or settings.cert_key_file is None:
        return None
    return TlsFiles(
        cert_file=settings.cert_file,
        key_file=settings.cert_key_file,
        trusted_ca_file=settings.trusted_ca_file,
        client_cert_auth=settings.client_cert_auth,
    )


async def _tell_of_leader(
    link: NodeLink, server: GrpcServer, web: WebApp, metrics: Metrics
) -> None:
    """What the health service says, the streams that want a leader, and who counts leaders."""
    led_at = time.monotonic()
    while True:
        try:
            leader_id = (await link.status(LEADER_ANSWER_S))["leader_id"]
            metrics.note_leader(leader_id)
            has_leader = bool(leader_id)
        except ApiError:
            has_leader = False
        except Exception:
            _log.exception("the look for a leader failed")
            has_leader = True
        # An ordinary election must not end every stream that wants a leader.
        now = time.monotonic()
        led_at = now if has_leader else led_at
        if has_leader or now - led_at >= LEADERLESS_S:
            server.set_leader(has_leader)
            web.set_leader(has_leader)
        await asyncio.sleep(LEADER_LOOK_S)
