"""What a core is told at construction, checked once; nothing here changes while the node runs.

Reading order 4 of 12. Values only: no file, flag or environment is read here.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from metastore.node.raft.events import Tracer
from metastore.node.raft.model import APPEND_THREAD, APPLY_THREAD, NO_LIMIT, NO_NODE
from metastore.node.raft.storage import LogReader


class ReadOnly(Enum):
    """How a leader proves that it still leads before it answers a linearizable read."""

    SAFE = "safe"  # a round of heartbeats to a quorum (§6.4 of the dissertation)
    LEASE = "lease-based"  # trusts the lease that CheckQuorum renews; needs bounded clock drift


class Chance(Protocol):
    """The part of random.Random that the core uses; injected, so that one seed is one run."""

    def randrange(self, stop: int, /) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftConfig:
    """Settings of one core. Sizes are bytes, times are ticks; 0 means "no limit" where said so."""

    id: int
    election_timeout_ticks: int
    heartbeat_ticks: int
    storage: LogReader
    random: Chance
    applied: int = 0  # the state machine already holds everything up to this index
    async_storage_writes: bool = False
    max_append_bytes: int = NO_LIMIT  # entries of one AppendEntries; one entry always fits
    max_committed_bytes_per_ready: int = 0  # 0: as max_append_bytes
    max_uncommitted_bytes: int = 0  # 0: no limit
    max_inflight_count: int = 256
    max_inflight_bytes: int = 0  # 0: no limit
    pre_vote: bool = True
    check_quorum: bool = True
    read_only: ReadOnly = ReadOnly.SAFE
    disable_proposal_forwarding: bool = False
    disable_change_validation: bool = False
    step_down_on_removal: bool = False
    # A witness: it votes and acknowledges like anybody, but what it holds is no state to lead with.
    never_campaigns: bool = False
    tracer: Tracer | None = None

    @property
    def committed_bytes_max(self) -> int:
        return self.max_committed_bytes_per_ready or self.max_append_bytes

    @property
    def uncommitted_bytes_max(self) -> int:
        return self.max_uncommitted_bytes or NO_LIMIT

    def check(self) -> None:
        """Raises ValueError naming the first setting that cannot work."""
        for wrong, sentence in (
            (self.id == NO_NODE, "id 0 means no node"),
            (self.id in (APPEND_THREAD, APPLY_THREAD), "id is reserved for a storage thread"),
            (self.id < 0, "id must be positive"),
            (self.heartbeat_ticks <= 0, "heartbeat_ticks must be positive"),
            (
                self.election_timeout_ticks <= self.heartbeat_ticks,
                "election_timeout_ticks must be greater than heartbeat_ticks",
            ),
            (self.max_append_bytes < 0, "max_append_bytes must not be negative"),
            (self.max_uncommitted_bytes < 0, "max_uncommitted_bytes must not be negative"),
            (self.max_inflight_count <= 0, "max_inflight_count must be positive"),
            (
                0 < self.max_inflight_bytes < self.max_append_bytes,
                "max_inflight_bytes must hold at least one message of max_append_bytes",
            ),
            (
                # Without CheckQuorum a cut-off leader never learns that its lease ran out.
                self.read_only is ReadOnly.LEASE and not self.check_quorum,
                "lease-based reads need check_quorum",
            ),
        ):
            if wrong:
                raise ValueError(sentence)
