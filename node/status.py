"""The published status of a node: one immutable record, swapped by the loop, read by anybody.

Stands beside the loop, which publishes; the status socket's thread and the store only read. Never
waits and holds no lock: replacing and reading one reference is atomic, so a reader sees one moment.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from metastore.engines.contract import RaftStatus
from metastore.node.identity import Identity
from metastore.node.settings import Settings

METHOD_SHOWN_MAX = 64  # characters of an unknown method that the error repeats


@dataclass(frozen=True, slots=True)
class _Published:
    raft: RaftStatus
    details: Mapping[str, Any] = field(default_factory=dict)


class StatusBoard:
    """The RaftNode of the store (engines.contract) and the answers of the status socket.

    `clock` gives seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._started_s = clock()
        self._published = _Published(RaftStatus(settings.node_id, 0, 0, "follower", 0, 0))
        self._fixed: dict[str, Any] = {
            "version": distribution_version(),
            "engine": settings.engine,
            "cluster_id": settings.cluster_id,
            "incarnation": identity.incarnation,
            "durability": settings.sync,
            "members": [asdict(member) for member in settings.members],
            "alarms": [],
        }

    def publish(self, raft: RaftStatus, details: Mapping[str, Any]) -> None:
        """Replaces the whole record; only the loop calls this. `details` must be made of what msgpack
        takes and not change any more; its `sync_seconds` (the newest syncs) are shown as percentiles.
        """
        self._published = _Published(raft, details)

    def publish_raft(self, raft: RaftStatus) -> None:
        """Replaces the Raft state; the details stay those of the last tick."""
        self._published = _Published(raft, self._published.details)

    def answer(self, method: str) -> dict[str, Any]:
        """The answer to a status request; an unknown method gets {"error": {code, message}}."""
        published = self._published
        if method == "raft_status":
            return published.raft.as_dict()
        if method == "status":
            return self._everything(published)
        shown = method[:METHOD_SHOWN_MAX]
        message = f"unknown method {shown!r}; there are raft_status and status"
        return {"error": {"code": "unknown_method", "message": message}}

    def status(self) -> RaftStatus:
        return self._published.raft

    def term(self) -> int:
        return self._published.raft.term

    def leader(self) -> int:
        return self._published.raft.leader_id

    def state(self) -> str:
        return self._published.raft.state

    def _everything(self, published: _Published) -> dict[str, Any]:
        # The percentiles are made here, by whoever asks, and not by the loop, which has work to do.
        details = dict(published.details)
        latency = sync_latency_ms(details.pop("sync_seconds", ()))
        uptime_s = round(self._clock() - self._started_s, 3)
        ours = {"sync_latency_ms": latency, "uptime_s": uptime_s}
        return {**self._fixed, **details, **ours, **published.raft.as_dict()}


def sync_latency_ms(seconds: Sequence[float]) -> dict[str, float]:
    """count, p50, p99 (nearest rank) and max of sync times, in milliseconds; zeros without any."""
    ordered = sorted(1000.0 * sample for sample in seconds)
    if not ordered:
        return {"count": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}
    count = len(ordered)

    def rank(percent: int) -> float:
        return round(ordered[max(0, -(-count * percent // 100) - 1)], 3)

    return {"count": count, "p50": rank(50), "p99": rank(99), "max": rank(100)}


def distribution_version() -> str:
    """The installed version; "unknown" when the code runs from a checkout without installation."""
    try:
        return version("metastore-raft")
    except PackageNotFoundError:
        return "unknown"
