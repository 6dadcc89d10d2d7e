"""What the bindings to RocksDB do that one would not expect, row by row: why the drivers are as
they are.

A release that mends or moves one of these fails here, and the driver may then become simpler. That
a synced write holds the GIL through its fdatasync, and flush_wal does not, is a matter of time and
not tested; that flush_wal syncs is (test_rocksdb_log_crashes.py, and kill -9 is there, too).
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rocksdb_files import copied, damage, newest_wal

rocksdict = pytest.importorskip("rocksdict", reason="the module rocksdict is not installed")
Rdict, Mode = rocksdict.Rdict, rocksdict.DBRecoveryMode


def options(mode: Any = None) -> Any:
    made = rocksdict.Options(raw_mode=True)
    made.create_if_missing(True)
    if mode is not None:
        made.set_wal_recovery_mode(mode)
    return made


def rows(database: Any) -> int:
    return len(list(database.keys()))


def crashed(path: Path, count: int = 200) -> tuple[Path, list[int]]:
    """A database that was copied while it was open, and where each of its records ends."""
    database = Rdict(str(path / "data"), options())
    ends = []
    for number in range(count):
        database[b"%06d" % number] = b"x" * 100
        ends.append(newest_wal(path / "data").stat().st_size)
    database.flush_wal(True)
    copy = copied(path / "data", path / "crashed")
    database.close()
    return copy, ends


def with_bad_block(path: Path) -> Any:
    """A database of which a scan meets a block that is damaged."""
    database = Rdict(str(path), options())
    for number in range(3000):
        database[b"%06d" % number] = b"%09d" % number * 20
    database.close()
    (file,) = path.glob("*.sst")
    damage(file, file.stat().st_size // 2)
    return Rdict(str(path), options())


def test_the_default_recovery_ends_silently_at_damage_in_the_middle(tmp_path: Path) -> None:
    copy, ends = crashed(tmp_path)
    damage(newest_wal(copy), ends[99] + 50)
    assert rows(Rdict(str(copy), options())) == 100


def test_tolerating_a_torn_tail_only_makes_the_same_damage_an_error(tmp_path: Path) -> None:
    copy, ends = crashed(tmp_path)
    damage(newest_wal(copy), ends[99] + 50)
    with pytest.raises(Exception, match="Corruption"):
        Rdict(str(copy), options(Mode.tolerate_corrupted_tail_records()))


@pytest.mark.parametrize("place", [5, None], ids=["length", "zeros"])
def test_even_then_a_longer_length_or_zeros_are_taken_for_the_end(
    tmp_path: Path, place: int | None
) -> None:
    """Why wal_check.py is there."""
    copy, ends = crashed(tmp_path)
    if place is None:
        damage(newest_wal(copy), ends[99], bytes(ends[100] - ends[99]))
    else:
        damage(newest_wal(copy), ends[99] + place)
    assert rows(Rdict(str(copy), options(Mode.tolerate_corrupted_tail_records()))) == 100


def test_absolute_consistency_would_refuse_a_torn_tail_too(tmp_path: Path) -> None:
    copy, ends = crashed(tmp_path)
    wal = newest_wal(copy)
    wal.write_bytes(wal.read_bytes()[: ends[-1] - 10])
    with pytest.raises(Exception, match="Corruption"):
        Rdict(str(copy), options(Mode.absolute_consistency()))


def test_a_wal_that_is_missing_goes_unnoticed(tmp_path: Path) -> None:
    copy, _ = crashed(tmp_path)
    newest_wal(copy).unlink()
    assert rows(Rdict(str(copy), options(Mode.tolerate_corrupted_tail_records()))) == 0


def test_a_snapshot_is_consistent_by_key_only_and_an_iterator_in_whole(tmp_path: Path) -> None:
    database = Rdict(str(tmp_path), options())
    database[b"a"] = b"old"
    snapshot, iterator = database.snapshot(), database.iter()
    database[b"a"] = b"new"
    database[b"b"] = b"more"
    assert snapshot[b"a"] == b"old"
    assert list(snapshot.items()) == [(b"a", b"new"), (b"b", b"more")]
    iterator.seek_to_first()
    assert (iterator.key(), iterator.value()) == (b"a", b"old")
    iterator.next()
    assert not iterator.valid()


def test_the_lower_bound_of_a_scan_is_an_upper_one(tmp_path: Path) -> None:
    database = Rdict(str(tmp_path), options())
    for key in (b"a", b"b", b"c"):
        database[key] = key
    bounded = rocksdict.ReadOptions()
    bounded.set_iterate_lower_bound(b"b")
    iterator = database.iter(bounded)
    iterator.seek_to_first()
    assert iterator.key() == b"a"
    iterator.next()
    assert not iterator.valid()


def test_the_wal_is_turned_off_by_an_attribute_that_the_stubs_call_a_method() -> None:
    assert rocksdict.WriteOptions().disable_wal is False


def test_a_scan_ends_quietly_at_a_bad_block_and_only_the_status_tells(tmp_path: Path) -> None:
    database = with_bad_block(tmp_path)
    assert 0 < rows(database) < 3000
    iterator = database.iter()
    iterator.seek_to_first()
    while iterator.valid():
        iterator.next()
    with pytest.raises(Exception, match="Corruption"):
        iterator.status()


def test_errors_have_no_type_of_their_own(tmp_path: Path) -> None:
    held = Rdict(str(tmp_path), options())
    with pytest.raises(Exception, match="IO error: lock") as error:
        Rdict(str(tmp_path), options())
    assert error.type is Exception
    held.close()


def test_a_living_iterator_keeps_the_lock_after_the_close(tmp_path: Path) -> None:
    database = Rdict(str(tmp_path), options())
    iterator = database.iter()
    database.close()
    with pytest.raises(Exception, match="lock"):
        Rdict(str(tmp_path), options())
    del iterator
    Rdict(str(tmp_path), options()).close()


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = Rdict(str(tmp_path), options())
    database.close()
    with pytest.raises(rocksdict.DbClosedError):
        database.get(b"a")
    with pytest.raises(rocksdict.DbClosedError):
        database.close()


def test_a_close_writes_what_is_in_memory_to_files(tmp_path: Path) -> None:
    """So a test that wants the WAL copies the directory before it closes."""
    database = Rdict(str(tmp_path), options())
    database[b"a"] = b"1"
    assert not list(tmp_path.glob("*.sst"))
    database.close()
    assert list(tmp_path.glob("*.sst"))


@pytest.mark.parametrize("what", ["missing", "cut", "MANIFEST", "CURRENT"])
def test_files_that_are_missing_or_damaged_are_an_error_at_the_opening(
    tmp_path: Path, what: str
) -> None:
    database = Rdict(str(tmp_path), options())
    database[b"a"] = b"1"
    database.close()
    (table,) = tmp_path.glob("*.sst")
    if what == "missing":
        table.unlink()
    elif what == "cut":
        table.write_bytes(table.read_bytes()[:-20])
    else:
        (file,) = tmp_path.glob(f"{what}*")
        damage(file, 4)
    with pytest.raises(Exception, match="Corruption"):
        Rdict(str(tmp_path), options())


def module_run(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("rocksdb", reason="the module rocksdb is not installed")
    begin = "import rocksdb\nfrom pathlib import Path\n"
    begin += "database = rocksdb.DB('data', rocksdb.Options(create_if_missing=True))\n"
    return subprocess.run(
        [sys.executable, "-c", begin + program], cwd=tmp_path, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "program",
    [
        "database.close(); database.get(b'a')",
        "rows = database.iteritems(); rows.seek_to_first(); database.close(); del rows",
    ],
)
def test_the_module_kills_the_process_that_uses_it_after_its_close(
    tmp_path: Path, program: str
) -> None:
    ran = module_run(tmp_path, program)
    assert ran.returncode < 0


def test_the_module_cannot_sync_or_flush_or_be_told_how_to_recover(tmp_path: Path) -> None:
    program = (
        "missing = [name for name in ('flush_wal', 'flush', 'delete_range')"
        " if not hasattr(database, name)]\n"
        "missing += [] if hasattr(rocksdb.Options(), 'wal_recovery_mode') else ['mode']\n"
        "raise SystemExit(','.join(missing))"
    )
    assert module_run(tmp_path, program).stderr.strip() == "flush_wal,flush,delete_range,mode"


def test_damage_in_the_middle_of_the_modules_wal_is_silent(tmp_path: Path) -> None:
    """The first of the limits that its driver states."""
    written = module_run(
        tmp_path,
        "for number in range(200): database.put(b'%06d' % number, b'x' * 100)\n"
        "import os; os._exit(0)",
    )
    assert written.returncode == 0
    wal = newest_wal(tmp_path / "data")
    damage(wal, wal.stat().st_size // 2)
    read = module_run(
        tmp_path,
        "rows = database.iterkeys(); rows.seek_to_first(); count = len(list(rows))\n"
        "del rows; database.close(); raise SystemExit(str(count))",
    )
    assert 0 < int(read.stderr) < 200
