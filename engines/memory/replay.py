"""From the records of all segments to the log they mean, checking again what was checked on
writing.

Reading order 4 of the engines. Holds no file; damage is raised as a sentence and the caller adds
where.
"""

from collections.abc import Sequence

from metastore.engines.contract import LogRecord, RecoveredLog, SnapshotMeta
from metastore.engines.memory.segments import (
    Kind,
    Record,
    SegmentStart,
    decode_entry,
    decode_hard_state,
    decode_segment_start,
    decode_snapshot,
)


class Impossible(Exception):
    """Sound records that no run of ours writes; the sentence says which rule they break."""


class Replay:
    """The state of a log as its records build it up. `first_index` is that of `entries[0]`, or of
    the entry that would be there; entries before it stood in segments that have been removed."""

    def __init__(self) -> None:
        self.hard_state = (0, 0, 0)
        self.snapshot = SnapshotMeta()
        self.entries: list[LogRecord] = []
        self.first_index = 1
        self.sequence = 0  # of the segment being read; 0 before the first
        self.highest_index = 0  # of any entry in the segment being read, kept or overwritten
        self._base_term = 0  # term of the entry before first_index; 0 if not known

    @property
    def last_index(self) -> int:
        return self.first_index + len(self.entries) - 1

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else self._base_term

    def take(self, record: Record) -> None:
        """Raises Impossible, or struct.error and ValueError for a payload of another shape."""
        if record.kind == Kind.ENTRY:
            self._take_entry(LogRecord(*decode_entry(record.payload)))
        elif record.kind == Kind.HARD_STATE:
            self.hard_state = decode_hard_state(record.payload)
        elif record.kind == Kind.SNAPSHOT:
            snapshot, keeps_suffix = decode_snapshot(record.payload)
            self._take_snapshot(snapshot, keeps_suffix)
        else:
            self._take_segment(decode_segment_start(record.payload), record.start)

    def _take_entry(self, entry: LogRecord) -> None:
        if entry.index > self.last_index + 1:
            raise Impossible(f"entry {entry.index} follows entry {self.last_index}")
        if entry.index <= self.snapshot.index:
            raise Impossible(f"entry {entry.index} lies under the snapshot {self.snapshot.index}")
        if entry.index <= self.last_index:
            self._truncate_from(entry.index)
        if entry.term < self.last_term:
            raise Impossible(f"entry {entry.index} has term {entry.term} after {self.last_term}")
        self.entries.append(entry)
        self.highest_index = max(self.highest_index, entry.index)

    def _truncate_from(self, index: int) -> None:
        """An overwritten entry takes everything after it along; one that stayed would be a ghost
        that wins elections with a log nobody has (etcd#22442)."""
        if index >= self.first_index:
            del self.entries[index - self.first_index :]
            return
        self.entries.clear()
        self.first_index = index
        self._base_term = 0

    def _take_snapshot(self, snapshot: SnapshotMeta, keeps_suffix: bool) -> None:
        self.snapshot = snapshot
        if not keeps_suffix or snapshot.index >= self.last_index:
            self.entries.clear()
            self.first_index, self._base_term = snapshot.index + 1, snapshot.term
        elif snapshot.index >= self.first_index:
            del self.entries[: snapshot.index + 1 - self.first_index]
            self.first_index, self._base_term = snapshot.index + 1, snapshot.term

    def _take_segment(self, start: SegmentStart, place: int) -> None:
        if place != 0:
            raise Impossible("a segment begins inside a segment")
        if self.sequence == 0:
            self.hard_state, self.snapshot = start.hard_state, start.snapshot
            self.first_index, self._base_term = start.last_index + 1, start.last_term
        else:
            ours = SegmentStart(
                start.sequence, self.hard_state, self.snapshot, self.last_index, self.last_term
            )
            if start != ours:
                raise Impossible("a segment does not begin where the one before it ends")
        self.sequence = start.sequence
        self.highest_index = 0

    def finish(self, warnings: Sequence[str]) -> RecoveredLog:
        """The log as it was durable. Raises Impossible if entries between snapshot and log are
        gone."""
        if self.first_index > self.snapshot.index + 1:
            missing = f"{self.snapshot.index + 1} to {self.first_index - 1}"
            raise Impossible(f"entries {missing} are in no segment and in no snapshot")
        term, voted_for, commit = self.hard_state
        said = list(warnings)
        if commit > self.last_index:
            said.append(f"commit index {commit} is past the log, taken back to {self.last_index}")
        # What a snapshot holds is committed, whatever the last hard state knew.
        clamped = max(min(commit, self.last_index), self.snapshot.index)
        hard_state = (term, voted_for, clamped)
        return RecoveredLog(hard_state, self.snapshot, tuple(self.entries), tuple(said), commit)
