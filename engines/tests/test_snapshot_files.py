"""Snapshot files: whole or refused, old or new, at every byte and at every step (A10, A11, D5)."""

import errno
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metastore.engines.contract import LogRecord, SnapshotMeta, StorageDamaged, StorageFailed
from metastore.engines.files import Files
from metastore.engines.memory.snapshot_files import (
    SNAPSHOTS_KEPT,
    SnapshotHeader,
    WritingStopped,
    read_snapshot,
    snapshot_name,
    write_snapshot,
)
from metastore.engines.memory.store import MemoryStore
from metastore.engines.mvcc import KeyValue

DIRECTORY = Path("/state")
OLD, NEW = SnapshotMeta(5, 1, b"members"), SnapshotMeta(9, 2, b"members")


def records(count: int, value: bytes = b"v") -> list[KeyValue]:
    return [(b"k%05d" % place, value, 2, 3, 1, 0) for place in range(count)]


def header(meta: SnapshotMeta, count: int) -> SnapshotHeader:
    return SnapshotHeader(meta, 77, count)


def write(disk: Files, meta: SnapshotMeta, count: int, directory: Path = DIRECTORY) -> Path:
    return write_snapshot(directory, disk, header(meta, count), records(count))


@pytest.mark.parametrize("count", [0, 1, 256, 257, 1000])
def test_a_snapshot_reads_back_as_it_was_written(tmp_path: Path, count: int) -> None:
    path = write(Files(), NEW, count, tmp_path)
    assert read_snapshot(path, Files()) == (header(NEW, count), records(count))


def test_any_flipped_or_missing_byte_is_refused(tmp_path: Path) -> None:
    path = write(Files(), NEW, 3, tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        for damaged in (flipped, whole[:place]):
            path.write_bytes(damaged)
            with pytest.raises(StorageDamaged, match=path.name):
                read_snapshot(path, Files())


@pytest.mark.parametrize("found", [2, 4])
def test_more_or_fewer_keys_than_promised_are_refused(tmp_path: Path, found: int) -> None:
    path = write_snapshot(tmp_path, Files(), header(NEW, 3), records(found))
    with pytest.raises(StorageDamaged, match="3 keys promised"):
        read_snapshot(path, Files())


def test_keys_out_of_order_are_refused(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, Files(), header(NEW, 2), records(2)[::-1])
    with pytest.raises(StorageDamaged, match="not in order"):
        read_snapshot(path, Files())


def test_a_store_refuses_to_start_from_a_damaged_newest_snapshot(tmp_path: Path) -> None:
    write(Files(), OLD, 1, tmp_path)
    path = write(Files(), NEW, 1, tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageDamaged, match=path.name):
        MemoryStore(tmp_path, node_id=1)


def test_a_store_refuses_a_snapshot_under_another_name(tmp_path: Path) -> None:
    write(Files(), OLD, 1, tmp_path).rename(tmp_path / snapshot_name(NEW))
    with pytest.raises(StorageDamaged, match="holds"):
        MemoryStore(tmp_path, node_id=1)


def test_a_power_loss_at_any_step_of_writing_leaves_the_old_or_the_new_snapshot(
    disk: Any, power_cuts: Callable[..., bool]
) -> None:
    seen = set()
    for cut_at in range(100):
        disk.__init__()
        write(disk, OLD, 300)
        disk.cut_at = disk.steps + cut_at
        cut = power_cuts(disk, lambda: write(disk, NEW, 600))
        disk.power_loss()
        store = MemoryStore(DIRECTORY, node_id=1, files=disk)
        state = store.latest_snapshot(), store.last_applied, store.key_count
        assert state in [(OLD, 5, 300), (NEW, 9, 600)]
        assert cut or state[0] == NEW, "a finished snapshot was lost"
        assert not [path for path in disk.names_now if "unfinished" in path.name]
        seen.add(state[0])
        if not cut:
            break
    assert seen == {OLD, NEW}


def test_a_power_loss_at_any_step_of_installing_leaves_the_old_or_the_new_state(
    disk: Any, power_cuts: Callable[..., bool]
) -> None:
    for cut_at in range(100):
        disk.__init__()
        write(disk, OLD, 3)
        received = write(disk, NEW, 6, Path("/received"))
        disk.names_now[received].durable = b""  # whoever received it synced nothing
        store = MemoryStore(DIRECTORY, node_id=1, files=disk)
        disk.cut_at = disk.steps + cut_at
        cut = power_cuts(disk, lambda s=store, r=received: s.install_snapshot(NEW, r))
        disk.power_loss()
        again = MemoryStore(DIRECTORY, node_id=1, files=disk)
        assert (again.latest_snapshot(), again.key_count) in [(OLD, 3), (NEW, 6)]
        assert cut or again.last_applied == 9, "a finished install was lost"
        if not cut:
            break
    assert cut_at > 2


@pytest.mark.parametrize("operation", ["create", "write", "sync", "rename"])
def test_a_failed_write_is_reported_and_leaves_nothing_but_the_old_snapshot(
    disk: Any, operation: str
) -> None:
    store = MemoryStore(DIRECTORY, node_id=1, files=disk)
    store.skip(1)
    disk.fail(operation, errno.ENOSPC)
    done: queue.Queue[Exception | None] = queue.Queue()
    store.save_snapshot(SnapshotMeta(1, 1), done.put)
    assert isinstance(done.get(timeout=30), OSError)
    assert store.latest_snapshot() is None
    assert not disk.names_now
    store.close()
    store.save_snapshot(SnapshotMeta(1, 1), done.put)
    assert isinstance(done.get(timeout=30), WritingStopped), "a closed store writes no more"


def test_a_failed_install_leaves_the_state_and_says_where(disk: Any) -> None:
    received = write(disk, NEW, 6, Path("/received"))
    store = MemoryStore(DIRECTORY, node_id=1, files=disk)
    disk.fail("rename", errno.ENOSPC)
    with pytest.raises(StorageFailed, match="ENOSPC"):
        store.install_snapshot(NEW, received)
    assert (store.last_applied, store.key_count) == (0, 0)
    assert store.latest_snapshot() is None


def test_the_newest_snapshots_are_kept_and_no_more(disk: Any) -> None:
    store = MemoryStore(DIRECTORY, node_id=1, files=disk)
    done: queue.Queue[Exception | None] = queue.Queue()
    for index in range(1, 6):
        store.apply([LogRecord(1, index, 0, b"")])
        store.save_snapshot(SnapshotMeta(index, 1), done.put)
        assert done.get(timeout=30) is None
    kept = sorted(disk.names_now)
    assert [path.name for path in kept] == [
        snapshot_name(SnapshotMeta(index, 1)) for index in range(6 - SNAPSHOTS_KEPT, 6)
    ]
    assert store.snapshot_path(SnapshotMeta(5, 1)) == kept[-1]


class HeldFiles(Files):
    """Holds the snapshot writer's sync until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def sync(self, descriptor: int) -> None:
        if threading.current_thread().name == "snapshot-writer":
            self.reached.set()
            self.go_on.wait(timeout=30)
        super().sync(descriptor)


def test_a_snapshot_being_written_refuses_a_second_one_and_survives_a_look(tmp_path: Path) -> None:
    files = HeldFiles()
    store = MemoryStore(tmp_path, node_id=1, files=files)
    store.skip(1)
    done: queue.Queue[Exception | None] = queue.Queue()
    store.save_snapshot(SnapshotMeta(1, 1), done.put)
    assert files.reached.wait(timeout=30)
    with pytest.raises(ValueError, match="already being written"):
        store.save_snapshot(SnapshotMeta(1, 1), done.put)
    with pytest.raises(FileNotFoundError):
        store.snapshot_path(SnapshotMeta(1, 1))
    files.go_on.set()
    assert done.get(timeout=30) is None
    assert store.snapshot_path(SnapshotMeta(1, 1)).exists()
    store.close()


def test_closing_stops_a_snapshot_that_is_being_written(tmp_path: Path) -> None:
    def endless() -> Any:
        place = 0
        while True:
            yield (b"k%09d" % place, b"", 1, 1, 1, 0)
            place += 1

    files = Files()
    chunks = iter([False, False, False, True])
    with pytest.raises(WritingStopped):
        write_snapshot(tmp_path, files, header(NEW, 1), endless(), lambda: next(chunks))
    assert not list(tmp_path.iterdir())


def test_the_next_snapshot_may_be_asked_for_as_soon_as_one_is_done(disk: Any) -> None:
    store = MemoryStore(DIRECTORY, node_id=1, files=disk)
    store.skip(1)
    answers: queue.Queue[Exception | None] = queue.Queue()

    def again(problem: Exception | None) -> None:
        answers.put(problem)
        store.save_snapshot(SnapshotMeta(1, 1), answers.put)

    store.save_snapshot(SnapshotMeta(1, 1), again)
    assert [answers.get(timeout=30) for _ in range(2)] == [None, None]


def test_an_older_snapshot_that_ends_late_does_not_become_the_latest(tmp_path: Path) -> None:
    (tmp_path / "received").mkdir()
    received = write(Files(), NEW, 6, tmp_path / "received")
    files = HeldFiles()
    store = MemoryStore(tmp_path, node_id=1, files=files)
    store.skip(1)
    done: queue.Queue[Exception | None] = queue.Queue()
    store.save_snapshot(SnapshotMeta(1, 1), done.put)
    assert files.reached.wait(timeout=30)
    store.install_snapshot(NEW, received)
    files.go_on.set()
    assert done.get(timeout=30) is None
    assert store.latest_snapshot() == NEW


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path: Path) -> None:
    (tmp_path / (snapshot_name(NEW) + ".unfinished")).write_bytes(b"half")
    MemoryStore(tmp_path, node_id=1)
    assert not list(tmp_path.iterdir())


def test_a_block_of_another_snapshot_is_refused_though_it_is_sound(tmp_path: Path) -> None:
    paths = []
    for name in (b"v", b"w"):
        directory = tmp_path / name.decode()
        directory.mkdir()
        head = header(NEW, 600)
        paths.append(write_snapshot(directory, Files(), head, records(600, name)))
    ours, theirs = (path.read_bytes() for path in paths)
    start, end = block_places(ours)[2:4]  # the second chunk
    paths[0].write_bytes(ours[:start] + theirs[start:end] + ours[end:])
    with pytest.raises(StorageDamaged, match="checksum"):
        read_snapshot(paths[0], Files())


def test_a_file_that_ends_too_early_says_so(tmp_path: Path) -> None:
    path = write(Files(), NEW, 3, tmp_path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(StorageDamaged, match="ends too early"):
        read_snapshot(path, Files())


def block_places(data: bytes) -> list[int]:
    places = [10]
    while places[-1] < len(data):
        places.append(places[-1] + 9 + int.from_bytes(data[places[-1] :][:4], "little"))
    return places
