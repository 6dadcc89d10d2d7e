"""Both drivers of RocksDB against what driver.py promises."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rocksdb_files import LOG, META, binding_params, copied, damage, newest_wal, opened

from metastore.engines.contract import StorageDamaged, StorageFailed
from metastore.engines.rocksdb.driver import Driver, open_driver

ROWS = [(b"%d" % number, b"value %d" % number) for number in range(10)]


@pytest.fixture(params=binding_params())
def name(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def driver(tmp_path: Path, name: str) -> Iterator[Driver]:
    with opened(tmp_path / "data", name) as driver:
        driver.write([(LOG, key, value) for key, value in ROWS])
        yield driver


@pytest.mark.parametrize("start", [b"", b"3", b"35", b"9", b"99"])
@pytest.mark.parametrize("end", [None, b"", b"3", b"35", b"9", b"99"])
def test_ranges_are_half_open_in_both_directions(
    driver: Driver, start: bytes, end: bytes | None
) -> None:
    wanted = [row for row in ROWS if row[0] >= start and (end is None or row[0] < end)]
    assert list(driver.iterate(LOG, start, end)) == wanted
    assert list(driver.iterate(LOG, start, end, reverse=True)) == wanted[::-1]
    assert driver.count(LOG, start, end) == len(wanted)


def test_a_scan_sees_the_moment_at_which_it_was_made(driver: Driver) -> None:
    forward = driver.iterate(LOG, b"", None)
    backward = driver.iterate(LOG, b"", None, reverse=True)
    driver.write([(LOG, b"5", None), (LOG, b"6", b"new"), (LOG, b"55", b"more")])
    assert list(forward) == ROWS
    assert list(backward) == ROWS[::-1]


def test_a_batch_spans_families_and_its_deletes_delete(driver: Driver) -> None:
    driver.write([(LOG, b"1", None), (META, b"1", b"one"), (META, b"empty", b"")])
    assert driver.get(LOG, b"1") is None
    assert (driver.get(META, b"1"), driver.get(META, b"empty")) == (b"one", b"")


def test_a_batch_with_a_family_that_is_not_there_writes_nothing(driver: Driver) -> None:
    with pytest.raises(StorageFailed, match="elsewhere"):
        driver.write([(LOG, b"a", b"1"), ("elsewhere", b"a", b"1")])
    assert driver.get(LOG, b"a") is None


def test_a_range_is_deleted_without_its_end(driver: Driver) -> None:
    driver.delete_range(LOG, b"2", b"8")
    assert [key for key, _ in driver.iterate(LOG, b"", None)] == [b"0", b"1", b"8", b"9"]


def test_a_large_range_is_deleted_in_bounded_batches(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[type(driver).__module__]
    monkeypatch.setattr(module, "DELETED_AT_ONCE", 3, raising=False)
    driver.delete_range(LOG, b"1", b"9")
    assert [key for key, _ in driver.iterate(LOG, b"", None)] == [b"0", b"9"]


def test_what_was_written_is_there_after_reopening(tmp_path: Path, name: str) -> None:
    for round_ in range(3):
        with opened(tmp_path, name) as driver:
            assert len(list(driver.iterate(LOG, b"", None))) == round_
            driver.write([(LOG, b"%d" % round_, b"x")])


def test_a_flush_makes_durable_what_went_without_the_wal(tmp_path: Path, name: str) -> None:
    with opened(tmp_path / "data", name) as driver:
        driver.write([(LOG, b"a", b"1")], wal=False)
        driver.flush([LOG])
        copy = copied(tmp_path / "data", tmp_path / "copy")
    with opened(copy, name) as driver:
        assert driver.get(LOG, b"a") == b"1"


def test_without_the_wal_and_without_a_flush_nothing_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "data") as driver:
        driver.write([(LOG, b"a", b"1")], wal=False)
        copy = copied(tmp_path / "data", tmp_path / "copy")
    with opened(copy) as driver:
        assert driver.get(LOG, b"a") is None


def test_families_come_go_and_come_back_empty(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, name) as driver:
        driver.create_family("current.7")
        driver.write([("current.7", b"a", b"1")])
        assert driver.families() == ["current.7", LOG, META]
        driver.drop_family("current.7")
        assert driver.families() == [LOG, META]
        driver.create_family("current.7")
        assert list(driver.iterate("current.7", b"", None)) == []
    with opened(tmp_path, name) as driver:
        assert driver.families() == ["current.7", LOG, META]


def test_a_checkpoint_is_a_database_of_that_moment(
    driver: Driver, tmp_path: Path, name: str
) -> None:
    driver.write([(META, b"last", b"9")])
    driver.checkpoint(tmp_path / "checkpoint")
    driver.write([(LOG, b"after", b"x"), (META, b"last", b"after")])
    reader = open_driver(tmp_path / "checkpoint", name=name, read_only=True)
    try:
        assert list(reader.iterate(LOG, b"", None)) == ROWS
        assert reader.get(META, b"last") == b"9"
        with pytest.raises(StorageFailed):
            reader.write([(LOG, b"a", b"b")])
    finally:
        reader.close()


def test_reading_only_makes_no_database(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageFailed):
        open_driver(tmp_path / "none", name=name, read_only=True)
    assert not (tmp_path / "none" / "CURRENT").exists()


def test_a_checkpoint_over_something_fails_and_the_database_goes_on(
    driver: Driver, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(StorageFailed, match="taken"):
        driver.checkpoint(tmp_path / "taken")
    driver.write([(LOG, b"a", b"1")])


def test_a_database_that_is_open_elsewhere_is_refused(
    driver: Driver, tmp_path: Path, name: str
) -> None:
    with pytest.raises(StorageFailed, match="lock"):
        open_driver(tmp_path / "data", name=name)


def test_after_the_close_every_call_is_refused_and_the_files_are_free(
    driver: Driver, tmp_path: Path, name: str
) -> None:
    begun, untouched = driver.iterate(LOG, b"", None), driver.iterate(LOG, b"", None, reverse=True)
    next(begun)
    driver.close()
    driver.close()
    assert list(begun) == list(untouched) == []
    calls: list[Callable[[], object]] = [
        lambda: driver.get(LOG, b"1"),
        lambda: driver.iterate(LOG, b"", None),
        lambda: driver.write([]),
        lambda: driver.delete_range(LOG, b"", b"z"),
        driver.sync,
        lambda: driver.flush([LOG]),
        lambda: driver.create_family("more"),
        lambda: driver.drop_family(LOG),
        lambda: driver.checkpoint(tmp_path / "late"),
    ]
    for call in calls:
        with pytest.raises(StorageFailed, match="closed"):
            call()
    with opened(tmp_path / "data", name) as again:
        assert list(again.iterate(LOG, b"", None)) == ROWS


class Failing:
    """Stands in the place of the binding's database and fails at everything."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object, **__: object) -> None:
            raise OSError(5, "Input/output error")

        return fail


@pytest.mark.parametrize("first", ["write", "sync"])
def test_a_failed_write_or_sync_is_the_last_one(driver: Driver, first: str) -> None:
    """A9: a sync that works after one that failed would be a sync over a hole."""
    inner: Any = driver
    calls: dict[str, Callable[[], object]] = {
        "write": lambda: driver.write([(LOG, b"a", b"1")]),
        "sync": driver.sync,
        "flush": lambda: driver.flush([LOG]),
    }
    working, inner._database = inner._database, Failing()
    with pytest.raises(StorageFailed, match="Input/output"):
        calls[first]()
    inner._database = working
    for call in calls.values():
        with pytest.raises(StorageFailed, match="Input/output"):
            call()


def test_a_bad_block_ends_a_scan_with_an_error_and_keeps_no_lock(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, name) as driver:
        batch = [(LOG, b"%06d" % number, b"%09d" % number * 20) for number in range(3000)]
        driver.write(batch)
        driver.checkpoint(tmp_path / "checkpoint")  # every binding flushes for it
    files = sorted((tmp_path / "checkpoint").glob("*.sst"), key=lambda file: file.stat().st_size)
    damage(files[-1], files[-1].stat().st_size // 3)
    with opened(tmp_path / "checkpoint", name) as driver:
        with pytest.raises(StorageDamaged, match="Corruption") as kept:
            list(driver.iterate(LOG, b"", None))
        with pytest.raises(StorageDamaged, match="Corruption"):
            list(driver.iterate(LOG, b"", None, reverse=True))
        with pytest.raises(StorageDamaged, match="Corruption"):
            driver.count(LOG, b"", None)
    with opened(tmp_path / "checkpoint", name):
        assert kept.value.__traceback__ is not None


def test_files_without_their_current_are_no_empty_database(tmp_path: Path, name: str) -> None:
    with opened(tmp_path, name) as driver:
        driver.write([(LOG, b"a", b"1")])
        driver.checkpoint(tmp_path / "checkpoint")
    checkpoint = tmp_path / "checkpoint"
    for gone in [checkpoint / "CURRENT", *checkpoint.glob("*.log")]:
        gone.unlink()
    with pytest.raises(StorageDamaged, match="CURRENT is missing"):
        open_driver(checkpoint, name=name)
    assert list(checkpoint.glob("*.sst"))


def test_a_log_that_only_seems_to_end_is_refused(tmp_path: Path, name: str) -> None:
    with opened(tmp_path / "data", name) as driver:
        for number in range(5):
            driver.write([(LOG, b"%d" % number, b"x" * 50)])
        before = newest_wal(tmp_path / "data").stat().st_size
        driver.write([(LOG, b"6", b"x" * 50)])
        driver.write([(LOG, b"7", b"x" * 50)])
        copy = copied(tmp_path / "data", tmp_path / "copy")
    damage(newest_wal(copy), before + 5)  # the high byte of the record's length
    with pytest.raises(StorageDamaged, match=f"at byte {before}"):
        open_driver(copy, name=name)


def test_the_size_is_that_of_the_files(driver: Driver) -> None:
    assert driver.size_bytes() > sum(len(key) + len(value) for key, value in ROWS)


def test_a_close_that_fails_too_does_not_hide_the_failure_before_it(driver: Driver) -> None:
    """A11: on a full disk RocksDB fails to close what it failed to write."""
    inner: Any = driver
    working, inner._database = inner._database, Failing()
    with pytest.raises(StorageFailed, match="Input/output"):
        driver.sync()
    driver.close()
    with pytest.raises(StorageFailed, match="Input/output"):
        driver.sync()
    working.close()


def test_a_close_that_fails_by_itself_is_a_failure_of_the_disk(driver: Driver) -> None:
    inner: Any = driver
    working, inner._database = inner._database, Failing()
    with pytest.raises(StorageFailed, match="closing"):
        driver.close()
    working.close()
