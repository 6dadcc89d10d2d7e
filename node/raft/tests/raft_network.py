"""A synchronous network of cores in memory, for tests: messages are delivered until all is quiet.

    network = Network.of(3)                       # ids 1..3, no PreVote, no CheckQuorum
    network = Network(Server(1, log=(1, 1)), Server(2, log=(1,)))  # voters 1..3, and 3 is a hole
    network.hup(1); network.prop(1, b"x"); network.isolate(3); network.heal()

A voter without a server is a hole: it swallows everything. Servers are those of raft_server.py.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from raft_server import ELECTION_TIMEOUT_TICKS, Server, accept, entries_of, grant, refuse

from metastore.node.raft.errors import RaftError
from metastore.node.raft.messages import Message
from metastore.node.raft.model import ConfigurationChange

__all__ = [
    "ELECTION_TIMEOUT_TICKS",
    "Network",
    "Server",
    "accept",
    "entries_of",
    "grant",
    "refuse",
]

# A quiet network needs far fewer; more means that two nodes talk for ever.
DELIVERIES_MAX = 100_000


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
        self.in_flight.extend(m for server in self.servers.values() for m in server.read())
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
