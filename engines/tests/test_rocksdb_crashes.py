"""A RocksDB store after a crash at any step: the old state or the new one (scenarios A13, A14, D1,
D5)."""

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from engines_under_test import ALL, export, hash_of, read, run, save
from rocks_crashes import Power, PowerLoss, every_cut, open_cut_store

from metastore.engines.contract import LogRecord, SnapshotMeta, StorageFailed
from metastore.engines.files import Files
from metastore.engines.rocksdb.driver import open_driver
from metastore.engines.rocksdb.store import RocksStore
from metastore.engines.snapshot_format import verify
from metastore.transport.schema import (
    Code,
    CompareResult,
    CompareTarget,
    compare,
    decode_results,
    delete_range,
    encode_batch,
    encode_request,
    put,
    range_,
    txn,
)

COUNTER = b"counter"  # its version counts the puts: not one of them may be done twice


def entry(index: int) -> LogRecord:
    """Every third one fails, and counts as applied all the same."""
    if index % 3 == 0:
        never = compare(CompareTarget.VALUE, CompareResult.EQUAL, COUNTER, b"never")
        request = encode_request([txn([never], [put(COUNTER, b"no")]), put(b"", b"no key")])
    else:
        request = encode_request([put(COUNTER, b"%d" % index), put(b"k%d" % (index % 4), b"v")])
    return LogRecord(2, index, 0, encode_batch([request]))


def counted(index: int) -> int:
    return sum(1 for applied in range(1, index + 1) if applied % 3)


def counter_of(store: Any) -> int:
    found: Sequence[Any] = read(store, range_(COUNTER))[2]
    return found[0][4] if found else 0


def check_all_there_is(directory: Path) -> None:
    """No family of another generation, nothing unfinished."""
    driver = open_driver(directory / "database", read_only=True)
    families = {name.partition(".")[2] for name in driver.families() if "." in name}
    driver.close()
    assert len(families) == 1
    assert not list((directory / "snapshots").glob("*.unfinished"))


def test_the_applied_index_always_tells_what_is_in_the_data(tmp_path: Path) -> None:
    batches = [range(1, 4), range(4, 5), range(5, 10), range(10, 13)]

    def apply_all(store: Any) -> None:
        for batch in batches:
            store.apply([entry(index) for index in batch])

    boundaries = set()
    for left in every_cut(tmp_path, lambda store: None, apply_all):
        store = RocksStore(left, node_id=7)
        boundaries.add(store.last_applied)
        assert counter_of(store) == counted(store.last_applied)
        store.apply([entry(index) for index in range(store.last_applied + 1, 13)])
        assert counter_of(store) == counted(12)
        assert (store.applied.term, store.key_count, store.revision) == (2, 5, 1 + 2 * counted(12))
        store.close()
    assert boundaries == {0, 3, 4, 9, 12}


def test_a_failed_write_stops_the_store_and_a_new_one_goes_on_where_the_data_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, driver = open_cut_store(Power(tmp_path / "data", tmp_path / "left"))
    store.apply([entry(1)])
    with monkeypatch.context() as full:
        full.setattr(driver.inner, "write", no_space)
        with pytest.raises(StorageFailed, match="no space"):
            store.apply([entry(2)])
    refused: list[Callable[[], object]] = [
        lambda: store.apply([entry(2)]),
        lambda: store.skip(2, 2, b""),
        lambda: store.read(encode_request([range_(COUNTER)])),
        lambda: store.compact_step(10),
    ]
    for work in refused:
        with pytest.raises(StorageFailed, match="no space"):
            work()
    store.close()
    again = RocksStore(tmp_path / "data", node_id=7)
    again.apply([entry(2)])
    assert counter_of(again) == 2
    again.close()


def no_space(*_: object, **__: object) -> None:
    raise StorageFailed("no space left")


def test_a_configuration_is_kept_with_the_index_it_came_with(tmp_path: Path) -> None:
    def skip_and_apply(store: Any) -> None:
        store.skip(2, 2, b"three members")
        store.apply([entry(3)])

    for left in every_cut(tmp_path, lambda store: store.apply([entry(1)]), skip_and_apply):
        store = RocksStore(left, node_id=7)
        configuration = b"" if store.last_applied == 1 else b"three members"
        assert store.applied == SnapshotMeta(store.last_applied, 2, configuration)
        store.close()


def fill(store: Any) -> None:
    store.apply([entry(index) for index in range(1, 13)])
    run(store, delete_range(b"k1"))


def compact(store: Any) -> None:
    run(store, (6, store.revision - 1, False))
    while store.compact_step(2):
        pass


def test_a_compaction_cut_short_is_taken_up_again_and_changes_no_hash(tmp_path: Path) -> None:
    states = set()
    for left in every_cut(tmp_path, fill, compact):
        store = RocksStore(left, node_id=7)
        if not store.compacted_revision:
            compact(store)
        while store.compact_step(1):
            pass
        states.add((hash_of(store), store.size_bytes, store.key_count))
        kept = list(store._records.versions())
        sizes = sum(len(record[0]) + len(record[1]) + 64 for of_key in kept for record in of_key)
        assert store.size_bytes == sizes
        store.close()
    assert len(states) == 1


@pytest.fixture
def received(tmp_path: Path) -> tuple[SnapshotMeta, Path]:
    """A snapshot from another node, far ahead."""
    source = RocksStore(tmp_path / "source", node_id=1)
    source.apply([entry(index) for index in range(1, 30)])
    source.skip(30, 3, b"members")
    meta = save(source)
    path = export(source, meta, tmp_path / "received")
    source.close()
    return meta, path


def test_an_install_cut_short_leaves_the_old_state_or_the_new_one(
    tmp_path: Path, received: tuple[SnapshotMeta, Path]
) -> None:
    meta, path = received

    def install(store: Any) -> None:
        there = store._directory / "arrived"
        shutil.copyfile(path, there)
        store.prepare_snapshot(meta, there)
        store.install_snapshot(meta, there)

    outcomes = []
    for left in every_cut(tmp_path / "cuts", fill, install):
        store = RocksStore(left, node_id=7)
        outcomes.append(store.last_applied)
        assert counter_of(store) == counted(
            min(store.last_applied, 29) - (store.last_applied == 13)
        )
        latest = store.latest_snapshot()
        assert latest is None or latest.index <= store.last_applied
        if store.last_applied != meta.index:
            install(store)
        assert (store.applied, counter_of(store)) == (meta, counted(29))
        assert verify(store.export_snapshot(meta), Files()).meta == meta
        store.close()
        check_all_there_is(left)
        again = RocksStore(left, node_id=7)
        assert (again.applied, again.latest_snapshot()) == (meta, meta)
        again.close()
    assert set(outcomes) == {13, 30}
    assert outcomes == sorted(outcomes)


def test_an_install_is_durable_before_the_data_it_replaces_goes(
    tmp_path: Path, received: tuple[SnapshotMeta, Path]
) -> None:
    meta, path = received
    power = Power(tmp_path / "data", tmp_path / "left")
    store, _ = open_cut_store(power)
    fill(store)
    store.prepare_snapshot(meta, path)
    power.steps.clear()
    store.install_snapshot(meta, path)
    assert power.steps[:5] == ["rename", "sync_directory", "write", "sync", "drop_family"]
    store.close()


def test_what_is_prepared_is_on_disk_before_it_can_be_installed(
    tmp_path: Path, received: tuple[SnapshotMeta, Path]
) -> None:
    meta, path = received
    power = Power(tmp_path / "data", tmp_path / "left")
    store, _ = open_cut_store(power)
    store.prepare_snapshot(meta, path)
    assert power.steps[-2:] == ["load", "flush"]
    assert "sync_file" in power.steps
    store.close()


def test_a_snapshot_behind_the_state_is_refused_after_a_restart_too(
    tmp_path: Path, received: tuple[SnapshotMeta, Path]
) -> None:
    meta, path = received
    store = RocksStore(tmp_path / "data", node_id=7)
    store.apply([entry(index) for index in range(1, 32)])
    store.close()
    again = RocksStore(tmp_path / "data", node_id=7)
    with pytest.raises(ValueError, match="behind"):
        again.install_snapshot(meta, path)
    assert (again.last_applied, counter_of(again)) == (31, counted(31))
    again.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_snapshot_cut_short_leaves_nothing_and_the_next_one_is_whole(tmp_path: Path) -> None:
    def save_and_export(store: Any) -> None:
        meta = store.save_snapshot(lambda problem: None)
        for thread in threading.enumerate():
            if thread.name == "snapshot-writer":
                thread.join()
        store._driver.power.step("nothing")  # where the thread was cut, so are we
        store.export_snapshot(meta)

    expected = None
    for left in every_cut(tmp_path, fill, save_and_export):
        store = RocksStore(left, node_id=7)
        assert (store.last_applied, counter_of(store)) == (13, counted(12))
        meta = save(store)
        assert store.latest_snapshot() == meta
        file = store.export_snapshot(meta)
        assert verify(file, Files()).meta == meta
        expected = expected or file.read_bytes()
        assert file.read_bytes() == expected
        store.close()
        check_all_there_is(left)


def test_a_first_start_cut_short_is_begun_again(tmp_path: Path) -> None:
    cut_at = 0
    while True:
        power = Power(tmp_path / str(cut_at) / "data", tmp_path / str(cut_at) / "left", cut_at)
        try:
            store, _ = open_cut_store(power)
        except PowerLoss:
            pass
        else:
            store.close()
            break
        again = RocksStore(power.copy, node_id=7)
        run(again, put(b"k", b"v"), delete_range(*ALL))
        again.close()
        check_all_there_is(power.copy)
        cut_at += 1
    assert cut_at > 4


def test_a_reply_to_a_failed_command_says_so(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data", node_id=7)
    applied = store.apply([entry(index) for index in (1, 2, 3)])
    failed = decode_results(applied[2].replies[0])
    assert (failed[0][2], failed[1][0]) == (False, Code.INVALID_ARGUMENT)
    store.close()
