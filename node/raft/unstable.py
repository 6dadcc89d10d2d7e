"""The end of the log that is not known to be durable: entries, and at most one incoming snapshot.

Stands on model.py and events.py, under log.py. It remembers what was handed out to be written (the
in-progress mark) and what was confirmed; it may not read the storage nor know what is committed.
"""

from collections.abc import Sequence

from metastore.node.raft.events import EventKind, Tracer
from metastore.node.raft.model import Entry, Snapshot, invariant


class Unstable:
    """Entries from index `offset` on. offset <= offset_in_progress <= offset + len(entries): those
    below the mark are being written."""

    __slots__ = (
        "_emit",
        "entries",
        "offset",
        "offset_in_progress",
        "snapshot",
        "snapshot_in_progress",
    )

    def __init__(self, offset: int, emit: Tracer) -> None:
        self.offset = offset
        self.offset_in_progress = offset
        self.entries: list[Entry] = []
        self.snapshot: Snapshot | None = None
        self.snapshot_in_progress = False
        self._emit = emit

    def maybe_first_index(self) -> int | None:
        """The log's first index, if the pending snapshot decides it."""
        return None if self.snapshot is None else self.snapshot.index + 1

    def maybe_last_index(self) -> int | None:
        """The log's last index, if anything here decides it."""
        if self.entries:
            return self.offset + len(self.entries) - 1
        return None if self.snapshot is None else self.snapshot.index

    def maybe_term(self, index: int) -> int | None:
        """Term at `index` if it is here: an entry, or exactly the snapshot's index."""
        position = index - self.offset
        if position >= 0:
            return self.entries[position].term if position < len(self.entries) else None
        if self.snapshot is not None and self.snapshot.index == index:
            return self.snapshot.term
        return None

    @property
    def has_next_entries(self) -> bool:
        return self.offset_in_progress < self.offset + len(self.entries)

    def next_entries(self) -> tuple[Entry, ...]:
        """Entries not handed out yet."""
        return tuple(self.entries[self.offset_in_progress - self.offset :])

    def next_snapshot(self) -> Snapshot | None:
        """The snapshot, unless there is none or it was handed out."""
        return None if self.snapshot_in_progress else self.snapshot

    def accept_in_progress(self) -> None:
        """Everything here has been handed out to be written."""
        self.offset_in_progress = self.offset + len(self.entries)
        self.snapshot_in_progress = self.snapshot is not None

    def stable_to(self, index: int, term: int) -> None:
        """Entries up to `index` are durable, provided the one written had this very term: a write
        confirmed late may be of an entry that was replaced meanwhile."""
        own_term = self.maybe_term(index)
        if own_term is None:
            self._emit(EventKind.STABLE_ENTRY_MISSING, {"index": index})
            return
        if index < self.offset:
            return  # the pending snapshot's position; only stable_snapshot_to confirms that
        if own_term != term:
            fields = {"index": index, "term": term, "own_term": own_term}
            self._emit(EventKind.STABLE_ENTRY_MISMATCHED, fields)
            return
        del self.entries[: index + 1 - self.offset]
        self.offset = index + 1
        # The write may confirm more than was handed out last when a cut lowered the mark.
        self.offset_in_progress = max(self.offset_in_progress, self.offset)

    def stable_snapshot_to(self, index: int) -> None:
        """The snapshot at `index` is durable and in the state machine; another one is not."""
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self.snapshot_in_progress = False

    def restore(self, snapshot: Snapshot) -> None:
        """Replaces everything by the snapshot."""
        self.offset = snapshot.index + 1
        self.offset_in_progress = self.offset
        self.entries = []
        self.snapshot = snapshot
        self.snapshot_in_progress = False

    def truncate_and_append(self, entries: Sequence[Entry]) -> None:
        """Appends, first dropping what the new entries replace. Lowering the in-progress mark makes
        replaced positions be written again."""
        first = entries[0].index
        end = self.offset + len(self.entries)
        if first == end:
            self.entries.extend(entries)
            return
        invariant(first < end, "an append would leave a gap in the unstable log")
        if first <= self.offset:
            self._emit(EventKind.UNSTABLE_REPLACED, {"index": first})
            self.entries = list(entries)
            self.offset = first
            self.offset_in_progress = first
            return
        self._emit(EventKind.UNSTABLE_TRUNCATED, {"index": first})
        del self.entries[first - self.offset :]
        self.entries.extend(entries)
        self.offset_in_progress = min(self.offset_in_progress, first)

    def slice(self, low: int, high: int) -> Sequence[Entry]:
        """Entries [low, high), all of which must be here."""
        invariant(
            self.offset <= low <= high <= self.offset + len(self.entries),
            "entries outside the unstable log were asked for",
        )
        return self.entries[low - self.offset : high - self.offset]
