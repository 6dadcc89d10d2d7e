"""`verify` on the files of RocksDB: what is wrong in them is found, by its name."""

from pathlib import Path

from data_directories import (
    CLUSTER_ID,
    NODE_ID,
    REQUESTS,
    damage,
    damages,
    fingerprint,
    make_directory,
)

from metastore.node.identity import open_data_directory
from metastore.node.offline.restore import opened_engine


def flushed(path: Path) -> Path:
    """A RocksDB directory with its data in files; the folder of the database."""
    make_directory(path, "rocksdb")
    directory = open_data_directory(path, CLUSTER_ID, NODE_ID, "rocksdb")
    with opened_engine(path, directory.identity) as (store, log):
        log.recover()
        driver = store._driver  # type: ignore[attr-defined]
        driver.flush(driver.families())
    directory.close()
    return path / "rocksdb" / "database"


def test_a_damaged_file_of_rocksdb_is_found_by_its_name(tmp_path: Path) -> None:
    database = flushed(tmp_path / "data")
    for file in sorted(database.glob("*.sst")):
        damage(file, 10)
    before = fingerprint(tmp_path / "data")
    found = damages(tmp_path / "data")
    assert found
    assert any(str(database) in sentence and ".sst" in sentence for _, sentence in found)
    assert fingerprint(tmp_path / "data") == before


def test_a_missing_file_of_rocksdb_is_found_by_its_name(tmp_path: Path) -> None:
    database = flushed(tmp_path / "data")
    file = min(database.glob("*.sst"))
    file.unlink()
    ((part, sentence),) = damages(tmp_path / "data")
    assert part == "database"
    assert file.name.lstrip("0") in sentence


def test_a_damaged_manifest_is_found(tmp_path: Path) -> None:
    database = flushed(tmp_path / "data")
    (manifest,) = database.glob("MANIFEST-*")
    damage(manifest, 20)
    ((part, sentence),) = damages(tmp_path / "data")
    assert part == "database"
    assert str(database) in sentence
    assert "Corruption" in sentence


def test_a_flipped_byte_in_the_middle_of_rocksdbs_log_is_found(tmp_path: Path) -> None:
    path = tmp_path / "crashed"
    make_directory(tmp_path / "data", "rocksdb", crashed=path)
    assert not damages(path)
    wal = max((path / "rocksdb" / "database").glob("*.log"), key=lambda file: file.stat().st_size)
    damage(wal, wal.stat().st_size // 3)
    before = fingerprint(path)
    found = damages(path)
    assert found
    assert str(path / "rocksdb" / "database") in found[0][1]
    assert fingerprint(path) == before


def test_a_damaged_checkpoint_is_found(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "rocksdb", snapshot_after=4)
    (frozen,) = (path / "rocksdb" / "snapshots").glob("*/frozen")
    damage(frozen, 40)
    ((part, sentence),) = damages(path)
    assert part == "snapshot"
    assert sentence.startswith(f"{frozen}: before byte ")


def test_a_checkpoint_without_its_database_is_found(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "rocksdb", snapshot_after=4)
    (database,) = (path / "rocksdb" / "snapshots").glob("*/database")
    database.rename(tmp_path / "elsewhere")
    assert damages(path) == [("snapshot", f"{database} is missing")]


def test_an_entry_of_the_log_in_rocksdb_with_another_content_is_found(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "rocksdb")
    directory = open_data_directory(path, CLUSTER_ID, NODE_ID, "rocksdb")
    with opened_engine(path, directory.identity) as (store, log):
        log.recover()
        driver = store._driver  # type: ignore[attr-defined]
        driver.write([("log", (5).to_bytes(8, "big"), b"not what was promised")])
        driver.sync()
    directory.close()
    assert damages(path) == [("log", "the checksum of the entry after 4 is wrong")]


def test_entries_that_a_crash_left_below_the_snapshot_are_no_damage(tmp_path: Path) -> None:
    """The log forgets them in a second step; a start takes it again."""
    path = make_directory(tmp_path / "data", "rocksdb", snapshot_after=len(REQUESTS))
    directory = open_data_directory(path, CLUSTER_ID, NODE_ID, "rocksdb")
    with opened_engine(path, directory.identity) as (store, log):
        log.recover()
        store._driver.delete_range = lambda *_: None  # type: ignore[attr-defined]
        meta = store.latest_snapshot()
        assert meta is not None
        log.compact(meta)
    directory.close()
    assert not damages(path)
