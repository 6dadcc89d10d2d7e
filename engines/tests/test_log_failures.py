"""A log whose disk fails, fills or loses power (A9, A10, A11)."""

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metastore.engines.contract import (
    LogRecord,
    RecoveredLog,
    SnapshotMeta,
    StorageFailed,
)
from metastore.engines.memory.wal import WriteAheadLog

DIRECTORY = Path("/log")


def open_log(disk: Any, segment_bytes_max: int = 200) -> tuple[WriteAheadLog, RecoveredLog]:
    log = WriteAheadLog(DIRECTORY, files=disk, segment_bytes_max=segment_bytes_max)
    return log, log.recover()


def entry(index: int, term: int = 1, data: bytes = b"data") -> LogRecord:
    return LogRecord(term, index, 0, data)


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_failed_write_or_sync_poisons_the_log_for_good(disk: Any, operation: str) -> None:
    log, _ = open_log(disk)
    log.append([entry(1)], (1, 2, 0), None)
    log.sync()
    disk.fail(operation, errno.EIO)

    def append_and_sync() -> None:
        log.append([entry(2)], None, None)
        log.sync()

    with pytest.raises(StorageFailed, match="EIO"):
        append_and_sync()
    calls: list[Callable[[], None]] = [
        lambda: log.append([entry(2)], None, None),
        log.sync,
        lambda: log.compact(SnapshotMeta(1, 1)),
    ]
    for call in calls:
        with pytest.raises(StorageFailed, match=r"\.segment"):
            call()
    _, recovered = open_log(disk)
    assert list(recovered.entries) == [entry(1)]


def test_a_failed_sync_given_by_the_caller_poisons_too(tmp_path: Path) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "lost")

    log = WriteAheadLog(tmp_path, sync=failing)
    log.recover()
    log.append([entry(1)], None, None)
    with pytest.raises(StorageFailed, match="lost"):
        log.sync()
    with pytest.raises(StorageFailed, match="lost"):
        log.append([entry(1)], None, None)


@pytest.mark.parametrize("operation", ["create", "rename", "sync_directory"])
def test_a_failure_while_a_segment_begins_poisons_and_the_next_start_recovers(
    disk: Any, operation: str
) -> None:
    log, _ = open_log(disk, segment_bytes_max=1)
    log.append([entry(1)], None, None)
    log.sync()
    disk.fail(operation, errno.EIO)
    with pytest.raises(StorageFailed):
        log.append([entry(2)], None, None)
    with pytest.raises(StorageFailed):
        log.sync()
    log, recovered = open_log(disk)
    assert list(recovered.entries) == [entry(1)]
    assert not [path for path in disk.names_now if "unfinished" in path.name]
    log.append([entry(2)], None, None)


def test_a_full_disk_stops_the_log_and_space_is_all_it_needs_to_start_again(disk: Any) -> None:
    for free_bytes in range(120):
        disk.names_now.clear()
        log, _ = open_log(disk)
        log.append([entry(1)], (1, 1, 0), None)
        log.sync()
        disk.free_bytes = free_bytes
        with pytest.raises(StorageFailed, match="No space left"):
            log.append([entry(2, data=b"x" * 100)], None, None)
        disk.free_bytes = None
        log, recovered = open_log(disk)
        assert list(recovered.entries) == [entry(1)]
        log.append([entry(2)], None, None)
        log.sync()


def test_the_log_refuses_calls_before_recovery_and_after_close(disk: Any) -> None:
    log = WriteAheadLog(DIRECTORY, files=disk)
    with pytest.raises(StorageFailed, match="not recovered"):
        log.append([entry(1)], None, None)
    log.recover()
    log.close()
    with pytest.raises(StorageFailed, match="closed"):
        log.append([entry(1)], None, None)


def long_life(log: WriteAheadLog, promised: dict[str, Any]) -> None:
    """Appends, overwrites, rolls, compacts; `promised` is what the last sync made durable."""
    term = 1
    for index in range(1, 12):
        term += index in (4, 8)
        at = index - 1 if index in (4, 8) else index  # a new term overwrites the last entry
        for position in range(at, index + 1):
            log.append([entry(position, term)], (term, index, position - 1), None)
            log.sync()
            promised.update(last=(position, term), hard=(term, index, position - 1))
        if index in (3, 7, 10):
            log.compact(SnapshotMeta(index - 1, term, b"configuration"))
            promised["snapshot"] = index - 1


def check_promises(recovered: RecoveredLog, promised: dict[str, Any]) -> None:
    assert recovered.snapshot.index >= promised.get("snapshot", 0)
    if "last" in promised:
        index, term = promised["last"]
        last = recovered.entries[-1] if recovered.entries else recovered.snapshot
        assert (last.term, last.index) >= (term, index)
        assert recovered.hard_state[0] >= promised["hard"][0]


def test_nothing_synced_is_lost_whenever_the_power_goes(
    disk: Any, power_cuts: Callable[..., bool]
) -> None:
    for cut_at in range(1000):
        disk.__init__()
        disk.cut_at = cut_at
        promised: dict[str, Any] = {}
        if not power_cuts(disk, lambda p=promised: long_life(open_log(disk)[0], p)):
            break
        disk.power_loss()
        check_promises(open_log(disk)[1], promised)
    assert cut_at > 100, "the life ends before it began to roll and compact"


def test_nothing_synced_is_lost_when_unsynced_pages_arrive_in_any_mixture(
    disk: Any, power_cuts: Callable[..., bool]
) -> None:
    for cut_at in range(1000):
        disk.__init__()
        disk.cut_at = cut_at
        promised: dict[str, Any] = {}
        if not power_cuts(disk, lambda p=promised: long_life(open_log(disk)[0], p)):
            break
        disk.power_loss(random.Random(cut_at))
        check_promises(open_log(disk)[1], promised)


def test_a_repair_cut_short_by_another_power_loss_is_repeated(
    disk: Any, power_cuts: Callable[..., bool]
) -> None:
    for cut_at in range(10):
        disk.__init__()
        log, _ = open_log(disk)
        log.append([entry(1)], (1, 1, 0), None)
        log.sync()
        log.append([entry(2)], None, None)
        segment = next(iter(disk.names_now.values()))
        del segment.now[-3:]
        segment.durable = bytes(segment.now)
        disk.open_files.clear()
        disk.cut_at = disk.steps + cut_at
        cut = power_cuts(disk, lambda: open_log(disk))
        disk.power_loss()
        assert list(open_log(disk)[1].entries) == [entry(1)]
        if not cut:
            break


def test_what_recovery_returns_is_durable_even_if_a_killed_process_never_synced_it(
    disk: Any,
) -> None:
    log, _ = open_log(disk)
    log.append([entry(1)], (1, 2, 0), None)
    _, recovered = open_log(disk)  # the process was killed, the page cache lives on
    assert list(recovered.entries) == [entry(1)]
    disk.power_loss()
    assert open_log(disk)[1] == recovered


def test_a_new_segment_never_names_entries_that_the_old_one_may_lose(disk: Any) -> None:
    log, _ = open_log(disk, segment_bytes_max=1)
    log.append([entry(1)], None, None)
    log.append([entry(2)], None, None)  # begins a segment; nobody has asked for a sync
    disk.power_loss()
    assert list(open_log(disk)[1].entries) == [entry(1)]


def test_a_segment_of_a_killed_process_has_a_durable_name_before_it_is_used(
    disk: Any, power_cuts: Callable[..., bool]
) -> None:
    log, _ = open_log(disk, segment_bytes_max=1)
    log.append([entry(1)], None, None)
    log.sync()
    disk.cut_at = disk.steps + 5  # sync, create, write, sync, rename; not the directory's sync
    assert power_cuts(disk, lambda: log.append([entry(2)], None, None))
    disk.cut_at = None  # the process was killed, the machine lives on
    log, _ = open_log(disk)
    log.append([entry(2)], None, None)
    log.sync()
    disk.power_loss()
    assert list(open_log(disk)[1].entries) == [entry(1), entry(2)]
