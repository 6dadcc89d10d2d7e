"""Start: from what was durable to a log mirror in memory and the index the store has reached.

The durable log and the store's snapshots are two files written one after the other; a crash between
them leaves one ahead. Every such case is settled here, before the core exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgpack

from metastore.engines.contract import RaftLog, SnapshotMeta, StorageDamaged, Store
from metastore.node.raft.model import (
    NO_NODE,
    ConfigurationState,
    Entry,
    EntryType,
    HardState,
    Snapshot,
)
from metastore.node.raft.storage import MemoryStorage

# Every member starts from this state, so the first log entries of all agree without talking.
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


@dataclass(frozen=True, slots=True)
class Recovered:
    mirror: LogMirror
    last_applied: int
    configuration: ConfigurationState
    warnings: Sequence[str]


def encode_configuration(state: ConfigurationState) -> bytes:
    return msgpack.packb(  # type: ignore[no-any-return]
        [state.voters, state.voters_outgoing, state.learners, state.learners_next, state.auto_leave]
    )


def decode_configuration(data: bytes) -> ConfigurationState:
    voters, outgoing, learners, learners_next, auto_leave = msgpack.unpackb(data, use_list=False)
    return ConfigurationState(voters, outgoing, learners, learners_next, auto_leave)


def to_snapshot(meta: SnapshotMeta) -> Snapshot:
    return Snapshot(meta.index, meta.term, decode_configuration(meta.configuration))


def to_meta(snapshot: Snapshot) -> SnapshotMeta:
    return SnapshotMeta(snapshot.index, snapshot.term, encode_configuration(snapshot.configuration))


def recover(raft_log: RaftLog, store: Store, voters: Sequence[int]) -> Recovered:
    """Raises StorageDamaged when log and store cannot belong together."""
    found = raft_log.recover()
    warnings = list(found.warnings)
    if not found.snapshot.index and not found.entries:
        if store.last_applied:
            raise StorageDamaged(
                f"the store holds the state of index {store.last_applied} but the log is gone; "
                "restore this node from its peers instead of starting it"
            )
        return _bootstrap(raft_log, store, voters)
    base = found.snapshot
    if not base.index:
        raise StorageDamaged("the log has entries but not the beginning that every log is given")
    saved = store.latest_snapshot()
    entries = [Entry(r.term, r.index, EntryType(r.type), r.data) for r in found.entries]
    if saved is not None and saved.index > base.index:
        # Written and renamed, then the crash came before the log learnt of it.
        base = saved
        entries = _keep_above(entries, saved)
        if not entries:
            raft_log.append((), None, saved)
            raft_log.sync()
    _bring_store_to(base.index, store)
    term, voted_for, commit = found.hard_state
    if base.term > term:
        term, voted_for = base.term, NO_NODE  # in a term that the log did not know, nobody voted
    last = entries[-1].index if entries else base.index
    commit = min(max(commit, store.last_applied), last)
    snapshot = to_snapshot(base)
    mirror = LogMirror(snapshot)
    mirror.apply_snapshot(snapshot)
    mirror.append([entry for entry in entries if entry.index > base.index])
    mirror.set_hard_state(HardState(term, voted_for, commit))
    return Recovered(mirror, store.last_applied, snapshot.configuration, warnings)


def _bring_store_to(index: int, store: Store) -> None:
    if store.last_applied >= index:
        return
    if index != BOOTSTRAP_INDEX or store.last_applied:
        raise StorageDamaged(
            f"the log begins after index {index} but the store's newest snapshot is at "
            f"{store.last_applied}; a snapshot file is missing"
        )
    store.skip(BOOTSTRAP_INDEX)


def _keep_above(entries: Sequence[Entry], saved: SnapshotMeta) -> list[Entry]:
    """The entries that follow the snapshot, if the log agrees with it at its last index."""
    matches = any(e.index == saved.index and e.term == saved.term for e in entries)
    return [entry for entry in entries if entry.index > saved.index] if matches else []


def _bootstrap(raft_log: RaftLog, store: Store, voters: Sequence[int]) -> Recovered:
    configuration = ConfigurationState(voters=tuple(sorted(voters)))
    first = Snapshot(BOOTSTRAP_INDEX, BOOTSTRAP_TERM, configuration)
    raft_log.append((), (BOOTSTRAP_TERM, 0, BOOTSTRAP_INDEX), to_meta(first))
    raft_log.sync()
    store.skip(BOOTSTRAP_INDEX)
    mirror = LogMirror(first)
    mirror.apply_snapshot(first)
    mirror.set_hard_state(HardState(BOOTSTRAP_TERM, 0, BOOTSTRAP_INDEX))
    return Recovered(mirror, BOOTSTRAP_INDEX, configuration, ())
