"""The replicated log of one node: the stable part in storage, the unstable end, and how far it is
committed and applied (paper 5.3, 5.4).

Stands on unstable.py and storage.py; raft.py and its handlers stand on it. It knows nothing of
roles, peers or messages, and never copies more of the log than it is asked for.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from metastore.node.raft.events import EventKind, Tracer
from metastore.node.raft.model import NO_LIMIT, Entry, LogLost, Snapshot, invariant
from metastore.node.raft.storage import Compacted, LogReader, Unavailable, limit_size
from metastore.node.raft.unstable import Unstable


class RaftLog:
    """applied <= applying <= commit_index <= last_index, except while a snapshot is being restored,
    when the applied marks wait below it.

    `committed_bytes_max` bounds the committed entries handed out and not yet reported applied."""

    __slots__ = (
        "_applying_bytes",
        "_applying_paused",
        "_committed_bytes_max",
        "_emit",
        "_storage",
        "applying_index",
        "commit_index",
        "last_applied",
        "unstable",
    )

    def __init__(self, storage: LogReader, committed_bytes_max: int, emit: Tracer) -> None:
        self._storage = storage
        self._committed_bytes_max = committed_bytes_max
        self._emit = emit
        self.unstable = Unstable(storage.last_index() + 1, emit)
        # Whatever is compacted must have been applied, hence committed.
        self.commit_index = storage.first_index() - 1
        self.applying_index = self.commit_index
        self.last_applied = self.commit_index
        self._applying_bytes = 0
        self._applying_paused = False

    # what the log holds

    @property
    def first_index(self) -> int:
        index = self.unstable.maybe_first_index()
        return self._storage.first_index() if index is None else index

    @property
    def last_index(self) -> int:
        index = self.unstable.maybe_last_index()
        return self._storage.last_index() if index is None else index

    @property
    def last_term(self) -> int:
        return self.term(self.last_index)

    def term(self, index: int) -> int:
        """Term at `index`, from first_index - 1 on. Raises Compacted below, Unavailable above."""
        term = self.unstable.maybe_term(index)
        if term is not None:
            return term
        # Asked here, not in storage: a pending snapshot or truncation hides what storage still has.
        if index + 1 < self.first_index:
            raise Compacted(f"entry {index} is below the first, {self.first_index}")
        if index > self.last_index:
            raise Unavailable(f"entry {index} is beyond the last, {self.last_index}")
        return self._storage.term(index)

    def term_or_zero(self, index: int) -> int:
        """Term at `index`, 0 where the log has none."""
        try:
            return self.term(index)
        except (Compacted, Unavailable):
            return 0

    def match_term(self, index: int, term: int) -> bool:
        """Whether the log has exactly this entry."""
        try:
            return self.term(index) == term
        except (Compacted, Unavailable):
            return False

    def is_up_to_date(self, term: int, index: int) -> bool:
        """Whether a log ending in (term, index) is no older than this one (paper 5.4.1)."""
        return (term, index) >= (self.last_term, self.last_index)

    def slice(self, low: int, high: int, bytes_max: int = NO_LIMIT) -> tuple[Entry, ...]:
        """Entries [low, high), cut to `bytes_max` but never to nothing. Raises Compacted if `low`
        is gone; asking beyond the last entry is a broken invariant."""
        invariant(low <= high, "a slice of the log ends before it begins")
        if low < self.first_index:
            raise Compacted(f"entry {low} is below the first, {self.first_index}")
        invariant(high <= self.last_index + 1, "a slice of the log reaches beyond its last entry")
        if low == high:
            return ()
        offset = self.unstable.offset
        if low >= offset:
            return tuple(limit_size(self.unstable.slice(low, high), bytes_max))
        cut = min(high, offset)
        stable = tuple(self._storage.entries(low, cut, bytes_max))
        if high <= offset or len(stable) < cut - low:
            return stable
        if bytes_max >= NO_LIMIT:
            return stable + tuple(self.unstable.slice(offset, high))
        rest_max = bytes_max - sum(entry.size_bytes for entry in stable)
        rest = limit_size(self.unstable.slice(offset, high), rest_max)
        # limit_size never gives nothing, but here the stable part already is something.
        if rest[0].size_bytes > rest_max:
            return stable
        return stable + tuple(rest)

    def entries(self, low: int, bytes_max: int = NO_LIMIT) -> tuple[Entry, ...]:
        """Entries from `low` to the end, cut to `bytes_max`. Raises Compacted."""
        last = self.last_index
        return () if low > last else self.slice(low, last + 1, bytes_max)

    def scan(
        self, low: int, high: int, page_bytes: int, visit: Callable[[tuple[Entry, ...]], None]
    ) -> None:
        """Visits [low, high) in pages of at most `page_bytes` (or one entry). Raises Compacted, and
        whatever `visit` raises, which ends the scan."""
        while low < high:
            page = self.slice(low, high, page_bytes)
            invariant(bool(page), "a page of the log came back empty")
            visit(page)
            low += len(page)

    def snapshot(self) -> Snapshot:
        """The pending snapshot or the storage's. Raises Unavailable while that is being made."""
        return self.unstable.snapshot or self._storage.snapshot()

    # appending

    def find_conflict(self, entries: Sequence[Entry]) -> int:
        """Index of the first entry that the log does not have, 0 if it has all of them."""
        for entry in entries:
            if self.match_term(entry.index, entry.term):
                continue
            if entry.index <= self.last_index:
                self._emit(
                    EventKind.CONFLICT_FOUND,
                    {
                        "index": entry.index,
                        "existing_term": self.term_or_zero(entry.index),
                        "conflicting_term": entry.term,
                    },
                )
            return entry.index
        return 0

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The last (index, term) at or below `index` whose term is not above `term`: where this log
        and one that has `term` at `index` may still agree. Unknown positions answer with term 0."""
        before_first = self.first_index - 1
        if index < before_first or index > self.last_index:
            return index, 0
        # Terms never fall along a log, so the walk back can be a search.
        position = bisect_right(range(before_first, index + 1), term, key=self.term)
        found = before_first + position - 1
        return found, self.term_or_zero(found)

    def append(self, entries: Sequence[Entry]) -> int:
        """Appends, replacing what the entries overlap. Returns the new last index."""
        if not entries:
            return self.last_index
        invariant(entries[0].index > self.commit_index, "an append would replace committed entries")
        self.unstable.truncate_and_append(entries)
        return self.last_index

    def maybe_append(
        self, prev_index: int, prev_term: int, leader_commit: int, entries: Sequence[Entry]
    ) -> int | None:
        """A leader's append (paper 5.3): None if the log lacks (prev_index, prev_term), else the
        last index the message covers. Commits no further: what lies beyond may be a rival's."""
        if not self.match_term(prev_index, prev_term):
            return None
        last_new = prev_index + len(entries)
        conflict = self.find_conflict(entries)
        if conflict:
            # Only from the conflict on: a late duplicate must not cut off what came after it.
            invariant(
                conflict > self.commit_index, "a leader's entry conflicts with a committed one"
            )
            self.append(entries[conflict - prev_index - 1 :])
        self.commit_to(min(leader_commit, last_new))
        return last_new

    def restore(self, snapshot: Snapshot) -> None:
        """Replaces the whole log by the snapshot, which is committed by its nature."""
        self._emit(
            EventKind.RESTORE_STARTED,
            {
                "commit": self.commit_index,
                "applied": self.last_applied,
                "applying": self.applying_index,
                "offset": self.unstable.offset,
                "offset_in_progress": self.unstable.offset_in_progress,
                "count": len(self.unstable.entries),
                "index": snapshot.index,
                "term": snapshot.term,
            },
        )
        self.commit_index = snapshot.index
        self.unstable.restore(snapshot)

    # committing

    def commit_to(self, index: int) -> None:
        """Raises commit_index to `index`; never lowers it. Raises LogLost."""
        if index > self.last_index:
            raise LogLost
        self.commit_index = max(self.commit_index, index)

    def maybe_commit(self, index: int, term: int) -> bool:
        """Commits `index` if that is progress and its entry is of `term`: the leader's own, since
        counting replicas says nothing about entries of earlier terms (paper 5.4.2)."""
        if index <= self.commit_index or not term or not self.match_term(index, term):
            return False
        self.commit_to(index)
        return True

    # writing: what to make durable, and what is

    @property
    def has_next_unstable_entries(self) -> bool:
        return self.unstable.has_next_entries

    def next_unstable_entries(self) -> tuple[Entry, ...]:
        """Entries to write, not handed out before."""
        return self.unstable.next_entries()

    @property
    def has_next_unstable_snapshot(self) -> bool:
        return self.unstable.next_snapshot() is not None

    @property
    def has_pending_snapshot(self) -> bool:
        """A snapshot is to be written or being written; until it is, nothing may be applied."""
        return self.unstable.snapshot is not None

    def next_unstable_snapshot(self) -> Snapshot | None:
        return self.unstable.next_snapshot()

    def accept_unstable(self) -> None:
        """All of the unstable log has been handed out to be written."""
        self.unstable.accept_in_progress()

    def stable_to(self, index: int, term: int) -> None:
        """The entry (index, term) and all before it are durable."""
        self.unstable.stable_to(index, term)

    def stable_snapshot_to(self, index: int) -> None:
        """The snapshot at `index` is durable."""
        self.unstable.stable_snapshot_to(index)

    # applying

    def _appliable_index(self, allow_unstable: bool) -> int:
        if allow_unstable:
            return self.commit_index
        return min(self.commit_index, self.unstable.offset - 1)

    def has_next_committed(self, allow_unstable: bool) -> bool:
        """Whether next_committed would give something."""
        if self._applying_paused or self.unstable.snapshot is not None:
            return False
        return self.applying_index < self._appliable_index(allow_unstable)

    def next_committed(self, allow_unstable: bool) -> tuple[Entry, ...]:
        """Committed entries not handed out yet, within what is left of the byte limit. Those not
        known durable are included only with `allow_unstable`."""
        if not self.has_next_committed(allow_unstable):
            return ()
        room = self._committed_bytes_max - self._applying_bytes
        invariant(room > 0, "the byte limit of applying is used up, yet applying is not paused")
        return self.slice(self.applying_index + 1, self._appliable_index(allow_unstable) + 1, room)

    def accept_applying(self, index: int, size_bytes: int, allow_unstable: bool) -> None:
        """Entries through `index`, of this size, have been handed out. Applying pauses at the
        limit, and after a cut batch, so that the rest waits for an acknowledgement."""
        invariant(index <= self.commit_index, "an uncommitted entry was handed out to be applied")
        self.applying_index = index
        self._applying_bytes += size_bytes
        is_cut = index < self._appliable_index(allow_unstable)
        self._applying_paused = is_cut or self._applying_bytes >= self._committed_bytes_max

    def applied_to(self, index: int, size_bytes: int) -> None:
        """Entries through `index` have been applied; `size_bytes` of them were handed out."""
        invariant(index <= self.commit_index, "an uncommitted entry was applied")
        invariant(index >= self.last_applied, "last_applied would go backwards")
        self.last_applied = index
        self.applying_index = max(self.applying_index, index)
        self._applying_bytes = max(self._applying_bytes - size_bytes, 0)
        self._applying_paused = self._applying_bytes >= self._committed_bytes_max
