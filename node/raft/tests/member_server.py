"""One member on a disk that can lose what was not synced, for the tests of changing members.

It does what a driver does: writes, syncs when it must, sends, applies, and keeps its state in
snapshots only, so that a restart applies again from the last one. No test is in here.
"""

import copy
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from enum import Enum
from typing import Any, Protocol

from metastore.node.raft.changes import ChangeRefused
from metastore.node.raft.config import RaftConfig
from metastore.node.raft.invariants import check_invariants
from metastore.node.raft.messages import Message
from metastore.node.raft.model import (
    ConfigurationChange,
    Entry,
    EntryType,
    HardState,
    Role,
    Snapshot,
)
from metastore.node.raft.node import RaftCore
from metastore.node.raft.ready import Ready
from metastore.node.raft.storage import MemoryStorage

ELECTION_TIMEOUT_TICKS = 10
TRAILING_ENTRIES = 3  # kept below a snapshot


class Stage(Enum):
    """Where a member can die while it carries out a Ready."""

    WRITTEN = "written, not synced"
    SYNCED = "synced, nothing sent"
    SENT = "sent, not applied"


class Died(Exception):
    """The member is gone; what it had sent is on its way."""


class Watcher(Protocol):
    """Who is told what a member does."""

    def wrote(self, server: "MemberServer", entries: tuple[Entry, ...]) -> None: ...

    def applied(self, server: "MemberServer", entry: Entry) -> None: ...


class Disk:
    """What was written, and which beginning of that would survive a loss of power."""

    def __init__(self, directory_id: int, first: Snapshot | None = None) -> None:
        self.directory_id = directory_id
        self.written = MemoryStorage()
        self.durable = MemoryStorage()
        self._unsynced: list[Callable[[MemoryStorage], None]] = []
        if first is not None:
            self.write(lambda storage: storage.apply_snapshot(first))
            self.write(lambda storage: storage.set_hard_state(HardState(1, 0, first.index)))
            self.sync()

    def write(self, action: Callable[[MemoryStorage], None]) -> None:
        action(self.written)
        self._unsynced.append(action)

    def sync(self) -> None:
        for action in self._unsynced:
            action(self.durable)
        self._unsynced.clear()

    def lose_power(self) -> None:
        """What was not synced is gone."""
        self._unsynced.clear()
        self.written = copy.copy(self.durable)
        self.written._entries = list(self.durable._entries)


class MemberServer:
    """A core, its disk, and its state machine: the list of data applied, and who has which data
    directory (the context of changes, an object in JSON)."""

    def __init__(self, node_id: int, disk: Disk, watcher: Watcher, **settings: Any) -> None:
        """`forgets_commit_index`: one that changed alone is not written with the next entries
        either. Other settings are RaftConfig's."""
        self.id = node_id
        self.disk = disk
        self.watcher = watcher
        self.settings = settings
        self.starts = 0
        self.term_seen = 0
        self.told: dict[int, int] = {}  # by a leader: newer than our own `directories`
        self.told_index = self.silent_ticks = 0
        self.is_running = self.is_paused = False
        self.dies_at: Stage | None = None
        self.start()

    def start(self) -> None:
        """Continues from the disk."""
        self.starts += 1
        self.is_running, self.is_paused, self.dies_at = True, False, None
        self.sent: list[Message] = []
        self.commit_seen = 0
        self.told, self.silent_ticks = {}, 0
        self._held: HardState | None = None  # a commit index that is not written yet
        self._load(self.disk.written.snapshot())
        config: dict[str, Any] = {
            "election_timeout_ticks": ELECTION_TIMEOUT_TICKS,
            "heartbeat_ticks": 1,
            "random": random.Random(self.id * 1000 + self.starts),
            "step_down_on_removal": True,
            **self.settings,
        }
        self._forgets = config.pop("forgets_commit_index", False)
        applied = self.applied_index
        storage = self.disk.written
        self.core = RaftCore(RaftConfig(id=self.id, storage=storage, applied=applied, **config))

    def stop(self, *, power: bool) -> None:
        """As by kill -9, or (`power`) as by the loss of it."""
        self.is_running = False
        self.sent = []
        if power:
            self.disk.lose_power()

    def _load(self, snapshot: Snapshot) -> None:
        kept = json.loads(snapshot.data) if snapshot.data else {"data": [], "directories": {}}
        self.applied_index = snapshot.index
        self.data: list[str] = kept["data"]
        self.directories = {int(node): found for node, found in kept["directories"].items()}

    def work(self) -> list[Message]:
        """Carries out what the core asks for, until it asks for nothing; what was sent meanwhile,
        also by a member that died at its stage."""
        try:
            while self.core.has_ready():
                self._carry_out(self.core.ready())
            check_invariants(self.core.raft)
        except Died:
            self.is_running = False
        sent, self.sent = self.sent, []
        return sent

    def _carry_out(self, ready: Ready) -> None:
        self._write(ready)
        self._maybe_die(Stage.WRITTEN)
        if ready.must_sync or ready.snapshot is not None:
            self.disk.sync()
        self._maybe_die(Stage.SYNCED)
        self.sent += ready.messages
        self._maybe_die(Stage.SENT)
        if ready.snapshot is not None:
            self._load(ready.snapshot)
        for entry in ready.committed:
            self._apply(entry)
        self.core.advance()

    def _write(self, ready: Ready) -> None:
        state = ready.hard_state or self._held
        is_alone = not (ready.entries or ready.snapshot or ready.must_sync)
        self._held = state if is_alone and not self._forgets else None
        if is_alone:
            return
        snapshot, entries = ready.snapshot, ready.entries
        if snapshot is not None:
            self.disk.write(lambda storage: storage.apply_snapshot(snapshot))
        self.watcher.wrote(self, entries)
        self.disk.write(lambda storage: storage.append(entries))
        if state is not None:
            self.disk.write(lambda storage: storage.set_hard_state(state))

    def _maybe_die(self, stage: Stage) -> None:
        if self.dies_at is stage:
            raise Died

    def _apply(self, entry: Entry) -> None:
        self.applied_index = entry.index
        if entry.type is EntryType.NORMAL:
            if entry.data:
                self.data.append(entry.data.decode())
        else:
            change = ConfigurationChange.decode(entry.data)
            with suppress(ChangeRefused):
                self.core.apply_change(change)
                found = json.loads(change.context) if change.context else {}
                self.directories |= {int(node): known for node, known in found.items()}
        self.watcher.applied(self, entry)

    def take_snapshot(self, trailing: int = TRAILING_ENTRIES) -> None:
        """Of all that is applied, if that is news; the log keeps `trailing` entries below it."""
        index, storage = self.applied_index, self.disk.written
        if index <= storage.snapshot().index or self.core.raft.log.has_pending_snapshot:
            return
        state = self.core.raft.configuration.to_state()
        kept = {"data": self.data, "directories": self.directories}
        data, cut = json.dumps(kept).encode(), index - trailing
        self.disk.write(lambda storage: (storage.create_snapshot(index, state, data), None)[1])
        self.disk.write(lambda storage: storage.set_configuration(state))
        if cut >= storage.first_index():
            self.disk.write(lambda storage: storage.compact(cut))
        self.disk.sync()

    # Looking

    @property
    def leads(self) -> bool:
        return self.is_running and self.core.role is Role.LEADER

    @property
    def members(self) -> str:
        """The configuration in force."""
        return str(self.core.raft.configuration)

    def uncommitted(self) -> list[Entry]:
        log = self.core.raft.log
        return list(log.slice(log.commit_index + 1, log.last_index + 1))


def without_data(message: Message) -> Message:
    """As a witness gets it: which entries there are, but not what is in them."""
    entries = getattr(message, "entries", ())
    if not entries:
        return message
    stripped = tuple(
        replace(entry, data=b"") if entry.type is EntryType.NORMAL else entry for entry in entries
    )
    return replace(message, entries=stripped)  # type: ignore[call-arg]
