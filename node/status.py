"""The published status of a node: one immutable record, swapped by the loop, read by anybody.

Stands beside the loop, which publishes; the status socket's thread and the store only read. Never
waits and holds no lock: replacing and reading one reference is atomic, so a reader sees one moment.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from metastore.engines.contract import RaftStatus
from metastore.node.identity import Identity
from metastore.node.settings import Settings
from metastore.transport.member_ops import MemberInfo
from metastore.transport.status import UnknownMethod

LATENCIES_KEPT = 1024
METHOD_SHOWN_MAX = 64  # characters of an unknown method that the error repeats


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer's progress as the leader sees it."""

    node_id: int
    match_index: int
    next_index: int
    state: str  # "StateProbe" | "StateReplicate" | "StateSnapshot"
    recently_active: bool
    is_learner: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SyncLatency:
    """Milliseconds of the last syncs of the log (at most LATENCIES_KEPT); nearest-rank."""

    count: int = 0
    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> "SyncLatency":
        if not samples_ms:
            return cls()
        ordered = sorted(samples_ms)
        count = len(ordered)

        def rank(percent: int) -> float:
            return round(ordered[max(0, -(-count * percent // 100) - 1)], 3)

        return cls(count, rank(50), rank(99), rank(100))


class SyncLatencies:
    """The newest sync times; one thread adds, any thread may ask for the summary."""

    def __init__(self) -> None:
        self._samples_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def add(self, seconds: float) -> None:
        self._samples_ms.append(seconds * 1000.0)

    def summary(self) -> SyncLatency:
        # copy() is one call into C, so no append can come between (list() would raise if one did).
        return SyncLatency.of(self._samples_ms.copy())


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What changes slower than the Raft state, published about once a tick. Sizes in bytes."""

    voters: Sequence[int] = ()
    voters_outgoing: Sequence[int] = ()
    learners: Sequence[int] = ()
    alive: Sequence[int] = ()  # heard from within an election timeout, itself included
    progress: Sequence[PeerStatus] = ()  # of every peer; empty unless this node leads
    first_index: int = 0
    last_index: int = 0
    snapshot_index: int = 0
    log_bytes: int = 0
    key_count: int = 0
    revision: int = 0
    compacted_revision: int = 0
    size_bytes: int = 0
    lease_count: int = 0
    watch_count: int = 0
    engine_limits: Sequence[str] = ()  # what this engine, as it is installed, cannot promise
    sync_latency: SyncLatency = SyncLatency()
    alarms: Sequence[str] = ()  # sentences, most urgent first; empty: all is well
    counters: Mapping[str, int] = field(default_factory=dict)  # never changed once published


@dataclass(frozen=True, slots=True)
class _Published:
    raft: RaftStatus
    details: Details


class StatusBoard:
    """The RaftNode of the store (engines.contract) and the answers of the status socket."""

    def __init__(
        self, settings: Settings, identity: Identity, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._started_s = clock()
        self._quota_bytes = settings.quota_bytes
        first = RaftStatus(settings.node_id, 0, 0, "follower", 0, 0)
        self._published = _Published(first, Details())
        self._members: list[dict[str, Any]] = []
        self._fixed: dict[str, Any] = {
            "version": distribution_version(),
            "cluster_id": settings.cluster_id,
            "directory_id": identity.directory_id,
            "incarnation": identity.incarnation,
            "engine": settings.engine,
            "durability": settings.sync,
            "encrypted": settings.key_file is not None,
        }

    def publish(self, raft: RaftStatus, details: Details | None = None) -> None:
        """Replaces the record; without details the last ones stay. Only the loop calls this."""
        self._published = _Published(raft, details or self._published.details)

    def show_members(self, members: Sequence[MemberInfo]) -> None:
        """The record of the members changed. Only the loop calls this."""
        self._members = [member._asdict() for member in members]

    def answer(self, method: str) -> dict[str, Any]:
        """The answer to a status request. Raises UnknownMethod, which the socket answers."""
        published = self._published
        if method == "raft_status":
            return published.raft.as_dict()
        if method == "status":
            return self._everything(published)
        shown = method[:METHOD_SHOWN_MAX]
        raise UnknownMethod(f"{shown!r}; there are raft_status and status")

    def status(self) -> RaftStatus:
        return self._published.raft

    def term(self) -> int:
        return self._published.raft.term

    def leader(self) -> int:
        return self._published.raft.leader_id

    def state(self) -> str:
        return self._published.raft.state

    def _everything(self, published: _Published) -> dict[str, Any]:
        details = published.details
        return {
            **published.raft.as_dict(),
            **self._fixed,
            "members": self._members,
            "uptime_s": round(self._clock() - self._started_s, 3),
            "configuration": {
                "voters": list(details.voters),
                "voters_outgoing": list(details.voters_outgoing),
                "learners": list(details.learners),
            },
            "alive": list(details.alive),
            "progress": [peer.as_dict() for peer in details.progress],
            "log": {
                "first_index": details.first_index,
                "last_index": details.last_index,
                "snapshot_index": details.snapshot_index,
                "bytes": details.log_bytes,
            },
            "store": {
                "key_count": details.key_count,
                "revision": details.revision,
                "compacted_revision": details.compacted_revision,
                "size_bytes": details.size_bytes,
                "quota_bytes": self._quota_bytes,
                "leases": details.lease_count,
                "watches": details.watch_count,
            },
            "engine_limits": list(details.engine_limits),
            "sync_latency_ms": asdict(details.sync_latency),
            "alarms": list(details.alarms),
            "counters": dict(details.counters),
        }


def distribution_version() -> str:
    """The installed version; "unknown" when the code runs from a checkout without installation."""
    try:
        return version("metastore-raft")
    except PackageNotFoundError:
        return "unknown"
