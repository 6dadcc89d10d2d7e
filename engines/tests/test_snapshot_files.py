"""The memory engine's snapshot files: old or new at every step, whoever is at work (A14, D5)."""

import errno
import queue
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engines_under_test import apply_data, run_each
from memory_snapshots import DIRECTORY, NEW, OLD, RECEIVED, REVISION, Answers, opened, write

from metastore.engines.contract import SnapshotMeta, StorageDamaged, StorageFailed
from metastore.engines.files import Files
from metastore.engines.memory.snapshot_files import SNAPSHOTS_KEPT, snapshot_name
from metastore.engines.memory.store import MemoryStore
from metastore.engines.snapshot_format import WritingStopped
from metastore.transport.schema import Op, put

# Power cuts


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_power_loss_at_any_step_of_writing_leaves_the_old_or_the_new_snapshot(
    disk: Any, power_cuts: Callable[..., bool], seed: int | None
) -> None:
    seen = set()
    for cut_at in range(100):
        chance = None if seed is None else random.Random(f"{seed}/{cut_at}")
        disk.__init__()
        write(disk, OLD, 300)
        disk.cut_at = disk.steps + cut_at
        cut = power_cuts(disk, lambda: write(disk, NEW, 600))
        disk.power_loss(chance)
        store = opened(disk)
        state = store.latest_snapshot(), store.applied, store.key_count
        assert state in [(OLD, OLD, 300), (NEW, NEW, 600)]
        assert cut or state[0] == NEW, "a finished snapshot was lost"
        assert not [path for path in disk.names_now if "unfinished" in path.name]
        seen.add(state[0])
        if not cut:
            break
    assert seen == {OLD, NEW}


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_power_loss_at_any_step_of_installing_leaves_the_old_or_the_new_state(
    disk: Any, power_cuts: Callable[..., bool], seed: int | None
) -> None:  # D5
    for cut_at in range(100):
        chance = None if seed is None else random.Random(f"{seed}/{cut_at}")
        disk.__init__()
        write(disk, SnapshotMeta(3, 1), 2)
        write(disk, OLD, 3)
        write(disk, NEW, 6, RECEIVED)
        disk.names_now[RECEIVED].durable = b""  # whoever received it synced nothing
        store = opened(disk)
        disk.cut_at = disk.steps + cut_at

        def install(store: MemoryStore = store) -> None:
            store.prepare_snapshot(NEW, RECEIVED)
            store.install_snapshot(NEW, RECEIVED)

        cut = power_cuts(disk, install)
        disk.power_loss(chance)
        again = opened(disk)
        state = again.latest_snapshot(), again.applied, again.key_count
        assert state in [(OLD, OLD, 3), (NEW, NEW, 6)]
        assert cut or state[0] == NEW, "a finished install was lost"
        if not cut:
            break
    assert cut_at == 4, "synced, renamed, directory synced, the oldest removed"


def test_a_damaged_newest_snapshot_is_not_replaced_by_an_older_one(disk: Any) -> None:  # A14
    write(disk, OLD, 1)
    path = write(disk, NEW, 1)
    del disk.names_now[path].now[-1]
    with pytest.raises(StorageDamaged, match=path.name):
        opened(disk)


def test_a_store_refuses_a_snapshot_under_another_name(disk: Any) -> None:
    write(disk, OLD, 1, DIRECTORY / snapshot_name(NEW))
    with pytest.raises(StorageDamaged, match="holds"):
        opened(disk)


@pytest.mark.parametrize(
    "changes",
    [
        {"facts": [(b"what is this", b"")]},
        {"facts": ()},
        {"order": [(3, [b"k00000", b"unknown"])]},
    ],
)
def test_sound_bytes_that_make_no_state_are_refused(disk: Any, changes: Any) -> None:
    path = write(disk, NEW, 2, **changes)
    with pytest.raises(StorageDamaged):
        opened(disk)
    store = opened(disk, Path("/other"))
    with pytest.raises(StorageDamaged):
        store.prepare_snapshot(NEW, path)


# Failures


@pytest.mark.parametrize("operation", ["create", "write", "sync", "rename"])
def test_a_failed_write_is_reported_and_leaves_nothing_but_the_old_snapshot(
    disk: Any, operation: str
) -> None:
    store = opened(disk)
    store.skip(1, 1, b"")
    disk.fail(operation, errno.ENOSPC)
    done: Answers = queue.Queue()
    store.save_snapshot(done.put)
    assert isinstance(done.get(timeout=30), OSError)
    assert store.latest_snapshot() is None
    assert not disk.names_now
    store.close()
    store.save_snapshot(done.put)
    assert isinstance(done.get(timeout=30), WritingStopped), "a closed store writes no more"


@pytest.mark.parametrize("operation", ["rename", "sync_directory"])
def test_a_failed_install_leaves_the_state_and_says_where(disk: Any, operation: str) -> None:
    write(disk, NEW, 6, RECEIVED)
    store = opened(disk)
    store.prepare_snapshot(NEW, RECEIVED)
    disk.fail(operation, errno.ENOSPC)
    with pytest.raises(StorageFailed, match="ENOSPC"):
        store.install_snapshot(NEW, RECEIVED)
    assert (store.last_applied, store.key_count) == (0, 0)
    assert store.latest_snapshot() is None


def test_a_failed_sync_of_what_was_received_is_no_damage(disk: Any) -> None:
    write(disk, NEW, 6, RECEIVED)
    store = opened(disk)
    disk.fail("sync", errno.EIO)
    with pytest.raises(StorageFailed, match="EIO"):
        store.prepare_snapshot(NEW, RECEIVED)


def test_an_install_reads_the_prepared_file_no_second_time(
    disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(disk, NEW, 6, RECEIVED)
    store = opened(disk)
    store.prepare_snapshot(NEW, RECEIVED)
    monkeypatch.setattr(disk, "open_read", None)
    store.install_snapshot(NEW, RECEIVED)
    assert (store.applied, store.key_count, store.revision) == (NEW, 6, REVISION)


def test_what_was_not_prepared_is_verified_by_the_install(disk: Any) -> None:
    write(disk, NEW, 6, RECEIVED)
    store = opened(disk)
    with pytest.raises(StorageDamaged, match="not SnapshotMeta"):
        store.install_snapshot(SnapshotMeta(9, 3), RECEIVED)
    store.install_snapshot(NEW, RECEIVED)
    assert store.applied == NEW


def test_the_newest_snapshots_are_kept_and_no_more(disk: Any) -> None:
    store = opened(disk)
    done: Answers = queue.Queue()
    for _ in range(5):
        apply_data(store, b"", term=1)
        store.save_snapshot(done.put)
        assert done.get(timeout=30) is None
    kept = sorted(disk.names_now)
    assert [path.name for path in kept] == [
        snapshot_name(SnapshotMeta(index, 1)) for index in range(6 - SNAPSHOTS_KEPT, 6)
    ]
    assert store.export_snapshot(SnapshotMeta(5, 1)) == kept[-1]


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path: Path) -> None:
    (tmp_path / (snapshot_name(NEW) + ".unfinished")).write_bytes(b"half")
    opened(Files(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_restored_store_counts_only_what_it_holds(disk: Any) -> None:
    store = opened(disk)
    run_each(store, put(b"k", b"1" * 100), put(b"k", b"2"), (Op.COMPACT, 3, False))
    done: Answers = queue.Queue()
    store.save_snapshot(done.put)
    assert done.get(timeout=30) is None
    again = opened(disk)
    while store.compact_step(10):
        pass
    assert again.size_bytes == store.size_bytes
