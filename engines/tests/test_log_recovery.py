"""What a log means after a restart: terms, ghosts, boundaries, refusals (A2, A4, A5, A12, A14)."""

from pathlib import Path
from typing import Any

import pytest

from metastore.engines.contract import LogRecord, RecoveredLog, SnapshotMeta, StorageDamaged
from metastore.engines.log_order import TermRuns
from metastore.engines.memory.segments import (
    Kind,
    SegmentStart,
    encode_hard_state,
    encode_record,
    encode_segment_start,
)
from metastore.engines.memory.wal import WriteAheadLog

DIRECTORY = Path("/log")


def open_log(disk: Any, segment_bytes_max: int = 200) -> tuple[WriteAheadLog, RecoveredLog]:
    log = WriteAheadLog(DIRECTORY, files=disk, segment_bytes_max=segment_bytes_max)
    return log, log.recover()


def entry(index: int, term: int = 1, data: bytes = b"data") -> LogRecord:
    return LogRecord(term, index, 0, data)


def test_term_and_vote_are_the_old_pair_or_the_new_pair_at_every_cut(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.recover()
    log.append([], (4, 2, 0), None)
    log.sync()
    start = log.size_bytes()
    log.append([], (5, 3, 0), None)
    log.close()
    (segment,) = tmp_path.glob("*.segment")
    whole = segment.read_bytes()
    for end in range(start, len(whole) + 1):
        segment.write_bytes(whole[:end])
        log = WriteAheadLog(tmp_path)
        found = log.recover().hard_state
        log.close()
        assert found == ((5, 3, 0) if end == len(whole) else (4, 2, 0))


def test_an_entry_is_never_durable_before_the_term_it_came_with(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.recover()
    log.append([entry(1)], (1, 1, 0), None)
    log.sync()
    start = log.size_bytes()
    log.append([entry(2, term=5)], (5, 0, 0), None)
    log.close()
    (segment,) = tmp_path.glob("*.segment")
    whole = segment.read_bytes()
    for end in range(start, len(whole) + 1):
        segment.write_bytes(whole[:end])
        log = WriteAheadLog(tmp_path)
        recovered = log.recover()
        log.close()
        assert recovered.hard_state[0] >= recovered.entries[-1].term


def test_a_commit_index_past_the_log_is_taken_back_with_one_warning(disk: Any) -> None:
    log, _ = open_log(disk)
    log.append([entry(1), entry(2)], (1, 1, 110), None)
    log.sync()
    log, recovered = open_log(disk)
    assert recovered.hard_state == (1, 1, 2)
    assert len(recovered.warnings) == 1
    assert "110" in recovered.warnings[0]
    for index in range(3, 12):  # the raw number also stands in the starts of later segments
        log.append([entry(index)], None, None)
    assert open_log(disk)[1].entries[-1] == entry(11)


def test_overwritten_entries_do_not_rise_again_after_a_snapshot(disk: Any) -> None:
    # etcd#22442: 5 of term 1 would win votes with a log that nobody has.
    log, _ = open_log(disk)
    log.append([entry(index) for index in range(1, 6)], None, None)
    log.append([entry(3, 2), entry(4, 2)], (2, 1, 4), None)
    log.compact(SnapshotMeta(4, 2))
    _, recovered = open_log(disk)
    assert list(recovered.entries) == []
    assert recovered.snapshot == SnapshotMeta(4, 2)


def test_an_installed_snapshot_takes_a_diverging_log_along_and_keeps_a_matching_one(
    disk: Any,
) -> None:
    log, _ = open_log(disk)
    log.append([entry(index) for index in range(1, 6)], None, None)
    log.append([], None, SnapshotMeta(3, 1))
    log.sync()
    assert [e.index for e in open_log(disk)[1].entries] == [4, 5]
    log, _ = open_log(disk)
    log.append([], None, SnapshotMeta(4, 7))
    log.sync()
    assert list(open_log(disk)[1].entries) == []
    log, _ = open_log(disk)
    log.append([entry(5, 7)], (7, 0, 4), None)
    log.sync()
    recovered = open_log(disk)[1]
    assert list(recovered.entries) == [entry(5, 7)]
    assert recovered.snapshot == SnapshotMeta(4, 7)


def test_a_late_snapshot_or_compaction_changes_nothing(disk: Any) -> None:
    log, _ = open_log(disk)
    log.append([entry(index) for index in range(1, 6)], None, None)
    log.compact(SnapshotMeta(3, 1, b"new"))
    log.compact(SnapshotMeta(2, 1, b"old"))
    log.append([], None, SnapshotMeta(3, 1, b"old"))
    log.sync()
    recovered = open_log(disk)[1]
    assert recovered.snapshot == SnapshotMeta(3, 1, b"new")
    assert [e.index for e in recovered.entries] == [4, 5]


def test_compaction_removes_old_segments_and_keeps_hard_state_and_boundary(disk: Any) -> None:
    log, _ = open_log(disk)
    log.append([], (3, 2, 0), None)
    for index in range(1, 30):
        log.append([entry(index, 3, b"x" * 50)], None, None)
    log.sync()
    before = len(disk.names_now), log.size_bytes()
    log.compact(SnapshotMeta(29, 3, b"configuration"))
    assert len(disk.names_now) == 1 < before[0]
    assert log.size_bytes() < before[1] / 5
    log, recovered = open_log(disk)
    assert recovered.hard_state == (3, 2, 29)
    assert recovered.snapshot == SnapshotMeta(29, 3, b"configuration")
    log.append([entry(30, 3)], None, None)
    log.sync()
    assert list(open_log(disk)[1].entries) == [entry(30, 3)]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([entry(7)], "does not fit"),
        ([entry(2)], "does not fit"),
        ([entry(6, 2), entry(8, 2)], "does not fit"),
        ([entry(6, 1)], "has term 1 after 2"),
        ([entry(6, 3), entry(7, 2)], "has term 2 after 3"),
    ],
)
def test_entries_that_do_not_continue_the_log_are_refused_before_they_are_written(
    disk: Any, entries: list[LogRecord], sentence: str
) -> None:
    log, _ = open_log(disk)
    log.append([entry(index, 2) for index in range(1, 6)], None, None)
    log.compact(SnapshotMeta(2, 2))
    size_bytes = log.size_bytes()
    with pytest.raises(ValueError, match=sentence):
        log.append(entries, None, None)
    assert log.size_bytes() == size_bytes
    log.append([entry(6, 2)], None, None)


def test_compaction_keeps_every_segment_that_holds_an_entry_after_the_snapshot(disk: Any) -> None:
    log, _ = open_log(disk)
    entries = [entry(index, data=b"x" * 50) for index in range(1, 20)]
    for item in entries:
        log.append([item], None, None)
    before = len(disk.names_now)
    log.compact(SnapshotMeta(9, 1))
    assert 2 < len(disk.names_now) < before
    assert list(open_log(disk)[1].entries) == entries[9:]


def test_an_entry_older_than_the_snapshot_it_follows_is_refused(disk: Any) -> None:
    log, _ = open_log(disk)
    log.append([entry(index, 3) for index in range(1, 4)], None, None)
    with pytest.raises(ValueError, match="has term 4 after 5"):
        log.append([entry(4, 4)], None, SnapshotMeta(3, 5))


def test_terms_are_those_of_the_entries_that_were_not_overwritten() -> None:
    terms = TermRuns(0, 0)
    for index, term in ((1, 1), (2, 2), (3, 3), (4, 4), (2, 5), (3, 5)):
        terms.append(index, term)
    assert [terms.term_or_none(index) for index in range(5)] == [0, 1, 5, 5, None]
    terms.start_at(2, 5)
    assert [terms.term_or_none(index) for index in range(1, 5)] == [None, 5, 5, None]


def test_an_entry_under_the_snapshot_is_not_taken_back_in(
    disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = open_log(disk)
    log.append([entry(1), entry(2), entry(3)], None, None)
    log.compact(SnapshotMeta(2, 1))
    monkeypatch.setattr("metastore.engines.memory.wal.check_order", lambda *_: None)
    log.append([entry(2)], None, None)
    log.sync()
    with pytest.raises(StorageDamaged, match="under the snapshot"):
        open_log(disk)


@pytest.mark.parametrize("place", [0, 1])
def test_a_segment_begins_with_its_start_and_has_one(tmp_path: Path, place: int) -> None:
    kinds = [Kind.SEGMENT, Kind.SEGMENT] if place else [Kind.HARD_STATE, Kind.SEGMENT]
    start = encode_segment_start(SegmentStart(1, (0, 0, 0), SnapshotMeta(), 0, 0))
    data = b""
    for kind in kinds:
        payload = start if kind == Kind.SEGMENT else encode_hard_state((1, 1, 0))
        data += encode_record(kind, payload, sequence=1, start=len(data), synced=0)
    (tmp_path / "log-0000000000000001.segment").write_bytes(data)
    with pytest.raises(StorageDamaged, match="inside a segment" if place else "not the start"):
        WriteAheadLog(tmp_path).recover()


@pytest.mark.parametrize("second", [entry(3), entry(2, term=0)])
def test_recovery_refuses_sound_records_that_no_log_of_ours_holds(
    disk: Any, monkeypatch: pytest.MonkeyPatch, second: LogRecord
) -> None:
    log, _ = open_log(disk)
    monkeypatch.setattr("metastore.engines.memory.wal.check_order", lambda *_: None)
    log.append([entry(1), second], None, None)
    log.sync()
    with pytest.raises(StorageDamaged, match=f"entry {second.index}"):
        open_log(disk)
