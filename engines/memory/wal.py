"""The memory engine's durable Raft log: segments of checksummed records, written once and in order.

Reading order 6 of the engines; bytes in segments.py, their meaning in replay.py, start in
recovery.py. Never rewrites a byte, never retries a failed write or sync, never removes what
recovery still needs.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from metastore.engines.contract import LogEntry, RecoveredLog, SnapshotMeta, StorageFailed
from metastore.engines.files import Files
from metastore.engines.log_order import TermRuns, check_order
from metastore.engines.memory.recovery import Segment, create_segment, read_segments
from metastore.engines.memory.segments import (
    RECORD_BYTES_MAX,
    Kind,
    SegmentStart,
    encode_entry,
    encode_hard_state,
    encode_record,
    encode_snapshot,
)

SEGMENT_BYTES_MAX = 64 << 20


class WriteAheadLog:
    """Implements contract.RaftLog in a directory of its own. One owner thread after `recover`.

    `sync` is what makes a descriptor durable (the default is the real one; a setting may replace it
    by nothing); creating, rolling and removing segments always syncs, through `files`."""

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        sync: Callable[[int], None] | None = None,
        files: Files | None = None,
    ) -> None:
        self._directory = Path(directory)
        self._segment_bytes_max = segment_bytes_max
        self._files = files if files is not None else Files()
        self._sync = sync if sync is not None else (os.fdatasync if files is None else files.sync)
        self._segments: list[Segment] = []
        self._descriptor = -1
        self._synced = 0  # durable bytes of the newest segment
        self._hard_state = (0, 0, 0)
        self._snapshot = SnapshotMeta()
        self._terms = TermRuns(0, 0)
        self._failure: str | None = "the log is not recovered yet"

    def recover(self) -> RecoveredLog:
        """Reads, repairs a torn tail, and makes what it returns durable. Raises StorageDamaged, or
        StorageFailed if the repair cannot be written."""
        try:
            found = read_segments(self._directory, self._files)
            recovered, segments = found.log, found.segments
            self._segments = segments
            self._hard_state = found.hard_state
            self._snapshot = recovered.snapshot
            self._terms = TermRuns(recovered.snapshot.index, recovered.snapshot.term)
            for entry in recovered.entries:
                self._terms.append(entry.index, entry.term)
            self._descriptor = self._files.open_append(segments[-1].path)
        except OSError as error:
            raise StorageFailed(f"recovering the log in {self._directory}: {error}") from error
        self._synced = segments[-1].size_bytes
        self._failure = None
        return recovered

    def append(
        self,
        entries: Sequence[LogEntry],
        hard_state: tuple[int, int, int] | None,
        snapshot: SnapshotMeta | None,
    ) -> None:
        """One write. The hard state goes first, so that no entry is durable before its term
        (a crash keeps a prefix), then the snapshot, then the entries that follow it."""
        self._refuse_if_failed()
        data_bytes_max = RECORD_BYTES_MAX - 64
        check_order(entries, snapshot, self._snapshot.index, self._terms, data_bytes_max)
        try:
            if self._segments[-1].size_bytes >= self._segment_bytes_max:
                self._roll()
            batch = _Batch(self._segments[-1], self._synced)
            if hard_state is not None:
                batch.add(Kind.HARD_STATE, encode_hard_state(hard_state))
                self._hard_state = hard_state
            if snapshot is not None:
                self._add_snapshot(batch, snapshot)
            for entry in entries:
                payload = encode_entry(entry.term, entry.index, entry.type, entry.data)
                batch.add(Kind.ENTRY, payload)
                self._terms.append(entry.index, entry.term)
                batch.segment.highest_index = max(batch.segment.highest_index, entry.index)
            self._write(batch)
        except Exception as error:
            raise self._failed("appending", error) from error

    def sync(self) -> None:
        self._refuse_if_failed()
        size_bytes = self._segments[-1].size_bytes
        try:
            self._sync(self._descriptor)
        except Exception as error:
            raise self._failed("syncing", error) from error
        self._synced = size_bytes

    def compact(self, snapshot: SnapshotMeta) -> None:
        """Durable on return. A snapshot at or under the one we have changes nothing."""
        self._refuse_if_failed()
        if snapshot.index <= self._snapshot.index:
            return
        try:
            batch = _Batch(self._segments[-1], self._synced)
            self._add_snapshot(batch, snapshot)
            self._write(batch)
            newest = self._segments[-1]
            if 0 < newest.highest_index <= snapshot.index:
                self._roll()
            else:
                # The marker must be on disk before the entries it stands for may go.
                self._files.sync(self._descriptor)
                self._synced = newest.size_bytes
            self._remove_covered()
        except Exception as error:
            raise self._failed("compacting", error) from error

    def size_bytes(self) -> int:
        return sum(segment.size_bytes for segment in self._segments)

    def close(self) -> None:
        """Makes nothing durable that was not."""
        if self._descriptor >= 0:
            self._files.close(self._descriptor)
            self._descriptor = -1
        if self._failure is None:
            self._failure = "the log is closed"

    def _add_snapshot(self, batch: "_Batch", snapshot: SnapshotMeta) -> None:
        if snapshot.index <= self._snapshot.index:
            return
        keeps_suffix = self._terms.term_or_none(snapshot.index) == snapshot.term
        batch.add(Kind.SNAPSHOT, encode_snapshot(snapshot, keeps_suffix=keeps_suffix))
        if keeps_suffix:
            self._terms.start_at(snapshot.index, snapshot.term)
        else:
            self._terms = TermRuns(snapshot.index, snapshot.term)
        self._snapshot = snapshot

    def _write(self, batch: "_Batch") -> None:
        if batch.records:
            self._files.write(self._descriptor, b"".join(batch.records))
            batch.segment.size_bytes = batch.end

    def _roll(self) -> None:
        """Begins a new segment. The old one is durable first: only the newest may have a torn
        tail."""
        self._files.sync(self._descriptor)
        last_index = self._terms.last_index
        start = SegmentStart(
            self._segments[-1].sequence + 1,
            self._hard_state,
            self._snapshot,
            last_index,
            self._terms.term_or_none(last_index) or 0,
        )
        segment = create_segment(self._directory, self._files, start)
        old, self._descriptor = self._descriptor, self._files.open_append(segment.path)
        self._files.close(old)
        self._segments.append(segment)
        self._synced = segment.size_bytes

    def _remove_covered(self) -> None:
        """Oldest first and each durably, so that power loss never leaves a gap between segments."""
        while len(self._segments) > 1 and self._segments[0].highest_index <= self._snapshot.index:
            self._files.remove(self._segments[0].path)
            self._files.sync_directory(self._directory)
            del self._segments[0]

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise StorageFailed(self._failure)

    def _failed(self, doing: str, error: Exception) -> StorageFailed:
        """The first failure is the last thing this log does: what is on disk is no longer known."""
        self._failure = f"{doing} {self._segments[-1].path}: {error}"
        return StorageFailed(self._failure)


class _Batch:
    """Records for one write to the end of a segment."""

    def __init__(self, segment: Segment, synced: int) -> None:
        self.segment = segment
        self.records: list[bytes] = []
        self.end = segment.size_bytes
        self._synced = synced

    def add(self, kind: int, payload: bytes) -> None:
        record = encode_record(
            kind, payload, sequence=self.segment.sequence, start=self.end, synced=self._synced
        )
        self.records.append(record)
        self.end += len(record)
