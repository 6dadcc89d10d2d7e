"""What a RocksDB store keeps over a restart and an install, beside the keys."""

from pathlib import Path

import pytest
from engines_under_test import export, install, read, run, run_each, save
from rocks_crashes import Power, open_cut_store

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.records import record_bytes
from metastore.engines.rocksdb.records import family_names
from metastore.engines.rocksdb.store import RocksStore
from metastore.transport.schema import Op, put


def fill(store: RocksStore) -> None:
    run(store, (int(Op.LEASE_GRANT), 5, 60))
    run_each(store, *(put(b"k", b"%d" % place, lease=5) for place in range(6)), put(b"l", b""))


def versions_bytes(store: RocksStore) -> int:
    return sum(record_bytes(r) for of_key in store._records.versions() for r in of_key)


def test_leases_and_revisions_are_there_after_a_restart(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data", node_id=7)
    fill(store)
    known = (store.revision, store.size_bytes, store.key_count, store.last_applied)
    store.close()
    again = RocksStore(tmp_path / "data", node_id=7)
    assert (again.revision, again.size_bytes, again.key_count, again.last_applied) == known
    assert read(again, (int(Op.LEASE_TIME_TO_LIVE), 5, True))[3:] == (60, (b"k",))
    again.close()


def test_what_compaction_hid_is_neither_loaded_nor_counted(tmp_path: Path) -> None:
    source = RocksStore(tmp_path / "source", node_id=1)
    fill(source)
    run(source, (int(Op.COMPACT), source.revision, False))
    store = RocksStore(tmp_path / "data", node_id=7)
    install(source, store, tmp_path / "received")
    assert store.size_bytes == versions_bytes(store) < source.size_bytes
    changed = store._driver.iterate(store._generations.names.changes, b"", None)
    assert [key for _, key in changed] == [b"l"]
    again = RocksStore(tmp_path / "again", node_id=7)
    install(store, again, tmp_path / "received")
    assert again.size_bytes == store.size_bytes
    for opened in (source, store, again):
        opened.close()


def test_half_of_a_damaged_snapshot_does_not_stay(tmp_path: Path) -> None:
    source = RocksStore(tmp_path / "source", node_id=1)
    fill(source)
    meta = save(source)
    received = export(source, meta, tmp_path / "received")
    received.write_bytes(received.read_bytes()[:-1])
    store = RocksStore(tmp_path / "data", node_id=7)
    with pytest.raises(StorageDamaged):
        store.prepare_snapshot(meta, received)
    data = [name for name in store._driver.families() if "." in name]
    assert data == sorted(family_names(1))
    store.close()
    source.close()


def test_a_snapshot_is_not_named_before_the_database_is_synced(tmp_path: Path) -> None:
    power = Power(tmp_path / "data", tmp_path / "left")
    store, _ = open_cut_store(power)
    fill(store)
    power.steps.clear()
    save(store)
    made = power.steps.index("checkpoint")
    named = ["sync_directory", "sync", "rename", "sync_directory"]
    assert power.steps[made + 1 :] == named
    store.close()


def test_the_newest_snapshot_stays_the_newest_when_an_older_one_comes_late(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data", node_id=7)
    fill(store)
    newest = save(store)
    store._snapshots.installed(SnapshotMeta(1, 1))
    assert store.latest_snapshot() == newest
    store.close()
