"""A cluster of cores and keepers in memory, for tests: requests go in, answers are collected.

    cluster = MemberCluster(3)          # founders 1 to 3, node 1 leads and knows who is alive
    cluster.do(add(4)); cluster.start(4); cluster.do(join(4)); cluster.run(5)

The network is that of the core's tests: synchronous, with links that can be cut. A turn of the
clock (`run`) ticks every core, delivers, and ticks every keeper, as the loop does.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from member_records import directory, founded, places, record
from raft_network import ELECTION_TIMEOUT_TICKS, Network, Server

from metastore.node.members.keeper import MembersKeeper
from metastore.node.members.records import MemberRecord, Membership
from metastore.node.proposals import Waiter
from metastore.node.raft.messages import Message
from metastore.node.raft.model import Entry, EntryType, Role, Snapshot
from metastore.node.raft.ready import Ready
from metastore.transport import schema
from metastore.transport.framing import ErrorCode
from metastore.transport.member_ops import Change, MemberInfo, member_change, move_leader
from metastore.transport.schema import Code

CLUSTER_ID = 77
TURNS_MAX = 20 * ELECTION_TIMEOUT_TICKS  # until a request has its answer, its repeats included


class Outcome(NamedTuple):
    """Of one request at one node: a result, or a refusal (then code is an ErrorCode)."""

    code: int | str
    fields: tuple[Any, ...]

    @property
    def members(self) -> dict[int, MemberInfo]:
        return {info[0]: MemberInfo(*info) for info in self.fields[3]}


class MemberServer(Server):
    """A core with its keeper. `membership` None: it starts from nothing, to join."""

    def __init__(self, node_id: int, membership: Membership | None, **settings: Any) -> None:
        first = None
        if membership is not None:
            first = Snapshot(1, 1, membership.configuration, membership.encode())
        defaults = {"pre_vote": True, "check_quorum": True, "step_down_on_removal": True}
        super().__init__(node_id, voters=(), snapshot=first, **(defaults | settings))
        self.changes: list[Membership] = []
        self.outcomes: dict[Waiter, Outcome] = {}
        self.keeper = MembersKeeper(
            self.core,
            node_id,
            CLUSTER_ID,
            membership or Membership(),
            answer=self._on_answer,
            refuse=self._on_refusal,
            on_change=self.changes.append,
            election_timeout_ticks=ELECTION_TIMEOUT_TICKS,
        )

    def _on_answer(self, waiters: Sequence[Waiter], replies: Sequence[bytes]) -> None:
        for waiter, reply in zip(waiters, replies, strict=True):
            ((code, *fields),) = schema.decode_results(reply)
            self._note(waiter, Outcome(code, tuple(fields)))

    def _on_refusal(self, waiters: Sequence[Waiter], code: ErrorCode, message: str) -> None:
        for waiter in waiters:
            self._note(waiter, Outcome(code, (message,)))

    def _note(self, waiter: Waiter, outcome: Outcome) -> None:
        assert waiter not in self.outcomes, "answered twice"
        self.outcomes[waiter] = outcome

    def complete(self, ready: Ready) -> list[Message]:
        if ready.snapshot is not None and ready.snapshot.index:
            self.keeper.on_installed(ready.snapshot.data)
        return super().complete(ready)

    def _apply(self, entry: Entry) -> None:
        self.applied.append(entry)
        if entry.type is not EntryType.NORMAL:
            encoded = self.keeper.on_entry(entry)
            assert encoded == self.keeper.membership.encode()
            self.storage.set_configuration(self.keeper.membership.configuration)


class MemberCluster(Network):
    def __init__(self, founders: int | Sequence[MemberRecord] = 3, **settings: Any) -> None:
        self.settings = settings
        if isinstance(founders, int):
            founders = [record(node_id) for node_id in range(1, founders + 1)]
        membership = founded(*founders)
        self.waiting = 0
        super().__init__(*(MemberServer(m.node_id, membership, **settings) for m in founders))
        self.hup(min(membership.configuration.voters))
        self.run(ELECTION_TIMEOUT_TICKS + 1)

    def at(self, node_id: int) -> MemberServer:
        server = self.servers[node_id]
        assert isinstance(server, MemberServer)
        return server

    def keeper(self, node_id: int) -> MembersKeeper:
        return self.at(node_id).keeper

    def start(self, node_id: int) -> None:
        """With an empty directory, to join."""
        self.servers[node_id] = MemberServer(node_id, None, **self.settings)

    @property
    def leader(self) -> MemberServer:
        leading = [s for s in self.servers.values() if s.core.role is Role.LEADER]
        return self.at(max(leading, key=lambda server: server.core.term).id)

    @property
    def membership(self) -> Membership:
        return self.leader.keeper.membership

    def run(self, turns: int = 1) -> None:
        for _ in range(turns):
            for server in self.servers.values():
                server.tick()
            self.settle()
            for server in list(self.servers.values()):
                self.keeper(server.id).on_tick()
            self.settle()
            self._watch()

    def _watch(self) -> None:
        """What a test does not have to look for: no two leaders in one term."""
        terms = [s.core.term for s in self.servers.values() if s.core.role is Role.LEADER]
        assert len(terms) == len(set(terms)), f"two leaders of one term: {terms}"

    def _deliver(self, message: Message) -> None:
        self.keeper(message.to).heard(message.sender)
        super()._deliver(message)

    # Requests

    def send_request(self, node_id: int, operation: Sequence[Any]) -> Waiter:
        """Returns who waits at the node; delivers nothing."""
        self.waiting += 1
        waiter = (b"client", self.waiting)
        self.keeper(node_id).request(waiter, schema.encode_request([operation]))
        return waiter

    def begin(self, node_id: int, *changes: Change, is_forced: bool = False) -> Waiter:
        waiter = self.send_request(node_id, member_change(changes, is_forced=is_forced))
        self.settle()
        return waiter

    def outcome(self, node_id: int, waiter: Waiter) -> Outcome | None:
        return self.at(node_id).outcomes.get(waiter)

    def ask(self, operation: Sequence[Any]) -> Outcome:
        """As a client does: at the leader, and again as long as it is told to repeat."""
        asked = None
        for _ in range(TURNS_MAX):
            if asked is None:
                node_id = self.leader.id
                asked = node_id, self.send_request(node_id, operation)
                self.settle()
            found = self.outcome(*asked)
            if found is not None and found.code not in (
                ErrorCode.UNAVAILABLE,
                ErrorCode.NOT_LEADER,
            ):
                return found
            if found is not None:
                asked = None
            self.run()
        raise AssertionError("no answer")

    def do(self, *changes: Change, is_forced: bool = False) -> Outcome:
        """A change that must succeed."""
        found = self.ask(member_change(changes, is_forced=is_forced))
        assert found.code == Code.OK, found
        return found

    def refusal(self, *changes: Change, is_forced: bool = False) -> str:
        """Of a change that must be refused for good."""
        found = self.ask(member_change(changes, is_forced=is_forced))
        assert found.code != Code.OK, found
        message = found.fields[0]
        assert isinstance(message, str)
        return message

    def move(self, node_id: int = 0) -> Outcome:
        return self.ask(move_leader(node_id))


__all__ = ["CLUSTER_ID", "ELECTION_TIMEOUT_TICKS", "MemberCluster", "directory", "places"]
