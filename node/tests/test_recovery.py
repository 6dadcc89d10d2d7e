"""Start from disk: log and snapshots that a crash left one ahead of the other are settled, or
refused."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from queue import Queue

import pytest

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.memory.store import MemoryStore
from metastore.engines.memory.wal import WriteAheadLog
from metastore.node.raft.model import ConfigurationState, Entry, HardState, Snapshot
from metastore.node.recovery import (
    BOOTSTRAP_INDEX,
    BOOTSTRAP_TERM,
    Recovered,
    decode_configuration,
    encode_configuration,
    recover,
    to_meta,
)
from metastore.transport import schema

THREE = ConfigurationState(voters=(1, 2, 3))


class Disk:
    """One node's data directory, opened again and again as restarts would."""

    def __init__(self, path: Path) -> None:
        self.wal, self.snapshots = path / "wal", path / "snapshots"
        self.store: MemoryStore
        self.log: WriteAheadLog

    def start(self) -> Recovered:
        self.store = MemoryStore(self.snapshots, node_id=1)
        self.log = WriteAheadLog(self.wal)
        return recover(self.log, self.store, [3, 1, 2])

    def write(
        self, entries: Sequence[Entry] = (), hard_state: tuple[int, int, int] | None = None
    ) -> None:
        self.log.append(entries, hard_state, None)
        self.log.sync()

    def save_snapshot(self) -> SnapshotMeta:
        done: Queue[Exception | None] = Queue()
        meta = self.store.save_snapshot(done.put)
        assert done.get(timeout=10) is None
        return meta

    def crash(self) -> None:
        self.log.close()
        self.store.close()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def entry(index: int, term: int = 1) -> Entry:
    data = schema.encode_batch([schema.encode_request([schema.put(b"%d" % index, b"v")])])
    return Entry(term, index, data=data)


def entries(low: int, high: int, term: int = 1) -> list[Entry]:
    return [entry(index, term) for index in range(low, high + 1)]


def indexes(found: Recovered) -> list[int]:
    mirror = found.mirror
    return list(range(mirror.first_index(), mirror.last_index() + 1))


def snapshot_ahead_of_the_log(disk: Disk, log: Sequence[Entry], applied: Sequence[Entry]) -> None:
    """The snapshot of `applied` is renamed into place; the crash came before the log learnt it."""
    disk.start()
    disk.write(log, (1, 2, 3))
    disk.store.apply(applied)
    disk.save_snapshot()
    disk.crash()


def test_a_fresh_node_starts_from_the_state_that_all_members_share(disk: Disk) -> None:
    found = disk.start()
    assert found.mirror.newest == Snapshot(BOOTSTRAP_INDEX, BOOTSTRAP_TERM, THREE)
    assert found.mirror.initial_state() == (HardState(1, 0, 1), THREE)
    assert found.last_applied == disk.store.last_applied == 1
    assert indexes(found) == []
    assert found.mirror.term(1) == 1
    assert found.warnings == ()


def test_the_first_start_is_durable_before_it_is_used(disk: Disk) -> None:
    first = disk.start()
    disk.crash()
    again = disk.start()
    assert again.mirror.initial_state() == first.mirror.initial_state()
    assert (again.last_applied, indexes(again)) == (first.last_applied, indexes(first))
    assert disk.store.last_applied == 1


def test_the_first_start_syncs_the_log_before_the_node_may_promise_anything(disk: Disk) -> None:
    store = MemoryStore(disk.snapshots, node_id=1)
    synced: list[int] = []
    log = WriteAheadLog(disk.wal, sync=synced.append)
    recover(log, store, [1])
    assert len(synced) == 1


def test_a_restart_finds_term_vote_commit_and_every_entry(disk: Disk) -> None:
    disk.start()
    disk.write(entries(2, 5), (4, 3, 4))
    disk.crash()
    found = disk.start()
    assert found.mirror.initial_state() == (HardState(4, 3, 4), THREE)
    assert found.mirror.entries(2, 6, 1 << 20) == entries(2, 5)
    assert found.last_applied == 1


def test_the_members_of_the_settings_never_override_those_of_the_log(disk: Disk) -> None:
    disk.start()
    disk.crash()
    store, log = MemoryStore(disk.snapshots, node_id=1), WriteAheadLog(disk.wal)
    assert recover(log, store, [1]).configuration == THREE


def test_a_snapshot_newer_than_the_logs_marker_becomes_the_beginning(disk: Disk) -> None:
    snapshot_ahead_of_the_log(disk, entries(2, 6), entries(2, 4))
    found = disk.start()
    assert found.mirror.newest.index == found.last_applied == 4
    assert indexes(found) == [5, 6]
    hard_state, _ = found.mirror.initial_state()
    assert hard_state == HardState(1, 2, 4)  # what a snapshot holds is committed


def test_entries_behind_an_installed_snapshot_that_the_log_contradicts_are_dropped(
    disk: Disk,
) -> None:
    """D2: a tail of another term than the snapshot's would never match the leader's log."""
    snapshot_ahead_of_the_log(disk, entries(2, 6), entries(2, 4, term=2))
    for _ in range(2):  # the log itself learns it, so the next start sees the same
        found = disk.start()
        assert found.mirror.newest.term == 2
        assert indexes(found) == []
        assert found.mirror.last_index() == found.last_applied == 4
        disk.crash()


def test_a_log_that_ends_before_an_installed_snapshot_goes_on_behind_it(disk: Disk) -> None:
    snapshot_ahead_of_the_log(disk, entries(2, 3), entries(2, 9))
    found = disk.start()
    assert (indexes(found), found.mirror.last_index()) == ([], 9)
    disk.write([entry(10)])
    disk.crash()
    assert indexes(disk.start()) == [10]


def test_a_vote_of_an_older_term_does_not_become_one_of_the_snapshots_term(disk: Disk) -> None:
    snapshot_ahead_of_the_log(disk, entries(2, 3), entries(2, 9, term=7))
    hard_state, _ = disk.start().mirror.initial_state()
    assert (hard_state.term, hard_state.voted_for) == (7, 0)


def test_a_missing_snapshot_file_is_refused(disk: Disk) -> None:
    disk.start()
    disk.write(entries(2, 6), (1, 0, 6))
    disk.store.apply(entries(2, 4))
    disk.log.compact(disk.save_snapshot())
    disk.crash()
    for path in disk.snapshots.iterdir():
        path.unlink()
    with pytest.raises(StorageDamaged, match="a snapshot file is missing"):
        disk.start()


def test_a_log_that_is_gone_while_its_snapshot_is_there_is_refused(disk: Disk) -> None:
    snapshot_ahead_of_the_log(disk, entries(2, 6), entries(2, 4))
    shutil.rmtree(disk.wal)
    with pytest.raises(StorageDamaged, match="the log is gone"):
        disk.start()
    disk.log.close()
    with pytest.raises(StorageDamaged, match="the log is gone"):
        disk.start()  # a refusal writes nothing that a second start would take for a log


def test_a_log_without_its_beginning_is_refused(disk: Disk) -> None:
    log = WriteAheadLog(disk.wal)
    log.recover()
    log.append([entry(1)], (1, 0, 1), None)
    log.sync()
    log.close()
    with pytest.raises(StorageDamaged, match="not the beginning"):
        disk.start()


def test_a_commit_index_past_the_log_is_taken_back_and_said(disk: Disk) -> None:
    disk.start()
    disk.write(entries(2, 5), (1, 0, 110))
    disk.crash()
    found = disk.start()
    hard_state, _ = found.mirror.initial_state()
    assert hard_state.commit_index == 5
    assert len(found.warnings) == 1
    assert "110" in found.warnings[0]
    assert found.committed_once == 110, "the node must not vote as if it had them"


def test_a_commit_index_past_a_dropped_tail_is_taken_back_too(disk: Disk) -> None:
    disk.start()
    disk.write(entries(2, 6), (1, 0, 6))
    disk.store.apply(entries(2, 4, term=2))
    disk.save_snapshot()
    disk.crash()
    hard_state, _ = disk.start().mirror.initial_state()
    assert hard_state.commit_index == 4


# --- a store that is durable by itself


class DurableStore(MemoryStore):
    """Kept over restarts as it is, as a database is; has no snapshot unless told."""

    def latest_snapshot(self) -> SnapshotMeta | None:
        return None


class DurableDisk(Disk):
    """The store outlives the crash, with everything that was applied."""

    def start(self) -> Recovered:
        if not hasattr(self, "store"):
            self.store = DurableStore(self.snapshots, node_id=1)
        self.log = WriteAheadLog(self.wal)
        return recover(self.log, self.store, [3, 1, 2])

    def crash(self) -> None:
        self.log.close()


@pytest.fixture
def durable(tmp_path: Path) -> DurableDisk:
    return DurableDisk(tmp_path)


def test_what_a_durable_store_has_applied_is_not_applied_again(durable: DurableDisk) -> None:
    durable.start()
    durable.write(entries(2, 6), (1, 0, 2))
    durable.store.apply(entries(2, 4))
    durable.crash()
    found = durable.start()
    assert (found.last_applied, indexes(found)) == (4, [2, 3, 4, 5, 6])
    hard_state, _ = found.mirror.initial_state()
    assert hard_state.commit_index == 4, "what was applied is committed"


def test_the_members_are_those_as_of_what_a_durable_store_has_applied(
    durable: DurableDisk,
) -> None:
    """A change between the log's beginning and last_applied is never applied again."""
    durable.start()
    durable.write(entries(2, 3), (1, 0, 3))
    changed = ConfigurationState(voters=(1, 2, 3, 4))
    durable.store.skip(2, 1, encode_configuration(changed))
    durable.store.apply([entry(3)])
    durable.crash()
    found = durable.start()
    assert found.mirror.initial_state()[1] == found.configuration == changed
    assert found.mirror.newest.configuration == THREE


def test_a_state_that_the_log_does_not_lead_to_was_installed_and_begins_the_log(
    durable: DurableDisk,
) -> None:
    durable.start()
    durable.write(entries(2, 6), (1, 2, 3))
    durable.store.apply(entries(2, 4, term=2))
    for _ in range(2):  # the log itself learns it
        durable.crash()
        found = durable.start()
        assert (found.mirror.newest.index, found.mirror.newest.term) == (4, 2)
        assert (indexes(found), found.mirror.last_index()) == ([], 4)


def test_a_log_that_ends_before_the_installed_state_goes_on_behind_it(
    durable: DurableDisk,
) -> None:
    durable.start()
    durable.write(entries(2, 3), (1, 2, 3))
    durable.store.apply(entries(2, 9))
    durable.crash()
    found = durable.start()
    assert (indexes(found), found.mirror.last_index(), found.last_applied) == ([], 9, 9)
    durable.write([entry(10)])
    durable.crash()
    assert indexes(durable.start()) == [10]


def test_a_crash_between_the_first_marker_and_the_store_is_made_good(durable: DurableDisk) -> None:
    first = durable.start()
    durable.crash()
    durable.store = DurableStore(durable.snapshots / "empty", node_id=1)
    found = durable.start()
    assert (found.last_applied, found.configuration) == (1, first.configuration)
    assert durable.store.applied == to_meta(Snapshot(1, 1, THREE))


def test_a_store_that_is_behind_the_beginning_of_the_log_is_refused(durable: DurableDisk) -> None:
    durable.start()
    durable.write(entries(2, 6), (1, 0, 6))
    durable.log.append((), None, to_meta(Snapshot(4, 1, THREE)))
    durable.store.apply(entries(2, 3))
    durable.crash()
    with pytest.raises(StorageDamaged, match="a snapshot file is missing"):
        durable.start()


def test_a_configuration_survives_its_bytes() -> None:
    state = ConfigurationState((1, 2), (1, 3), (4,), (5,), auto_leave=True)
    assert decode_configuration(encode_configuration(state)) == state
