"""What a leader proposes by itself, and what every node tidies up: leases, quota, old revisions.

Beside the loop, after lease_clock.py. At most one entry of its own is under way at any time, so
nothing is proposed twice; the store refuses it if another leader came first.
"""

from collections.abc import Callable

from metastore.engines.contract import Store
from metastore.node.lease_clock import LeaseClock
from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.model import Role
from metastore.node.raft.node import RaftCore
from metastore.transport import schema
from metastore.transport.schema import Alarm, Op, Operation

EXPIRATIONS_MAX = 512  # leases in one entry
CHECKPOINTS_MAX = 512
QUOTA_CLEAR_SHARE = 0.9  # of the quota; the gap keeps the alarm from going on and off
COMPACT_SLICE_CHANGES = 500  # a few milliseconds
IDLE_SLICES_MAX = 20  # in one tick, since a store that may not compact just now says "more"


class Housekeeping:
    """`on_tick` once a tick, after the clients' requests of the turn; `compact_a_little` once a
    turn."""

    def __init__(
        self,
        core: RaftCore,
        store: Store,
        leases: LeaseClock,
        *,
        quota_bytes: int,
        auto_compact_revisions: int,
        may_propose: Callable[[], bool],
    ) -> None:
        self._core = core
        self._store = store
        self._leases = leases
        self._quota_bytes = quota_bytes
        self._auto_compact_revisions = auto_compact_revisions
        self._may_propose = may_propose
        self._under_way: tuple[int, int] | None = None  # (index, term) of our last entry
        self._compacted_to = -1  # the compacted revision that is physically gone
        self._revision_at_tick = store.revision
        self._budget = 0  # changes to compact until the next tick, busy or not
        self._idle_slices = 0

    def on_installed(self) -> None:
        """Another state: what was compacted of the old one says nothing about it."""
        self._compacted_to = -1
        self._revision_at_tick = self._store.revision

    def on_tick(self) -> None:
        grown = max(0, self._store.revision - self._revision_at_tick)
        self._revision_at_tick = self._store.revision
        # As much as came in and more: compaction must keep up with writes that never pause.
        self._budget = COMPACT_SLICE_CHANGES + 2 * grown
        self._idle_slices = IDLE_SLICES_MAX
        if self._may_lead_now():
            self._maybe_propose()

    def _may_lead_now(self) -> bool:
        """Not before an entry of this term is applied: until then a renewal of an earlier leader
        may be on its way to this store."""
        core, applied = self._core, self._store.applied
        if core.role is not Role.LEADER or applied.term != core.term or not self._may_propose():
            return False
        if self._under_way is not None:
            index, term = self._under_way
            if term == core.term and applied.index < index:
                return False
            self._under_way = None
        return True

    def _maybe_propose(self) -> None:
        operations = [*self._lease_operations(), *self._alarm(), *self._compaction()]
        if not operations:
            return
        term = self._core.term
        try:
            self._core.propose(schema.encode_internal(term, operations))
        except ProposalDropped:
            return  # found again at the next tick
        self._under_way = (self._core.last_index, term)

    def _lease_operations(self) -> list[Operation]:
        renewals = self._store.lease_renewals
        operations: list[Operation] = [
            (int(Op.LEASE_EXPIRE), lease, renewals(lease))
            for lease in self._leases.expired(EXPIRATIONS_MAX)
        ]
        for lease, remaining_s in self._leases.checkpoints(CHECKPOINTS_MAX):
            operations.append((int(Op.LEASE_CHECKPOINT), lease, renewals(lease), remaining_s))
        return operations

    def _alarm(self) -> list[Operation]:
        is_on = Alarm.NOSPACE in self._store.alarms
        size, quota = self._store.size_bytes, self._quota_bytes
        if not is_on and quota and size > quota:
            return [(int(Op.ALARM), int(Alarm.NOSPACE), True)]
        if is_on and (not quota or size < quota * QUOTA_CLEAR_SHARE):
            return [(int(Op.ALARM), int(Alarm.NOSPACE), False)]
        return []

    def _compaction(self) -> list[Operation]:
        keep = self._auto_compact_revisions
        revision = self._store.revision
        if not keep or revision - max(0, self._store.compacted_revision) <= 2 * keep:
            return []
        return [(int(Op.COMPACT), revision - keep, False)]

    # On every node

    @property
    def has_more(self) -> bool:
        """Whether `compact_a_little` would do something at once, if nothing else is to be done."""
        return self._is_behind() and (self._budget > 0 or self._idle_slices > 0)

    def compact_a_little(self, *, is_idle: bool) -> None:
        """One slice of the physical compaction: of this tick's share, or of idle time."""
        if not self._is_behind():
            return
        if self._budget > 0:
            changes = min(self._budget, COMPACT_SLICE_CHANGES)
            self._budget -= changes
        elif is_idle and self._idle_slices > 0:
            changes = COMPACT_SLICE_CHANGES
            self._idle_slices -= 1
        else:
            return
        compacted = self._store.compacted_revision
        if not self._store.compact_step(changes):
            self._compacted_to = compacted

    def _is_behind(self) -> bool:
        return self._compacted_to != self._store.compacted_revision
