"""A synchronous network of cores in memory, for tests: messages are delivered until all is quiet.

    network = Network.of(3)                       # ids 1..3, no PreVote, no CheckQuorum
    network = Network(Server(1, log=(1, 1)), Server(2, log=(1,)))  # voters 1..3, and 3 is a hole
    network.hup(1); network.prop(1, b"x"); network.isolate(3); network.heal()

`log` is the terms of the entries from index 1 (or the snapshot) on, or the entries. A voter without
a server is a hole: it swallows everything. A Server alone serves tests of one node: `read()`
completes its local work (persists, applies, steps what it sent to itself) and returns what it sends
to others. The core's invariants are checked after everything that happens to it.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from metastore.node.raft.config import RaftConfig
from metastore.node.raft.errors import RaftError
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
    Role,
    Snapshot,
)
from metastore.node.raft.node import RaftCore
from metastore.node.raft.ready import Ready
from metastore.node.raft.storage import MemoryStorage

ELECTION_TIMEOUT_TICKS = 10
HEARTBEAT_TICKS = 1
# A quiet network needs far fewer; more means that two nodes talk for ever.
DELIVERIES_MAX = 100_000


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
        entries = tuple(
            one if isinstance(one, Entry) else Entry(one, index)
            for index, one in enumerate(log, first)
        )
        self.storage.append(entries)
        if hard_state is None and entries:
            hard_state = HardState(term=entries[-1].term, commit_index=first - 1)
        self.storage.set_hard_state(hard_state or HardState())
        self.applied: list[Entry] = []
        defaults: dict[str, Any] = {
            "election_timeout_ticks": ELECTION_TIMEOUT_TICKS,
            "heartbeat_ticks": HEARTBEAT_TICKS,
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


def grant(request: RequestVote | RequestPreVote) -> Message:
    """The reply that says yes."""
    reply = RequestVoteReply if isinstance(request, RequestVote) else RequestPreVoteReply
    return reply(sender=request.to, to=request.sender, term=request.term)


def refuse(request: RequestVote | RequestPreVote) -> Message:
    """The reply that says no."""
    reply = RequestVoteReply if isinstance(request, RequestVote) else RequestPreVoteReply
    return reply(sender=request.to, to=request.sender, term=request.term, rejected=True)


def accept(append: AppendEntries) -> AppendEntriesReply:
    """The reply of a follower whose log matches."""
    index = append.prev_log_index + len(append.entries)
    return AppendEntriesReply(sender=append.to, to=append.sender, term=append.term, index=index)


class Network:
    """Servers by id, links that can be cut, and message classes that can be swallowed."""

    def __init__(self, *servers: Server) -> None:
        self.servers = {server.id: server for server in servers}
        self.in_flight: deque[Message] = deque()
        self.delivered: list[Message] = []
        # Called for every message: False swallows it.
        self.filter: Callable[[Message], bool] = lambda message: True
        self._cut: set[tuple[int, int]] = set()
        self._isolated: set[int] = set()
        self._ignored: set[type[Message]] = set()

    @classmethod
    def of(cls, count: int, *, holes: Sequence[int] = (), **settings: Any) -> "Network":
        """Nodes 1 to `count`, all voters, empty logs."""
        voters = range(1, count + 1)
        return cls(
            *(Server(node, voters=voters, **settings) for node in voters if node not in holes)
        )

    @classmethod
    def with_logs(cls, *logs: Sequence[int] | None, **settings: Any) -> "Network":
        """One voter per log, from id 1; None is a hole."""
        voters = range(1, len(logs) + 1)
        return cls(
            *(
                Server(node, voters=voters, log=log, **settings)
                for node, log in zip(voters, logs, strict=True)
                if log is not None
            )
        )

    def __getitem__(self, node_id: int) -> Server:
        return self.servers[node_id]

    # Links

    def cut(self, one: int, other: int) -> None:
        """Both directions."""
        self._cut |= {(one, other), (other, one)}

    def drop(self, sender: int, to: int) -> None:
        """One direction."""
        self._cut.add((sender, to))

    def isolate(self, node_id: int) -> None:
        self._isolated.add(node_id)

    def ignore(self, message_class: type[Message]) -> None:
        self._ignored.add(message_class)

    def heal(self) -> None:
        """Forgets every cut, isolated node, ignored class and filter."""
        self._cut.clear()
        self._isolated.clear()
        self._ignored.clear()
        self.filter = lambda message: True

    def _arrives(self, message: Message) -> bool:
        return (
            message.to in self.servers
            and (message.sender, message.to) not in self._cut
            and not self._isolated & {message.sender, message.to}
            and type(message) not in self._ignored
            and self.filter(message)
        )

    # Events

    def hup(self, node_id: int) -> None:
        """The node's election timeout passes."""
        self.servers[node_id].core.campaign()
        self.settle()

    def prop(self, node_id: int, data: bytes = b"somedata") -> None:
        """Raises what the node raises."""
        self.servers[node_id].core.propose(data)
        self.settle()

    def beat(self, node_id: int) -> None:
        """The node's heartbeat is due; nothing unless it leads. Its election timer stands still."""
        self.servers[node_id].core.beat()
        self.settle()

    def tick(self, node_id: int, count: int = 1) -> None:
        for _ in range(count):
            self.servers[node_id].tick()
            self.settle()

    def change(self, node_id: int, change: ConfigurationChange) -> None:
        self.servers[node_id].core.propose_change(change)
        self.settle()

    def send(self, *messages: Message) -> None:
        """Puts messages in flight whoever they claim to be from, and settles."""
        self.in_flight.extend(messages)
        self.settle()

    def settle(self) -> None:
        """Delivers until nothing is in flight and no node has work."""
        for server in self.servers.values():
            self.in_flight.extend(server.read())
        for _ in range(DELIVERIES_MAX):
            if not self.in_flight:
                return
            message = self.in_flight.popleft()
            if self._arrives(message):
                self._deliver(message)
                self.in_flight.extend(self.servers[message.to].read())
        raise AssertionError(f"the network is not quiet after {DELIVERIES_MAX} deliveries")

    def _deliver(self, message: Message) -> None:
        self.delivered.append(message)
        try:
            self.servers[message.to].step(message)
        except RaftError:
            return  # a refused message is as good as a lost one
