"""Start: from what was durable to a log mirror in memory and the index the store has reached.

The durable log and the store are written one after the other; a crash between them leaves one
ahead. A store that is durable by itself is usually ahead of the log's beginning, one that lives
from snapshots starts at it. Every such case is settled here, before the core exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from metastore.engines.contract import (
    RaftLog,
    RecoveredLog,
    SnapshotMeta,
    StorageDamaged,
    Store,
)
from metastore.node.members.records import (
    MemberRecord,
    Membership,
    RecordDamaged,
    first_membership,
)
from metastore.node.raft.model import NO_NODE, Entry, EntryType, HardState, Snapshot
from metastore.node.raft.storage import MemoryStorage

# Every founder starts from this state, so the first log entries of all agree without talking. A
# node that joins starts from nothing, at index 0, and gets its state from the leader.
BOOTSTRAP_INDEX = 1
BOOTSTRAP_TERM = 1


class LogMirror(MemoryStorage):
    """The durable part of the log, in memory, for the core to read. Its snapshot is the newest one
    that the store has completely written; the log may still hold entries below it for slow
    followers.
    """

    def __init__(self, newest: Snapshot) -> None:
        super().__init__()
        self.newest = newest

    def snapshot(self) -> Snapshot:
        return self.newest

    def index_before_trailing(self, index: int, count_max: int, bytes_max: int) -> int:
        """Where to cut, so that of the entries up to `index` at most so many, of at most so many
        bytes together, are kept."""
        before = self._before
        lowest = max(before, index - count_max)
        bytes_count = 0
        for place in range(index, lowest, -1):
            bytes_count += self._entries[place - before - 1].size_bytes
            if bytes_count > bytes_max:
                return place
        return lowest


@dataclass(frozen=True, slots=True)
class Recovered:
    """`membership`: as of what is applied. `committed_once`: the highest commit index that was ever
    durable here. If it is beyond the log, entries were lost that this node may have acknowledged
    (see lost_tail.py)."""

    mirror: LogMirror
    last_applied: int
    membership: Membership
    warnings: Sequence[str]
    committed_once: int = 0


def to_snapshot(meta: SnapshotMeta) -> Snapshot:
    """Raises StorageDamaged: the record of the members comes from our own disk."""
    configuration = _membership(meta).configuration
    return Snapshot(meta.index, meta.term, configuration, meta.configuration)


def to_meta(snapshot: Snapshot) -> SnapshotMeta:
    return SnapshotMeta(snapshot.index, snapshot.term, snapshot.data)


def recover(raft_log: RaftLog, store: Store, founders: Sequence[MemberRecord] | None) -> Recovered:
    """`founders`: the members of a cluster that may be new; None for a node that joins one, and
    must never found any. Raises StorageDamaged when log and store cannot belong together."""
    found = raft_log.recover()
    if not found.snapshot.index and not found.entries:
        if store.last_applied and not (founders is None and found.hard_state[0]):
            raise StorageDamaged(
                f"the store holds the state of index {store.last_applied} but the log is gone; "
                "restore this node from its peers instead of starting it"
            )
        if founders is not None:
            return _bootstrap(raft_log, store, founders)
        # A node that joins promised its term before anybody sent it a snapshot. So an empty log
        # with a term below a state is no lost one: the crash came before it learnt of its first.
        if not store.last_applied:
            return _join(found)
    elif not found.snapshot.index:
        raise StorageDamaged("the log has entries but not the beginning that every log is given")
    base, entries = _settle(found, store)
    if not entries and base != found.snapshot:
        raft_log.append((), None, base)
        raft_log.sync()
    _bring_store_to(base, store)
    membership = _membership(store.applied)
    mirror = _make_mirror(base, entries, membership)
    hard_state, committed_once = _hard_state(found, base, mirror.last_index(), store)
    mirror.set_hard_state(hard_state)
    return Recovered(mirror, store.last_applied, membership, found.warnings, committed_once)


def _settle(found: RecoveredLog, store: Store) -> tuple[SnapshotMeta, list[Entry]]:
    """Where the log begins, and the entries that follow. A snapshot, or the store's own state, that
    the log does not lead to was installed, and then the crash came before the log learnt of it."""
    base = found.snapshot
    entries = [Entry(r.term, r.index, EntryType(r.type), r.data) for r in found.entries]
    saved, reached = store.latest_snapshot(), store.applied
    if saved is not None and base.index < saved.index <= reached.index:
        base, entries = saved, _keep_above(entries, saved)
    if reached.index > base.index and not _holds(entries, reached):
        base, entries = reached, []
    return base, [entry for entry in entries if entry.index > base.index]


def _hard_state(
    found: RecoveredLog, base: SnapshotMeta, last_index: int, store: Store
) -> tuple[HardState, int]:
    """What the core starts with, and the commit index before it was taken back to the log."""
    term, voted_for, commit = found.hard_state
    if base.term > term:
        term, voted_for = base.term, NO_NODE  # in a term that the log did not know, nobody voted
    commit = max(commit, store.last_applied)  # what was applied is committed
    hard_state = HardState(term, voted_for, min(commit, last_index))
    return hard_state, max(commit, found.committed_once)


def _make_mirror(base: SnapshotMeta, entries: Sequence[Entry], membership: Membership) -> LogMirror:
    snapshot = to_snapshot(base)
    mirror = LogMirror(snapshot)
    mirror.apply_snapshot(snapshot)
    # The members as of what is applied; changes behind that the core learns by applying them.
    mirror.set_configuration(membership.configuration)
    mirror.append(entries)
    return mirror


def _bring_store_to(base: SnapshotMeta, store: Store) -> None:
    if store.last_applied >= base.index:
        return
    if base.index != BOOTSTRAP_INDEX or store.last_applied:
        raise StorageDamaged(
            f"the log begins after index {base.index} but the store's state is that of "
            f"{store.last_applied}; a snapshot file is missing"
        )
    store.skip(base.index, base.term, base.configuration)


def _holds(entries: Sequence[Entry], meta: SnapshotMeta) -> bool:
    return any(entry.index == meta.index and entry.term == meta.term for entry in entries)


def _keep_above(entries: Sequence[Entry], saved: SnapshotMeta) -> list[Entry]:
    """The entries that follow the snapshot, if the log agrees with it at its last index."""
    return [e for e in entries if e.index > saved.index] if _holds(entries, saved) else []


def _bootstrap(raft_log: RaftLog, store: Store, founders: Sequence[MemberRecord]) -> Recovered:
    membership = first_membership(founders, BOOTSTRAP_INDEX)
    meta = SnapshotMeta(BOOTSTRAP_INDEX, BOOTSTRAP_TERM, membership.encode())
    raft_log.append((), (BOOTSTRAP_TERM, NO_NODE, BOOTSTRAP_INDEX), meta)
    raft_log.sync()
    _bring_store_to(meta, store)
    first = to_snapshot(meta)
    mirror = LogMirror(first)
    mirror.apply_snapshot(first)
    mirror.set_hard_state(HardState(BOOTSTRAP_TERM, NO_NODE, BOOTSTRAP_INDEX))
    return Recovered(mirror, BOOTSTRAP_INDEX, membership, ())


def _join(found: RecoveredLog) -> Recovered:
    """Nothing, written or promised but perhaps a term and a vote."""
    mirror = LogMirror(Snapshot())
    term, voted_for, _ = found.hard_state
    mirror.set_hard_state(HardState(term, voted_for))
    return Recovered(mirror, 0, Membership(), found.warnings)


def _membership(meta: SnapshotMeta) -> Membership:
    try:
        return Membership.decode(meta.configuration)
    except RecordDamaged as error:
        raise StorageDamaged(f"the record of the members at index {meta.index}: {error}") from None
