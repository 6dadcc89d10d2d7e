"""The disk thread: nothing is reported durable before its sync, failures reach the loop."""

import threading
from collections.abc import Sequence
from queue import Queue
from typing import Any

import pytest

from metastore.engines.contract import LogEntry, RecoveredLog, SnapshotMeta, StorageFailed
from metastore.node.disk import Append, Compact, DiskFailed, DiskThread, Durable
from metastore.node.raft.messages import StorageAppend
from metastore.node.raft.model import Entry, HardState


class RecordingLog:
    """Records the calls in order; a sync can be held back or made to fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.in_sync = threading.Event()
        self.failure: Exception | None = None

    def recover(self) -> RecoveredLog:
        return RecoveredLog()

    def append(
        self,
        entries: Sequence[LogEntry],
        hard_state: tuple[int, int, int] | None,
        snapshot: SnapshotMeta | None,
    ) -> None:
        self.calls.append(f"append {[e.index for e in entries]} {hard_state}")

    def sync(self) -> None:
        self.in_sync.set()
        self.may_sync.wait(10)
        if self.failure is not None:
            raise self.failure
        self.calls.append("sync")

    def compact(self, snapshot: SnapshotMeta) -> None:
        self.calls.append(f"compact {snapshot.index}")

    def size_bytes(self) -> int:
        return 0

    def close(self) -> None:
        self.calls.append("close")


def entry(index: int, hard_state: HardState | None = None) -> Append:
    return Append(StorageAppend(entries=(Entry(1, index),), hard_state=hard_state))


def started(log: RecordingLog, **options: Any) -> tuple[DiskThread, "Queue[Durable | DiskFailed]"]:
    reports: Queue[Durable | DiskFailed] = Queue()
    disk = DiskThread(log, reports.put, **options)
    disk.start()
    return disk, reports


def test_an_append_is_reported_only_after_its_sync() -> None:
    log = RecordingLog()
    log.may_sync.clear()
    disk, reports = started(log)
    disk.submit(entry(1))
    assert log.in_sync.wait(10)
    assert reports.empty()
    assert disk.outstanding == 1
    log.may_sync.set()
    report = reports.get(timeout=10)
    assert isinstance(report, Durable)
    assert log.calls == ["append [1] None", "sync"]
    assert disk.close(10)
    assert disk.outstanding == 0


def test_what_queues_up_behind_a_sync_shares_the_next_one() -> None:
    log = RecordingLog()
    log.may_sync.clear()
    disk, reports = started(log)
    disk.submit(entry(1))
    assert log.in_sync.wait(10)
    for index in (2, 3, 4):
        disk.submit(entry(index))
    log.may_sync.set()
    first, second = reports.get(timeout=10), reports.get(timeout=10)
    assert isinstance(first, Durable)
    assert isinstance(second, Durable)
    assert [m.entries[0].index for m in second.messages] == [2, 3, 4]
    assert log.calls.count("sync") == 2
    assert disk.close(10)


def test_a_commit_index_alone_needs_no_sync_but_a_term_or_vote_does() -> None:
    log = RecordingLog()
    disk, reports = started(log)
    for state in (HardState(1, 0, 0), HardState(1, 0, 5), HardState(1, 2, 5), HardState(2, 0, 5)):
        disk.submit(Append(StorageAppend(hard_state=state)))
        reports.get(timeout=10)
    assert log.calls.count("sync") == 3
    assert log.calls[2:4] == ["append [] (1, 0, 5)", "append [] (1, 2, 5)"]
    assert disk.close(10)


@pytest.mark.parametrize("error", [StorageFailed("no"), OSError(28, "full")])
def test_a_failed_sync_reports_the_failure_and_never_the_append(error: Exception) -> None:
    log = RecordingLog()
    log.failure = error
    disk, reports = started(log)
    disk.submit(entry(1))
    report = reports.get(timeout=10)
    assert isinstance(report, DiskFailed)
    assert report.error is error
    assert disk.close(10)
    assert reports.empty()


def test_closing_finishes_what_was_submitted() -> None:
    log = RecordingLog()
    disk, reports = started(log)
    disk.submit(entry(1))
    disk.submit(Compact(SnapshotMeta(1, 1)))
    assert disk.close(10)
    assert isinstance(reports.get(timeout=10), Durable)
    assert log.calls[-1] == "compact 1"


def test_sync_never_reports_without_a_sync() -> None:
    log = RecordingLog()
    disk, reports = started(log, sync="never")
    disk.submit(entry(1))
    assert isinstance(reports.get(timeout=10), Durable)
    assert disk.close(10)
    assert "sync" not in log.calls


def test_sync_interval_syncs_an_idle_log_once_the_interval_is_over() -> None:
    log = RecordingLog()
    disk, reports = started(log, sync="interval", sync_interval_s=0.01)
    disk.submit(entry(1))
    assert isinstance(reports.get(timeout=10), Durable)
    assert log.in_sync.wait(10)
    assert disk.close(10)


def test_the_loop_can_submit_while_an_idle_log_is_synced() -> None:
    """A sync may take seconds; whoever waits for it in `submit` sends no heartbeat."""
    log = RecordingLog()
    log.may_sync.clear()
    disk, _ = started(log, sync="interval", sync_interval_s=0.2)
    disk.submit(entry(1))
    assert log.in_sync.wait(10)
    submitting = threading.Thread(target=disk.submit, args=(entry(2),), daemon=True)
    submitting.start()
    submitting.join(5)
    assert not submitting.is_alive()
    log.may_sync.set()
    assert disk.close(10)


def test_a_commit_index_beyond_a_log_that_lost_its_end_is_not_forgotten() -> None:  # A4
    log = RecordingLog()
    disk, reports = started(log)
    disk.submit(Append(StorageAppend(hard_state=HardState(3, 0, 2)), committed_once=9))
    disk.submit(Append(StorageAppend(hard_state=HardState(4, 0, 12)), committed_once=9))
    disk.close(10)
    written = [call for call in log.calls if call.startswith("append")]
    assert written == ["append [] (3, 0, 9)", "append [] (4, 0, 12)"]
    assert reports.get(timeout=10)
