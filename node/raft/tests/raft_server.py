"""One core alone, for tests: its storage, its state machine, and the replies that peers would give.

`log` is the terms of the entries from index 1 (or the snapshot) on, or the entries. `read()`
completes the local work (persists, applies, steps what the server sent to itself) and returns what
it sends to others. The core's invariants are checked after everything that happens to it.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from metastore.node.raft.config import RaftConfig
from metastore.node.raft.invariants import check_invariants
from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Message,
    RequestPreVote,
    RequestPreVoteReply,
    RequestVote,
    RequestVoteReply,
)
from metastore.node.raft.model import (
    NO_LIMIT,
    ConfigurationChange,
    ConfigurationState,
    Entry,
    EntryType,
    HardState,
    ReadState,
    Role,
    Snapshot,
)
from metastore.node.raft.node import RaftCore
from metastore.node.raft.ready import Ready
from metastore.node.raft.storage import MemoryStorage

ELECTION_TIMEOUT_TICKS = 10


def entries_of(terms: Iterable[int], first: int = 1) -> tuple[Entry, ...]:
    """Empty entries with these terms, from index `first` on."""
    return tuple(Entry(term, index) for index, term in enumerate(terms, first))


class Server:
    """One core, its storage and its state machine (the list of entries applied)."""

    def __init__(
        self,
        node_id: int = 1,
        *,
        voters: Sequence[int] = (1, 2, 3),
        learners: Sequence[int] = (),
        log: Iterable[int | Entry] = (),
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        **settings: Any,
    ) -> None:
        """Without a hard state the term is that of the last entry. A snapshot brings its own
        configuration. `settings` are RaftConfig's."""
        self.id = node_id
        self.storage = MemoryStorage()
        if snapshot is not None:
            self.storage.apply_snapshot(snapshot)
        else:
            state = ConfigurationState(voters=tuple(voters), learners=tuple(learners))
            self.storage.set_configuration(state)
        first = self.storage.last_index() + 1
        entries = [
            one if isinstance(one, Entry) else Entry(one, i) for i, one in enumerate(log, first)
        ]
        self.storage.append(entries)
        if hard_state is None and entries:
            hard_state = HardState(term=entries[-1].term, commit_index=first - 1)
        self.storage.set_hard_state(hard_state or HardState())
        self.applied: list[Entry] = []
        self.read_states: list[ReadState] = []
        defaults: dict[str, Any] = {
            "election_timeout_ticks": ELECTION_TIMEOUT_TICKS,
            "heartbeat_ticks": 1,
            "random": random.Random(node_id),
            "pre_vote": False,
            "check_quorum": False,
        }
        config = {**defaults, **settings}
        self.core = RaftCore(RaftConfig(id=node_id, storage=self.storage, **config))

    # Asking

    def step(self, *messages: Message) -> None:
        for message in messages:
            self.core.step(message)
            check_invariants(self.core.raft)

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.core.tick()
            check_invariants(self.core.raft)

    def read(self) -> list[Message]:
        """Completes the local work until there is none, and returns what goes to others."""
        sent: list[Message] = []
        while self.core.has_ready():
            sent += self.complete(self.core.ready())
        return sent

    def complete(self, ready: Ready) -> list[Message]:
        """Does what one Ready asks for, and advances."""
        if ready.hard_state is not None and not ready.hard_state.is_empty:
            self.storage.set_hard_state(ready.hard_state)
        if ready.snapshot is not None and ready.snapshot.index:
            self.storage.apply_snapshot(ready.snapshot)
        self.storage.append(ready.entries)
        self.read_states += ready.read_states
        for entry in ready.committed:
            self._apply(entry)
        self.core.advance()
        check_invariants(self.core.raft)
        return list(ready.messages)

    def _apply(self, entry: Entry) -> None:
        self.applied.append(entry)
        if entry.type is not EntryType.NORMAL:
            change = ConfigurationChange.decode(entry.data)
            self.storage.set_configuration(self.core.apply_change(change))

    def elect(self) -> list[Message]:
        """Campaigns with the votes of all others; returns what the new leader sends."""
        self.core.campaign()
        while requests := [m for m in self.read() if isinstance(m, RequestVote | RequestPreVote)]:
            self.step(*(grant(request) for request in requests))
            if self.core.role is Role.LEADER:
                break
        return self.read()

    def lead(self) -> None:
        """As elect, and the empty entry of the new term is held by all and committed."""
        self.step(*(accept(m) for m in self.elect() if isinstance(m, AppendEntries)))
        self.read()

    # Looking

    @property
    def voted_for(self) -> int:
        return self.core.status().voted_for

    @property
    def log(self) -> list[Entry]:
        """The entries in storage; call read() first to have everything there."""
        low, high = self.storage.first_index(), self.storage.last_index() + 1
        return list(self.storage.entries(low, high, NO_LIMIT)) if low < high else []

    @property
    def terms(self) -> list[int]:
        return [entry.term for entry in self.log]

    @property
    def data(self) -> list[bytes]:
        """What was proposed, without the empty entries."""
        return [entry.data for entry in self.log if entry.data]


def grant(request: RequestVote | RequestPreVote, *, rejected: bool = False) -> Message:
    """The reply that says yes."""
    reply = RequestVoteReply if isinstance(request, RequestVote) else RequestPreVoteReply
    return reply(sender=request.to, to=request.sender, term=request.term, rejected=rejected)


def refuse(request: RequestVote | RequestPreVote) -> Message:
    """The reply that says no."""
    return grant(request, rejected=True)


def accept(append: AppendEntries) -> AppendEntriesReply:
    """The reply of a follower whose log matches."""
    index = append.prev_log_index + len(append.entries)
    return AppendEntriesReply(sender=append.to, to=append.sender, term=append.term, index=index)
