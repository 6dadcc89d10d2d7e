"""Version, health and metrics: what operators' tools ask of etcd's port, without a token.

As etcd 3.5.21 answers them; `/livez` and `/readyz` speak in Kubernetes' way.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from metastore.api.calls import ApiError
from metastore.api.link import NodeLink
from metastore.api.metrics import CONTENT_TYPE, Metrics
from metastore.api.version import CLUSTER_VERSION, ETCD_VERSION
from metastore.api.web.answers import HEADERS, answer, json_bytes, plain
from metastore.api.web.limits import CHECK_S
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import Alarm, range_

NO_LEADER = "RAFT NO LEADER"
PROBED_KEY = b"health"

Check = Callable[[], Awaitable[str]]  # why it fails; "": it does not
Page = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Health:
    """Handlers of GET."""

    def __init__(self, link: NodeLink, metrics: Metrics) -> None:
        self._link = link
        self._metrics = metrics
        self._livez: dict[str, Check] = {"serializable_read": self._local_read}
        self._readyz: dict[str, Check] = {
            "data_corruption": self._no_corruption,
            "serializable_read": self._local_read,
            "linearizable_read": self._linearizable_read,
            "non_learner": self._non_learner,
        }

    def pages(self) -> dict[str, Page]:
        """By path."""
        pages: dict[str, Page] = {"/version": self.version, "/health": self.health}
        for root, checks in (("/livez", self._livez), ("/readyz", self._readyz)):
            pages[root] = _page_of(checks)
            for name, check in checks.items():
                pages[f"{root}/{name}"] = _page_of({name: check})
        return pages

    async def version(self, request: web.BaseRequest) -> web.StreamResponse:
        return answer({"etcdserver": ETCD_VERSION, "etcdcluster": CLUSTER_VERSION})

    async def health(self, request: web.BaseRequest) -> web.StreamResponse:
        """?serializable=true: of this node alone; ?exclude=NOSPACE: although of that alarm. JSON
        that says it is text, as etcd's does."""
        reason = await self._why_unhealthy(request)
        self._metrics.health(is_good=not reason)
        text = json_bytes({"health": "false" if reason else "true", "reason": reason}).decode()
        if reason:
            return plain(text + "\n", 503)
        return web.Response(text=text, headers=HEADERS, content_type="text/plain")

    async def metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            status = await self._link.status(CHECK_S)
        except ApiError:
            status = None
        headers = {**HEADERS, "Content-Type": CONTENT_TYPE}
        return web.Response(body=self._metrics.text(status), headers=headers)

    async def _why_unhealthy(self, request: web.BaseRequest) -> str:
        excluded = request.query.getall("exclude", [])
        is_local = request.query.get("serializable") == "true"
        try:
            status = await self._link.status(CHECK_S)
        except ApiError as error:
            return f"RANGE ERROR:{error.message}"
        for alarm in Alarm:
            if alarm.name not in excluded and _is_on(alarm, status):
                return f"ALARM {alarm.name}"
        if not is_local and not status["leader_id"]:
            return NO_LEADER
        why = await (self._local_read() if is_local else self._linearizable_read())
        return f"RANGE ERROR:{why}" if why else ""

    # Checks

    async def _local_read(self) -> str:
        return await self._read(ReadLevel.LOCAL)

    async def _linearizable_read(self) -> str:
        return await self._read(ReadLevel.LINEARIZABLE)

    async def _read(self, level: ReadLevel) -> str:
        try:
            await self._link.ask_as_gateway(range_(PROBED_KEY), level=level, timeout_s=CHECK_S)
        except ApiError as error:
            return error.message
        return ""

    async def _no_corruption(self) -> str:
        return await self._by_status(
            lambda told: "alarm activated: CORRUPT" if _is_on(Alarm.CORRUPT, told) else ""
        )

    async def _non_learner(self) -> str:
        return await self._by_status(
            lambda told: (
                "not supported for learner"
                if told["node_id"] in told["configuration"]["learners"]
                else ""
            )
        )

    async def _by_status(self, judge: Callable[[dict[str, Any]], str]) -> str:
        try:
            return judge(await self._link.status(CHECK_S))
        except ApiError as error:
            return error.message


def _is_on(alarm: Alarm, status: dict[str, Any]) -> bool:
    return any(text.startswith(alarm.name) for text in status["alarms"])


def _page_of(checks: dict[str, Check]) -> Page:
    """?verbose: what was looked at; ?exclude=name: but this. A failure always says why."""

    async def page(request: web.BaseRequest) -> web.StreamResponse:
        excluded = request.query.getall("exclude", [])
        lines, is_good = await _carried_out(
            (name, check) for name, check in checks.items() if name not in excluded
        )
        if not is_good:
            return plain(lines + "\n", 503)
        return plain((lines if "verbose" in request.query else "") + "ok\n")

    return page


async def _carried_out(checks: Iterable[tuple[str, Check]]) -> tuple[str, bool]:
    lines, is_good = [], True
    for name, check in checks:
        why = await check()
        is_good = is_good and not why
        lines.append(f"[-]{name} failed: {why}\n" if why else f"[+]{name} ok\n")
    return "".join(lines), is_good
