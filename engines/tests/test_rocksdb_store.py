"""What a store in a database has to hold besides: moments, others' iterators, a cheap opening."""

import queue
from pathlib import Path
from typing import Any

import pytest
from engines_under_test import ALL, export, hash_of, install, run, run_each, save
from rocks_crashes import Power, open_cut_store

from metastore.engines.contract import StorageDamaged, StorageFailed
from metastore.engines.files import Files
from metastore.engines.rocksdb.driver import open_driver
from metastore.engines.rocksdb.records import family_names
from metastore.engines.rocksdb.store import RocksStore
from metastore.engines.snapshot_format import UNFINISHED, SnapshotReader
from metastore.transport.schema import Op, delete_range, put


def fill(store: Any) -> None:
    run(store, (int(Op.LEASE_GRANT), 5, 60))
    run(store, *(put(b"k%d" % place, b"1", lease=5) for place in range(9)))
    run_each(store, *(put(b"k%d" % place, b"2") for place in range(5)), delete_range(b"k2", b"k4"))


def content(path: Path) -> tuple[Any, ...]:
    with SnapshotReader(path, Files()) as reader:
        parts = [reader.versions(), reader.order(), reader.facts()]
        return (reader.header, *(list(part) for part in parts))


def test_a_snapshot_holds_nothing_that_came_before_its_checkpoint_was_made(tmp_path: Path) -> None:
    quiet = RocksStore(tmp_path / "quiet", node_id=7)
    fill(quiet)
    expected = content(quiet.export_snapshot(save(quiet)))
    quiet.close()

    store, driver = open_cut_store(Power(tmp_path / "data", tmp_path / "left"))
    fill(store)

    def meanwhile() -> None:
        run(store, (int(Op.LEASE_REVOKE), 5), (int(Op.LEASE_GRANT), 6, 60))
        run(store, *(put(b"k%d" % place, b"3") for place in range(20)))
        run(store, (int(Op.COMPACT), store.revision, False))
        assert store.compact_step(100) is False
        run(store, (int(Op.COMPACT), store.revision, True), delete_range(*ALL))

    driver.before_checkpoint = meanwhile
    assert content(store.export_snapshot(save(store))) == expected
    store.close()


def test_a_compaction_that_waited_for_a_snapshot_goes_on_after_it(tmp_path: Path) -> None:
    store, driver = open_cut_store(Power(tmp_path / "data", tmp_path / "left"))
    fill(store)
    size_bytes = store.size_bytes

    def meanwhile() -> None:
        run(store, (int(Op.COMPACT), store.revision, True))

    driver.before_checkpoint = meanwhile
    save(store)
    assert store.size_bytes == size_bytes
    while store.compact_step(3):
        pass
    assert store.size_bytes < size_bytes
    store.close()


def test_a_snapshot_overtaken_by_an_install_fails_and_leaves_nothing(tmp_path: Path) -> None:
    source = RocksStore(tmp_path / "source", node_id=1)
    fill(source)
    run_each(source, *(put(b"more", b"") for _ in range(9)))
    store, driver = open_cut_store(Power(tmp_path / "data", tmp_path / "left"))
    fill(store)
    driver.before_checkpoint = lambda: install(source, store, tmp_path / "received")
    done: queue.Queue[Exception | None] = queue.Queue()
    meta = store.save_snapshot(done.put)
    assert "overtaken" in str(done.get(timeout=30))
    assert store.latest_snapshot() == source.latest_snapshot()
    with pytest.raises(FileNotFoundError):
        store.export_snapshot(meta)
    assert not list((tmp_path / "data" / "snapshots").glob("*" + UNFINISHED))
    store.close()
    source.close()


def test_closing_ends_what_others_still_iterate_and_lets_go_of_the_database(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data", node_id=7)
    fill(store)
    scan, history = store.scan(), store.history(2, store.revision)
    next(scan)
    next(history)
    store.close()
    for walk in (scan, history):
        with pytest.raises(StorageFailed, match="closed"):
            next(walk)
    again = RocksStore(tmp_path / "data", node_id=7)
    assert len(list(again.scan())) == again.key_count == 7
    again.close()


def test_a_scan_that_came_to_its_end_stays_there(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data", node_id=7)
    fill(store)
    scan = store.scan()
    assert len(list(scan)) == 7
    assert list(scan) == []
    store.close()


def test_a_scan_goes_on_over_an_install_with_what_it_began_with(tmp_path: Path) -> None:
    source = RocksStore(tmp_path / "source", node_id=1)
    fill(source)
    run_each(source, *(put(b"new%d" % place, b"") for place in range(9)))
    store = RocksStore(tmp_path / "data", node_id=7)
    fill(store)
    expected = list(store.scan())
    scan = store.scan()
    found = [next(scan)]
    install(source, store, tmp_path / "received")
    assert [*found, *scan] == expected
    assert store.key_count == 16
    assert hash_of(store) == hash_of(source)
    store.close()
    source.close()


def test_opening_reads_nothing_that_grows_with_the_keys(tmp_path: Path) -> None:
    power = Power(tmp_path / "data", tmp_path / "left")
    store, _ = open_cut_store(power)
    fill(store)
    store.close()
    again, driver = open_cut_store(power)
    assert again.key_count == 7
    assert driver.iterated == [family_names(1).facts]
    again.close()


def test_a_snapshot_prepared_and_never_installed_goes_with_the_next_one(tmp_path: Path) -> None:
    source = RocksStore(tmp_path / "source", node_id=1)
    store = RocksStore(tmp_path / "data", node_id=7)
    for _ in range(3):
        fill(source)
        meta = save(source)
        store.prepare_snapshot(meta, export(source, meta, tmp_path / "received"))
        families = {name.rpartition(".")[2] for name in store._driver.families() if "." in name}
        assert len(families) == 2
    store.install_snapshot(meta, tmp_path / "received")
    assert hash_of(store) == hash_of(source)
    store.close()
    source.close()


def test_a_checkpoint_stays_only_until_there_is_a_newer_one(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data", node_id=7)
    metas = []
    for _ in range(4):
        fill(store)
        metas.append(save(store))
        store.export_snapshot(metas[-1])
    left = sorted(path.name for path in (tmp_path / "data" / "snapshots").iterdir())
    assert [name.endswith(".state") for name in left] == [True, False, True]
    assert store.export_snapshot(metas[-2]).is_file()
    with pytest.raises(FileNotFoundError, match=f"no snapshot {metas[0].index}"):
        store.export_snapshot(metas[0])
    store.close()


def test_a_database_without_its_families_is_damaged_and_not_begun_again(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data", node_id=7)
    fill(store)
    store.close()
    driver = open_driver(tmp_path / "data" / "database")
    driver.drop_family(family_names(1).past)
    driver.close()
    with pytest.raises(StorageDamaged, match=r"past\.1"):
        RocksStore(tmp_path / "data", node_id=7)
    open_driver(tmp_path / "data" / "database").close()  # the lock is free again


def test_the_log_is_in_the_same_database(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data", node_id=7)
    store.raft_log.recover()
    store.raft_log.append([], (4, 2, 0), None)
    fill(store)
    store.raft_log.sync()
    store.close()
    again = RocksStore(tmp_path / "data", node_id=7)
    assert again.raft_log.recover().hard_state[:2] == (4, 2)
    assert again.last_applied == 8
    again.close()
