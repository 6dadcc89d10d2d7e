"""Logs of given terms for the tests of the log. No test is in here."""

from typing import Any

from metastore.node.raft.events import EventKind
from metastore.node.raft.log import RaftLog
from metastore.node.raft.model import NO_LIMIT, Entry, Snapshot
from metastore.node.raft.storage import MemoryStorage

Terms = tuple[int, ...]


def entries(first: int, *terms: int) -> tuple[Entry, ...]:
    return tuple(Entry(term, first + position) for position, term in enumerate(terms))


class Log(RaftLog):
    """A log that starts after the given snapshot position, holds stable and then unstable entries
    of the given terms, and remembers its events."""

    def __init__(
        self, *terms: int, stable: Terms = (), after: tuple[int, int] = (0, 0), commit: int = 0
    ) -> None:
        self.storage = MemoryStorage()
        if after[0]:
            self.storage.apply_snapshot(Snapshot(*after))
        self.storage.append(entries(after[0] + 1, *stable))
        self.events: list[tuple[EventKind, dict[str, Any]]] = []
        super().__init__(self.storage, NO_LIMIT, lambda *event: self.events.append(event))
        self.append(entries(self.last_index + 1, *terms))
        self.commit_to(commit)

    @property
    def terms(self) -> Terms:
        return tuple(entry.term for entry in self.entries(self.first_index))
