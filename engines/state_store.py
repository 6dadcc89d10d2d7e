"""What every engine's Store answers from the state it holds, whatever makes that state durable.

Reading order 9 of the engines. The half of contract.Store that has nothing to do with a disk.
"""

from collections.abc import Callable, Iterator, Sequence

from metastore.engines.contract import (
    STANDALONE,
    Event,
    LeaseChange,
    RaftNode,
    RaftStatus,
    SnapshotMeta,
    StorageFailed,
)
from metastore.engines.state import State


class StateStore:
    """The base of a Store: an engine says what happens to `_state` and `_applied`, and when."""

    def __init__(self, node_id: int, raft: RaftNode | None, state: State) -> None:
        self._node_id = node_id
        self._raft = raft
        self._state = state
        self._applied = SnapshotMeta()
        self._gone_leases: list[LeaseChange] = []  # with states that were replaced

    def set_raft_node(self, node: RaftNode) -> None:
        self._raft = node

    def get_raft_status(self) -> RaftStatus:
        """The node's own status; without a node, that of a store that stands alone."""
        if self._raft is not None:
            return self._raft.status()
        applied = self._applied.index
        return RaftStatus(self._node_id, 0, 0, STANDALONE, applied, applied)

    @property
    def applied(self) -> SnapshotMeta:
        return self._applied

    @property
    def last_applied(self) -> int:
        return self._applied.index

    @property
    def revision(self) -> int:
        return self._state.keys.revision

    @property
    def compacted_revision(self) -> int:
        return self._state.keys.compacted_revision

    @property
    def key_count(self) -> int:
        return len(self._state.keys.records)

    @property
    def size_bytes(self) -> int:
        return self._state.keys.size_bytes

    @property
    def alarms(self) -> Sequence[int]:
        return self._state.alarms.as_tuple()

    def read(self, request: bytes) -> bytes:
        return self._state.read(request)

    def collect_events(self, wanted: bool) -> None:
        keys = self._state.keys
        if not wanted:
            keys.events = None
        elif keys.events is None:
            keys.events = []

    def take_events(self) -> Sequence[Event]:
        keys = self._state.keys
        events = keys.events
        if not events:
            return ()
        keys.events = []
        return events

    def take_lease_changes(self) -> Sequence[LeaseChange]:
        changes = [*self._gone_leases, *self._state.take_lease_changes()]
        self._gone_leases.clear()
        return changes

    def set_lease_clock(self, remaining_s: Callable[[int], int]) -> None:
        self._state.remaining_s = remaining_s

    def lease_renewals(self, lease: int) -> int:
        found = self._state.leases.get(lease)
        return 0 if found is None else found.renewals

    def history(self, first: int, last: int) -> Iterator[Event]:
        return self._state.keys.history(first, last)

    def _check_next(self, index: int, before: int) -> None:
        if index != before + 1:
            raise StorageFailed(f"entry {index} is not the one after {before}")

    def _become(self, applied: SnapshotMeta, state: State) -> None:
        """What listened to the state before listens to this one."""
        before = self._state
        state.remaining_s = before.remaining_s
        state.keys.events = None if before.keys.events is None else []
        self._gone_leases += (
            LeaseChange(lease, 0) for lease in before.leases.ids() if not state.leases.exists(lease)
        )
        before.let_go()
        self._state = state
        self._applied = applied
