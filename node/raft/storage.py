"""What the core may ask of the durable log, and an in-memory log that answers it.

Stands directly on model.py. `LogReader` is all the core ever sees of a disk; `MemoryStorage` serves
tests and is the mirror the runtime keeps of its durable log. Nothing here does input or output, and
nothing here decides: the core reads, the owner of the storage writes.
"""

from collections.abc import Sequence
from typing import Protocol

from metastore.node.raft.model import (
    NO_LIMIT,
    ConfigurationState,
    Entry,
    HardState,
    Snapshot,
    invariant,
)


class Compacted(Exception):
    """The entry was compacted away; only a snapshot can replace it."""


class Unavailable(Exception):
    """The entry lies beyond the last one, or cannot be had at the moment."""


class SnapshotOutOfDate(Exception):
    """The storage already holds a snapshot at least as new."""


class LogReader(Protocol):
    """The stable log as the core reads it: entries first_index() to last_index(), and the term of
    the position just before the first."""

    def initial_state(self) -> tuple[HardState, ConfigurationState]:
        """What the node knew when it stopped; both empty for a new node."""

    def first_index(self) -> int:
        """Index of the first entry still available; last_index() + 1 when there is none."""

    def last_index(self) -> int:
        """Index of the last entry; first_index() - 1 when there is none."""

    def term(self, index: int) -> int:
        """Term at `index`, from first_index() - 1 on. Raises Compacted below, Unavailable above."""

    def entries(self, low: int, high: int, bytes_max: int) -> Sequence[Entry]:
        """Entries [low, high), cut to `bytes_max` but never to nothing. Raises Compacted if `low`
        is gone, Unavailable if they cannot be read now."""

    def snapshot(self) -> Snapshot:
        """The newest snapshot. Raises Unavailable while one is being made."""


def limit_size(entries: Sequence[Entry], bytes_max: int) -> Sequence[Entry]:
    """The longest prefix of at most `bytes_max` bytes, but always the first entry: a limit smaller
    than one entry must slow the log down, never stop it."""
    if bytes_max >= NO_LIMIT or len(entries) <= 1:
        return entries
    total = 0
    for position, entry in enumerate(entries):
        total += entry.size_bytes
        if total > bytes_max and position:
            return entries[:position]
    return entries


def payload_bytes(entries: Sequence[Entry]) -> int:
    """Bytes of data the proposer gave, overhead excluded; 0 for empty entries."""
    return sum(len(entry.data) for entry in entries)


def check_slice(
    leader_term: int, prev_index: int, prev_term: int, entries: Sequence[Entry]
) -> None:
    """Raises ValueError unless the entries can stand in the log of a leader of `leader_term` right
    after (prev_index, prev_term): indexes contiguous, terms not falling nor beyond the leader's."""
    index, term = prev_index, prev_term
    for entry in entries:
        if entry.index != index + 1:
            raise ValueError(f"entry {entry.index} does not follow entry {index}")
        if entry.term < term:
            raise ValueError(f"term {entry.term} of entry {entry.index} follows term {term}")
        index, term = entry.index, entry.term
    if term > leader_term:
        raise ValueError(f"term {term} of entry {index} is beyond the leader's term {leader_term}")


class MemoryStorage:
    """A LogReader in memory. Its owner writes with append, apply_snapshot, compact and the setters.

    Appending costs the batch; compacting costs the entries dropped and one shift of pointers."""

    __slots__ = (
        "_before",
        "_before_term",
        "_configuration",
        "_entries",
        "_hard_state",
        "_snapshot",
    )

    def __init__(self) -> None:
        # (index, term) just before the first entry: the trace that the compacted prefix leaves.
        self._before = 0
        self._before_term = 0
        self._entries: list[Entry] = []
        self._hard_state = HardState()
        # Newer than the snapshot's own after a restart, hence kept apart from it.
        self._configuration = ConfigurationState()
        self._snapshot = Snapshot()

    def initial_state(self) -> tuple[HardState, ConfigurationState]:
        return self._hard_state, self._configuration

    def first_index(self) -> int:
        return self._before + 1

    def last_index(self) -> int:
        return self._before + len(self._entries)

    def term(self, index: int) -> int:
        position = index - self._before - 1
        if position < 0:
            if position == -1:
                return self._before_term
            raise Compacted(f"entry {index} is compacted through {self._before}")
        if position >= len(self._entries):
            raise Unavailable(f"entry {index} is beyond the last, {self.last_index()}")
        return self._entries[position].term

    def entries(self, low: int, high: int, bytes_max: int) -> Sequence[Entry]:
        if low <= self._before:
            raise Compacted(f"entry {low} is compacted through {self._before}")
        invariant(
            high <= self.last_index() + 1, "entries beyond the last stable one were asked for"
        )
        start = self._before + 1
        return limit_size(self._entries[low - start : high - start], bytes_max)

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def set_hard_state(self, state: HardState) -> None:
        self._hard_state = state

    def set_configuration(self, state: ConfigurationState) -> None:
        """The configuration in force, for initial_state(); the snapshot keeps its own."""
        self._configuration = state

    def append(self, entries: Sequence[Entry]) -> None:
        """Adds contiguous entries, replacing what they overlap and everything after it. What is
        compacted already is skipped; a gap is a broken invariant."""
        if not entries:
            return
        first, last = entries[0].index, entries[-1].index
        invariant(last - first == len(entries) - 1, "appended entries are not contiguous")
        if last <= self._before:
            return
        if first <= self._before:
            entries = entries[self._before + 1 - first :]
            first = self._before + 1
        position = first - self._before - 1
        invariant(position <= len(self._entries), "an append would leave a gap in the stable log")
        del self._entries[position:]
        self._entries.extend(entries)

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Replaces the whole log by the snapshot. An empty storage accepts index 0, to be given a
        configuration. Raises SnapshotOutOfDate if it holds a newer or equal one."""
        is_first = not snapshot.index and not self.last_index()
        if not is_first and snapshot.index <= max(self._snapshot.index, self._before - 1):
            raise SnapshotOutOfDate(f"snapshot {snapshot.index} is older than what is held")
        self._snapshot = snapshot
        self._configuration = snapshot.configuration
        self._before, self._before_term = snapshot.index, snapshot.term
        self._entries = []

    def create_snapshot(
        self, index: int, configuration: ConfigurationState, data: bytes = b""
    ) -> Snapshot:
        """Makes `index` the point of the newest snapshot and leaves the log alone. Raises
        SnapshotOutOfDate if the held one is as new, Compacted if the index's term is gone."""
        if index <= self._snapshot.index:
            raise SnapshotOutOfDate(f"snapshot {index} is not newer than {self._snapshot.index}")
        invariant(index <= self.last_index(), "a snapshot beyond the last stable entry")
        self._snapshot = Snapshot(index, self.term(index), configuration, data)
        return self._snapshot

    def compact(self, index: int) -> None:
        """Drops the entries up to and including `index`. Raises Compacted if already done."""
        if index <= self._before:
            raise Compacted(f"entry {index} is compacted through {self._before}")
        invariant(index <= self.last_index(), "compaction beyond the last stable entry")
        self._before_term = self.term(index)
        del self._entries[: index - self._before]
        self._before = index
