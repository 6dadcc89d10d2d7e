"""Where a log may be cut and where it must refuse (A7, A8): byte by byte, on real files."""

from pathlib import Path

import pytest

from metastore.engines.contract import LogRecord, RecoveredLog, StorageDamaged
from metastore.engines.files import Files
from metastore.engines.memory.segments import HEADER_BYTES
from metastore.engines.memory.wal import WriteAheadLog

ENTRIES = [LogRecord(1, index, 0, b"value %d" % index) for index in range(1, 7)]
LAST = LogRecord(1, 7, 0, b"the last one")


def write_log(directory: Path, *, synced: bool = True) -> tuple[Path, int]:
    """Six entries, each synced on its own, and one more; the segment, and where the last begins."""
    log = WriteAheadLog(directory)
    log.recover()
    for entry in ENTRIES:
        log.append([entry], (1, 1, 0), None)
        log.sync()
    start = log.size_bytes()
    log.append([LAST], None, None)
    if synced:
        log.sync()
    log.close()
    (segment,) = directory.glob("*.segment")
    return segment, start


def reopen(directory: Path) -> RecoveredLog:
    log = WriteAheadLog(directory)
    try:
        return log.recover()
    finally:
        log.close()


def test_a_log_cut_at_any_byte_of_its_last_record_loses_that_record_and_no_other(
    tmp_path: Path,
) -> None:
    segment, start = write_log(tmp_path)
    whole = segment.read_bytes()
    for end in range(start + 1, len(whole)):
        segment.write_bytes(whole[:end])
        recovered = reopen(tmp_path)
        assert list(recovered.entries) == ENTRIES
        assert f"byte {start}" in recovered.warnings[0]
        assert segment.stat().st_size == start


def test_a_last_record_zeroed_from_any_byte_on_is_cut(tmp_path: Path) -> None:
    segment, start = write_log(tmp_path)
    whole = segment.read_bytes()
    for place in range(start, len(whole)):
        segment.write_bytes(whole[:place] + bytes(len(whole) - place))
        assert list(reopen(tmp_path).entries) == ENTRIES


def test_any_flipped_byte_of_the_last_record_cuts_it(tmp_path: Path) -> None:
    segment, start = write_log(tmp_path)
    whole = segment.read_bytes()
    for place in range(start, len(whole)):
        segment.write_bytes(flipped(whole, place))
        assert list(reopen(tmp_path).entries) == ENTRIES


def test_any_flipped_byte_before_the_last_record_is_refused_by_file_and_byte(
    tmp_path: Path,
) -> None:
    segment, start = write_log(tmp_path)
    whole = segment.read_bytes()
    for place in range(start):
        segment.write_bytes(flipped(whole, place))
        with pytest.raises(StorageDamaged, match=r"\.segment: byte \d+: ") as refusal:
            reopen(tmp_path)
        assert str(segment) in str(refusal.value)
        assert segment.stat().st_size == len(whole), "a refused file stays as it was"


def test_a_synced_stretch_of_zeros_before_sound_records_is_refused(tmp_path: Path) -> None:
    segment, start = write_log(tmp_path)
    whole = segment.read_bytes()
    segment.write_bytes(whole[: start - 40] + bytes(40) + whole[start:])
    with pytest.raises(StorageDamaged):
        reopen(tmp_path)


def test_an_append_after_a_cut_is_found_by_the_next_start(tmp_path: Path) -> None:
    segment, _ = write_log(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-3])
    log = WriteAheadLog(tmp_path)
    log.recover()
    log.append([LAST], None, None)
    log.sync()
    log.close()
    recovered = reopen(tmp_path)
    assert list(recovered.entries) == [*ENTRIES, LAST]
    assert not recovered.warnings


@pytest.mark.parametrize("zeros", [1, HEADER_BYTES, 511, 4096, 100_000])
def test_preallocated_zeros_after_the_last_record_are_cut(tmp_path: Path, zeros: int) -> None:
    segment, _ = write_log(tmp_path)
    size_bytes = segment.stat().st_size
    segment.write_bytes(segment.read_bytes() + bytes(zeros))
    assert list(reopen(tmp_path).entries) == [*ENTRIES, LAST]
    assert segment.stat().st_size == size_bytes


def test_lost_pages_of_an_unsynced_stretch_are_cut_though_later_pages_arrived(
    tmp_path: Path,
) -> None:
    segment, start = write_log(tmp_path)
    log = WriteAheadLog(tmp_path)
    log.recover()
    log.append([LogRecord(1, 8, 0, b"x" * 3000), LogRecord(1, 9, 0, b"y")], None, None)
    log.append([LogRecord(1, 10, 0, b"z")], None, None)  # no sync in between: same stretch
    log.close()
    data = bytearray(segment.read_bytes())
    data[1024:2048] = bytes(1024)
    segment.write_bytes(data)
    assert start < 1024
    assert list(reopen(tmp_path).entries) == [*ENTRIES, LAST]


def test_the_same_lost_pages_are_refused_once_a_sync_has_covered_them(tmp_path: Path) -> None:
    segment, _ = write_log(tmp_path)
    log = WriteAheadLog(tmp_path)
    log.recover()
    log.append([LogRecord(1, 8, 0, b"x" * 3000), LogRecord(1, 9, 0, b"y")], None, None)
    log.sync()
    log.append([LogRecord(1, 10, 0, b"z")], None, None)
    log.close()
    data = bytearray(segment.read_bytes())
    data[1024:2048] = bytes(1024)
    segment.write_bytes(data)
    with pytest.raises(StorageDamaged):
        reopen(tmp_path)


def test_what_an_earlier_process_synced_counts_as_synced(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.recover()
    log.append([LogRecord(1, 1, 0, b"x" * 3000)], None, None)
    log.sync()
    log.close()
    log = WriteAheadLog(tmp_path)
    log.recover()
    log.append([LogRecord(1, 2, 0, b"y")], None, None)
    log.close()
    (segment,) = tmp_path.glob("*.segment")
    data = bytearray(segment.read_bytes())
    data[1024:2048] = bytes(1024)
    segment.write_bytes(data)
    with pytest.raises(StorageDamaged):
        reopen(tmp_path)


@pytest.mark.parametrize("size_bytes", [0, 1, HEADER_BYTES, 100])
def test_a_segment_without_a_whole_start_is_refused(tmp_path: Path, size_bytes: int) -> None:
    reopen(tmp_path)
    (segment,) = tmp_path.glob("*.segment")
    segment.write_bytes(segment.read_bytes()[:size_bytes])
    with pytest.raises(StorageDamaged, match="byte 0"):
        reopen(tmp_path)


def test_a_flip_inside_one_batch_is_refused_for_no_lost_page_looks_like_it(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.recover()
    start = log.size_bytes()
    log.append(ENTRIES, None, None)
    log.close()
    (segment,) = tmp_path.glob("*.segment")
    segment.write_bytes(flipped(segment.read_bytes(), start + HEADER_BYTES))
    with pytest.raises(StorageDamaged, match=f"byte {start}"):
        reopen(tmp_path)


def test_a_copy_of_a_segment_inside_a_torn_value_is_not_taken_for_sound_records(
    tmp_path: Path,
) -> None:
    segment, _ = write_log(tmp_path)
    copy = segment.read_bytes()
    log = WriteAheadLog(tmp_path)
    log.recover()
    log.append([LogRecord(1, 8, 0, copy)], None, None)
    log.close()
    segment.write_bytes(segment.read_bytes()[:-1])
    assert list(reopen(tmp_path).entries) == [*ENTRIES, LAST]


def test_only_the_newest_segment_may_have_a_torn_tail(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path, segment_bytes_max=300)
    log.recover()
    for entry in ENTRIES:
        log.append([entry], None, None)
        log.sync()
    log.close()
    first, *_, last = sorted(tmp_path.glob("*.segment"))
    assert first != last
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(StorageDamaged, match=first.name):
        reopen(tmp_path)


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path, segment_bytes_max=1)
    log.recover()
    for entry in ENTRIES:
        log.append([entry], None, None)
        log.sync()
    log.close()
    paths = sorted(tmp_path.glob("*.segment"))
    middle = paths[2].read_bytes()
    paths[2].unlink()
    with pytest.raises(StorageDamaged, match="before it is missing"):
        reopen(tmp_path)
    paths[2].write_bytes(middle)
    for path in paths[:3]:
        path.unlink()
    with pytest.raises(StorageDamaged, match="in no segment"):
        reopen(tmp_path)


def test_a_segment_of_another_log_is_refused(tmp_path: Path) -> None:
    for name, term in (("ours", 1), ("theirs", 2)):
        log = WriteAheadLog(tmp_path / name, segment_bytes_max=1)
        log.recover()
        for index in (1, 2, 3):
            log.append([LogRecord(term, index, 0, b"")], None, None)
            log.sync()
        log.close()
    name = sorted(path.name for path in (tmp_path / "ours").iterdir())[-1]
    (tmp_path / "ours" / name).write_bytes((tmp_path / "theirs" / name).read_bytes())
    with pytest.raises(StorageDamaged, match="does not begin where"):
        reopen(tmp_path / "ours")


def test_a_crash_during_the_repair_is_repaired_by_the_next_start(tmp_path: Path) -> None:
    segment, start = write_log(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-3])

    class Crash(BaseException):
        pass

    class Crashing(Files):
        def sync(self, descriptor: int) -> None:
            raise Crash

        def truncate(self, descriptor: int, size_bytes: int) -> None:
            super().truncate(descriptor, size_bytes + 2)
            raise Crash

    with pytest.raises(Crash):
        WriteAheadLog(tmp_path, files=Crashing()).recover()
    assert segment.stat().st_size == start + 2
    assert list(reopen(tmp_path).entries) == ENTRIES


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :]
