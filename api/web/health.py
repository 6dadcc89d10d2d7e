"""Version, health and metrics: what operators' tools ask of etcd's port, without a token."""

from typing import Any

from aiohttp import web

from metastore.api.calls import ApiError
from metastore.api.link import NodeLink
from metastore.api.metrics import CONTENT_TYPE, Metrics
from metastore.api.version import CLUSTER_VERSION, ETCD_VERSION
from metastore.api.web.answers import answer
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import Alarm, range_

CHECK_S = 3.0
PROBED_KEY = b"health"


class Health:
    """Handlers for the router of aiohttp."""

    def __init__(self, link: NodeLink, metrics: Metrics) -> None:
        self._link = link
        self._metrics = metrics

    async def version(self, request: web.Request) -> web.Response:
        return answer({"etcdserver": ETCD_VERSION, "etcdcluster": CLUSTER_VERSION})

    async def health(self, request: web.Request) -> web.Response:
        """?serializable=true: of this node alone; ?exclude=NOSPACE: although of that alarm."""
        reason = await self._why_unhealthy(request)
        is_healthy = "false" if reason else "true"
        return answer({"health": is_healthy, "reason": reason}, 503 if reason else 200)

    async def readyz(self, request: web.Request) -> web.Response:
        """Whether requests make sense here: a linearizable read is answered."""
        return _checks(
            request, {"linearizable_read": await self._why_no_read(ReadLevel.LINEARIZABLE)}
        )

    async def livez(self, request: web.Request) -> web.Response:
        """Whether a restart would be of no use: the node itself answers."""
        why = await self._why_no_read(ReadLevel.LOCAL)
        return _checks(request, {"serializable_read": why})

    async def metrics(self, request: web.Request) -> web.Response:
        try:
            status = await self._link.status(CHECK_S)
        except ApiError:
            status = None
        text = self._metrics.text(status)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def _why_unhealthy(self, request: web.Request) -> str:
        excluded = {name.upper() for name in request.query.getall("exclude", [])}
        try:
            status = await self._link.status(CHECK_S)
        except ApiError as error:
            return f"QGET ERROR:{error.message}"
        for alarm in Alarm:
            if alarm.name not in excluded and _is_on(alarm, status):
                return f"ALARM {alarm.name}"
        is_local = request.query.get("serializable", "").lower() == "true"
        if not is_local and not status["leader_id"]:
            return "RAFT NO LEADER"
        return await self._why_no_read(ReadLevel.LOCAL if is_local else ReadLevel.LINEARIZABLE)

    async def _why_no_read(self, level: ReadLevel) -> str:
        try:
            await self._link.ask_as_gateway(range_(PROBED_KEY), level=level, timeout_s=CHECK_S)
        except ApiError as error:
            return f"QGET ERROR:{error.message}"
        return ""


def _is_on(alarm: Alarm, status: dict[str, Any]) -> bool:
    return any(text.startswith(alarm.name) for text in status["alarms"])


def _checks(request: web.Request, checks: dict[str, str]) -> web.Response:
    """etcd's way of telling them, in Kubernetes' words."""
    lines = [f"[-]{name} failed: {why}" if why else f"[+]{name} ok" for name, why in checks.items()]
    is_bad = any(checks.values())
    if not is_bad and "verbose" not in request.query:
        return web.Response(text="ok\n")
    return web.Response(text="\n".join([*lines, ""]), status=503 if is_bad else 200)
