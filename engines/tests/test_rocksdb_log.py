"""The Raft log in RocksDB: what it keeps, and what it refuses (A2, A9, A12)."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rocksdb_files import LOG, META, binding_params, opened

from metastore.engines.contract import (
    LogRecord,
    RecoveredLog,
    SnapshotMeta,
    StorageDamaged,
    StorageFailed,
)
from metastore.engines.rocksdb.driver import Driver, Write
from metastore.engines.rocksdb.log import RocksLog

SNAPSHOT = SnapshotMeta(3, 1, b"a, b and c")


def entry(index: int, term: int = 1, data: bytes = b"data") -> LogRecord:
    return LogRecord(term, index, 0, data)


def entries(first: int, last: int, term: int = 1) -> list[LogRecord]:
    return [entry(index, term, b"value %d" % index) for index in range(first, last + 1)]


def recovered(driver: Driver) -> tuple[RocksLog, RecoveredLog]:
    log = RocksLog(driver)
    return log, log.recover()


def reopened(path: Path, name: str = "rocksdict") -> RecoveredLog:
    with opened(path, name) as driver:
        return RocksLog(driver).recover()


@pytest.fixture(params=binding_params())
def name(request: pytest.FixtureRequest) -> Any:
    return request.param


class Watched:
    """A driver that says what it was asked for, and fails where the test wants it."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.calls: list[str] = []
        self.batches: list[list[Write]] = []
        self.failing = ""

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            if name == self.failing:
                raise StorageFailed(f"{name}: Input/output error")
            if name == "write":
                self.batches.append(list(arguments[0]))
            return getattr(self.driver, name)(*arguments, **named)

        return call


def test_what_was_appended_is_recovered_with_its_hard_state_and_snapshot(
    tmp_path: Path, name: str
) -> None:
    with opened(tmp_path, name) as driver:
        log, found = recovered(driver)
        assert found == RecoveredLog()
        log.append([entry(1), LogRecord(1, 2, 3, b""), entry(3)], (1, 2, 1), None)
        log.append(entries(4, 6), (1, 2, 4), None)
        log.compact(SNAPSHOT)
        log.sync()
    found = reopened(tmp_path, name)
    assert found == RecoveredLog((1, 2, 4), SNAPSHOT, tuple(entries(4, 6)), committed_once=4)


def test_an_overwritten_entry_takes_everything_after_it_along_in_one_batch(tmp_path: Path) -> None:
    with opened(tmp_path) as driver:
        watched: Any = Watched(driver)
        log, _ = recovered(watched)
        log.append(entries(1, 9), (1, 1, 0), None)
        log.append(entries(4, 5, term=2), (2, 1, 0), None)
        assert len(watched.batches) == 2
    assert list(reopened(tmp_path).entries) == entries(1, 3) + entries(4, 5, term=2)


def test_term_and_vote_are_one_value_and_go_with_the_entries_in_one_batch(tmp_path: Path) -> None:
    with opened(tmp_path) as driver:
        watched: Any = Watched(driver)
        log, _ = recovered(watched)
        log.append(entries(1, 2), (5, 3, 0), None)
        (batch,) = watched.batches
        assert [family for family, _, _ in batch] == [META, LOG, LOG]


def test_a_snapshot_of_another_history_leaves_nothing_of_this_one(tmp_path: Path) -> None:
    with opened(tmp_path) as driver:
        watched: Any = Watched(driver)
        log, _ = recovered(watched)
        log.append(entries(1, 9), None, None)
        other = SnapshotMeta(5, 4, b"other")
        log.append(entries(6, 7, term=4), (4, 0, 5), other)
        assert log.size_bytes() == 2 * (8 + 4 + 12 + len(b"value 6"))
        watched.batches.clear()
    found = reopened(tmp_path)
    assert found == RecoveredLog((4, 0, 5), other, tuple(entries(6, 7, term=4)), committed_once=5)


def test_a_snapshot_of_this_history_keeps_what_follows_and_an_older_one_changes_nothing(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as driver:
        log, _ = recovered(driver)
        log.append(entries(1, 6), None, None)
        log.append([], None, SNAPSHOT)
        log.append(entries(7, 7), None, SnapshotMeta(2, 1, b"older"))
        assert len(list(driver.iterate(LOG, b"", None))) == 4
        wanted = RecoveredLog((0, 0, 3), SNAPSHOT, tuple(entries(4, 7)))
    assert reopened(tmp_path) == wanted


def test_a_crash_between_the_steps_of_a_compaction_leaves_no_gap_and_no_ghost(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as driver:
        watched: Any = Watched(driver)
        log, _ = recovered(watched)
        log.append(entries(1, 6), (1, 0, 3), None)
        watched.failing = "delete_range"
        with pytest.raises(StorageFailed):
            log.compact(SNAPSHOT)
    with opened(tmp_path) as driver:
        _, found = recovered(driver)
        assert found == RecoveredLog((1, 0, 3), SNAPSHOT, tuple(entries(4, 6)), committed_once=3)
        assert len(list(driver.iterate(LOG, b"", None))) == 3


def test_an_append_does_not_sync_and_a_compaction_and_a_recovery_do(tmp_path: Path) -> None:
    with opened(tmp_path) as driver:
        watched: Any = Watched(driver)
        log, _ = recovered(watched)
        assert watched.calls.count("sync") == 1
        log.append(entries(1, 6), (1, 0, 3), None)
        assert watched.calls.count("sync") == 1
        log.sync()
        assert watched.calls.count("sync") == 2
        log.compact(SNAPSHOT)
        assert watched.calls[-1] == "sync"


def test_a_commit_index_past_the_log_is_taken_back_and_said(tmp_path: Path) -> None:
    with opened(tmp_path) as driver:
        log, _ = recovered(driver)
        log.append(entries(1, 2), (1, 0, 9), None)
    found = reopened(tmp_path)
    assert found.hard_state == (1, 0, 2)
    assert found.committed_once == 9, "entries 3 to 9 were committed, though they are gone"
    assert "commit index 9" in found.warnings[0]


@pytest.mark.parametrize("bad", [[entry(5)], [entry(1), entry(3)], [entry(4, term=1)], [entry(3)]])
def test_what_recovery_would_refuse_is_not_written_and_does_no_harm(
    tmp_path: Path, bad: list[LogRecord]
) -> None:
    with opened(tmp_path) as driver:
        log, _ = recovered(driver)
        log.append([], None, SnapshotMeta(3, 2))
        with pytest.raises(ValueError, match="entry"):
            log.append(bad, None, None)
        log.append([entry(4, term=2)], None, None)
    assert list(reopened(tmp_path).entries) == [entry(4, term=2)]


@pytest.mark.parametrize("failing", ["write", "sync", "delete_range"])
def test_after_the_first_failure_nothing_works_any_more(tmp_path: Path, failing: str) -> None:
    """A9."""
    with opened(tmp_path) as driver:
        watched: Any = Watched(driver)
        log, _ = recovered(watched)
        log.append(entries(1, 4), (1, 0, 4), None)
        calls: list[Callable[[], None]] = [
            lambda: log.append(entries(5, 5), None, None),
            log.sync,
            lambda: log.compact(SNAPSHOT),
        ]
        watched.failing = failing
        first = {"write": 0, "sync": 1, "delete_range": 2}[failing]
        with pytest.raises(StorageFailed, match="Input/output"):
            calls[first]()
        watched.failing = ""
        for call in calls:
            with pytest.raises(StorageFailed, match="Input/output"):
                call()


def test_calls_before_the_recovery_and_after_the_close_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as driver:
        log = RocksLog(driver)
        with pytest.raises(StorageFailed, match="not recovered"):
            log.sync()
        log.recover()
        log.close()
        with pytest.raises(StorageFailed, match="closed"):
            log.append([entry(1)], None, None)
        driver.sync()  # not the log's to close


def sealed(key: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(key + payload)) + payload


def changed(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


@pytest.mark.parametrize(
    ("family", "place", "change", "said"),
    [
        (LOG, 1, changed, "checksum of the entry after 1"),
        (LOG, 1, lambda _: None, "entry 3 of the log follows entry 1"),
        (LOG, 0, lambda _: None, "entry 2 of the log follows entry 0"),
        (LOG, 2, lambda _: b"", "checksum"),
        (LOG, 0, lambda _: sealed(struct.pack(">Q", 1), b"short"), "checksum of the entry after 0"),
        (META, 0, changed, "checksum of log.hard_state"),
        (META, 1, changed, "checksum of log.snapshot"),
        (META, 1, lambda value: value[:10], "checksum of log.snapshot"),
    ],
)
def test_what_is_not_what_was_written_is_refused(
    tmp_path: Path, family: str, place: int, change: Callable[[bytes], bytes | None], said: str
) -> None:
    with opened(tmp_path) as driver:
        log, _ = recovered(driver)
        snapshot = SnapshotMeta(1, 1) if family == META else None
        log.append(entries(2, 4) if snapshot else entries(1, 4), (1, 1, 1), snapshot)
        key, value = list(driver.iterate(family, b"", None))[place]
        driver.write([(family, key, change(value))])
        with pytest.raises(StorageDamaged, match=said):
            RocksLog(driver).recover()


def test_an_entry_under_another_index_is_refused_though_its_bytes_are_sound(tmp_path: Path) -> None:
    with opened(tmp_path) as driver:
        log, _ = recovered(driver)
        log.append(entries(1, 3), None, None)
        rows = list(driver.iterate(LOG, b"", None))
        driver.write([(LOG, rows[2][0], rows[1][1])])
        with pytest.raises(StorageDamaged):
            RocksLog(driver).recover()


def test_terms_that_go_down_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metastore.engines.rocksdb.log.check_order", lambda *_: None)
    with opened(tmp_path) as driver:
        log, _ = recovered(driver)
        log.append([entry(1, term=3), entry(2, term=2)], None, None)
        with pytest.raises(StorageDamaged, match="term 2 after 3"):
            RocksLog(driver).recover()
