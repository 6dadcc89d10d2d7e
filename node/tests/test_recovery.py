"""Start from disk: log and snapshots that a crash left one ahead of the other are settled, or
refused."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from founding import founders, snapshot_of
from restarts import FOUNDED, THREE, Disk, entries, entry, indexes

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.memory.store import MemoryStore
from metastore.engines.memory.wal import WriteAheadLog
from metastore.node.raft.model import Entry, HardState
from metastore.node.recovery import (
    BOOTSTRAP_INDEX,
    BOOTSTRAP_TERM,
    recover,
)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def snapshot_ahead_of_the_log(disk: Disk, log: Sequence[Entry], applied: Sequence[Entry]) -> None:
    """The snapshot of `applied` is renamed into place; the crash came before the log learnt it."""
    disk.start()
    disk.write(log, (1, 2, 3))
    disk.store.apply(applied)
    disk.save_snapshot()
    disk.crash()


def test_a_fresh_node_starts_from_the_state_that_all_members_share(disk: Disk) -> None:
    found = disk.start()
    assert found.mirror.newest == snapshot_of(BOOTSTRAP_INDEX, BOOTSTRAP_TERM, FOUNDED)
    assert found.mirror.initial_state() == (HardState(1, 0, 1), THREE)
    assert found.last_applied == disk.store.last_applied == 1
    assert found.membership == FOUNDED
    assert indexes(found) == []
    assert found.mirror.term(1) == 1
    assert not found.warnings


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
    recover(log, store, founders([1]))
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
    assert recover(log, store, founders([1])).membership == FOUNDED


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


def test_a_record_of_the_members_that_cannot_be_read_is_damage(disk: Disk) -> None:
    disk.start()
    disk.write(entries(2, 3), (1, 0, 3))
    disk.log.append((), None, SnapshotMeta(3, 1, b"nobody's record"))
    disk.store.apply(entries(2, 3))
    disk.save_snapshot()
    disk.crash()
    with pytest.raises(StorageDamaged, match="record of the members at index 3"):
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
