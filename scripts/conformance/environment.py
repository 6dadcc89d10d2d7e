"""What one interaction file runs against: nodes, messages in flight, and the output so far.

Holds state and the steps of a node's storage; the commands are in interaction.py. The appender is
the state machine: its snapshot's data is everything applied so far, joined.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from metastore.node.raft.config import RaftConfig
from metastore.node.raft.events import EventKind, Level
from metastore.node.raft.messages import Message, StorageAppend, StorageApply
from metastore.node.raft.model import (
    APPEND_THREAD,
    APPLY_THREAD,
    ConfigurationChange,
    Entry,
    EntryType,
    HardState,
    Snapshot,
)
from metastore.node.raft.node import RaftCore
from metastore.node.raft.storage import MemoryStorage


class Output:
    """The text of the directive being run; logged lines and harness text share it in call order."""

    def __init__(self) -> None:
        self.level = Level.DEBUG
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        if self.level is not Level.NONE:
            self._parts.append(text)

    def log(self, level: Level, text: str) -> None:
        if self.level <= level:
            self._parts.append(f"{level.name} {text}\n")

    def take(self) -> str:
        text = "".join(self._parts)
        self._parts = []
        return text

    @contextmanager
    def indented(self) -> Iterator[None]:
        outer, self._parts = self._parts, []
        try:
            yield
        finally:
            text = self.take().removesuffix("\n")
            self._parts = outer
            if text:
                self._parts.extend(f"  {line}\n" for line in text.split("\n"))


class HarnessStorage(MemoryStorage):
    """Answers the snapshot of what its node has applied, not the one it started from."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Snapshot] = []

    def snapshot(self) -> Snapshot:
        return self.history[-1]


class Node:
    """One core with its storage, its appender and the work of its two storage threads."""

    def __init__(self, config: RaftConfig, storage: HarnessStorage) -> None:
        self.id = config.id
        self.asynchronous = config.async_storage_writes
        self.storage = storage
        self.append_work: deque[StorageAppend] = deque()
        self.apply_work: deque[StorageApply] = deque()
        self.core = RaftCore(config)

    def persist(
        self, state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None
    ) -> None:
        if state is not None and not state.is_empty:
            self.storage.set_hard_state(state)
        if snapshot is not None and snapshot.index:
            self.storage.apply_snapshot(snapshot)
        elif entries:
            self.storage.append(entries)

    def apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            last = self.storage.history[-1]
            configuration = last.configuration
            data = entry.data
            if entry.type is not EntryType.NORMAL:
                change = ConfigurationChange.decode(entry.data)
                data = change.context
                configuration = self.core.apply_change(change)
            self.storage.history.append(
                Snapshot(entry.index, entry.term, configuration, last.data + data)
            )


class Environment:
    """Everything that is carried from one directive of a file to the next."""

    def __init__(self) -> None:
        self.output = Output()
        self.nodes: list[Node] = []
        self.messages: deque[Message] = deque()

    def trace(self, kind: EventKind, fields: dict[str, Any]) -> None:
        # The reasons of dropped messages are for engineers; the files say nothing in those places.
        if kind is not EventKind.DROPPED and self.output.level <= kind.level:
            self.output.log(kind.level, kind.describe(fields))

    def take_messages(self, to: int, name: str | None, keep_local: bool) -> list[Message]:
        """Removes and returns the messages in flight to a node, in order; of one name if given."""
        taken: list[Message] = []
        kept: deque[Message] = deque()
        for message in self.messages:
            wanted = message.to == to and name in (None, message.name)
            if wanted and not (keep_local and _is_local(message)):
                taken.append(message)
            else:
                kept.append(message)
        self.messages = kept
        return taken


def _is_local(message: Message) -> bool:
    threads = (APPEND_THREAD, APPLY_THREAD)
    return message.sender == message.to or message.sender in threads or message.to in threads
