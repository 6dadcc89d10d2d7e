"""A seeded network of members that come and go, for tests. No test is in here.

    network = MemberNetwork(seed=1, voters=(1, 2, 3))
    leader = network.elect(1)
    network.change(1, "l4"); network.settle()

Time passes in steps; a message takes one, and can take more. Messages can be lost, doubled, late;
members killed (with and without what they had not synced), paused, wiped. A member whose data
directory is not the one on record (`directories`, or what a leader told of it) is not talked to.
"""

import heapq
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from change_group import changes
from member_checks import Broken, Checks
from member_server import ELECTION_TIMEOUT_TICKS, Disk, MemberServer, without_data

from metastore.node.raft.errors import ProposalDropped, RaftError
from metastore.node.raft.messages import InstallSnapshot, Message
from metastore.node.raft.model import (
    ConfigurationChange,
    ConfigurationState,
    Snapshot,
    Transition,
)

__all__ = ["Broken", "MemberNetwork", "MemberServer"]

Link = tuple[int, int]  # the data directories of sender and receiver when it was sent
ASKED_AFTER_TICKS = 2 * ELECTION_TIMEOUT_TICKS
STEPS_MAX = 400  # of a wait that ends well


class MemberNetwork:
    """Servers by id. `server` makes one: a sabotaged class of them may be given."""

    def __init__(
        self,
        seed: int = 0,
        voters: Sequence[int] = (1, 2, 3),
        *,
        learners: Sequence[int] = (),
        witnesses: Sequence[int] = (),
        server: Callable[..., MemberServer] = MemberServer,
        is_admission_checked: bool = True,
        is_asked: bool = True,
        **settings: Any,
    ) -> None:
        self.random = random.Random(seed)
        self.witnesses = frozenset(witnesses)
        self.checks = Checks(witnesses)
        self.settings = settings
        self.now = 0
        self.loss = self.doubling = 0.0
        self.delay_max = 0
        self._is_admission_checked = is_admission_checked
        self._is_asked = is_asked
        self._make_server = server
        self._in_flight: list[tuple[int, int, Link, Message]] = []
        self._sent_count = 0
        self._disks_count = 0
        self._cut: set[tuple[int, int]] = set()
        self.servers: dict[int, MemberServer] = {}
        first = self._first_snapshot(voters, learners)
        for node_id in (*voters, *learners):
            self.add(node_id, first)

    def _first_snapshot(self, voters: Sequence[int], learners: Sequence[int]) -> Snapshot:
        """What every founding member starts with; their directories are numbered as they come."""
        directories = {node: place for place, node in enumerate((*voters, *learners), 1)}
        data = json.dumps({"data": [], "directories": directories}).encode()
        configuration = ConfigurationState(voters=tuple(voters), learners=tuple(learners))
        return Snapshot(1, 1, configuration, data)

    def __getitem__(self, node_id: int) -> MemberServer:
        return self.servers[node_id]

    def add(self, node_id: int, first: Snapshot | None = None) -> MemberServer:
        """A member on an empty disk: founding, or to join."""
        self._disks_count += 1
        settings = dict(self.settings)
        if node_id in self.witnesses:
            settings.setdefault("never_campaigns", True)
        disk = Disk(self._disks_count, first)
        self.servers[node_id] = self._make_server(node_id, disk, self.checks, **settings)
        return self.servers[node_id]

    # Faults

    def cut(self, *pairs: tuple[int, int]) -> None:
        """One direction each."""
        self._cut.update(pairs)

    def part(self, *groups: Iterable[int]) -> None:
        """Only members of the same group hear each other; who is in none is alone."""
        self._cut.clear()
        together = {(a, b) for group in map(list, groups) for a in group for b in group}
        ids = list(self.servers)
        self.cut(*((a, b) for a in ids for b in ids if a != b and (a, b) not in together))

    def heal(self) -> None:
        self._cut.clear()
        self.loss, self.doubling, self.delay_max = 0.0, 0.0, 0

    def kill(self, *node_ids: int, power: bool = True) -> None:
        for node_id in node_ids:
            self.servers[node_id].stop(power=power)

    def restart(self, *node_ids: int) -> None:
        for node_id in node_ids:
            self.servers[node_id].start()

    def wipe(self, node_id: int) -> None:
        """The member is started again without its data."""
        self.servers[node_id].stop(power=True)
        self.add(node_id)

    # Requests

    def propose(self, node_id: int, data: str) -> bool:
        return self._ask(node_id, lambda: self.servers[node_id].core.propose(data.encode()))

    def change(
        self,
        node_id: int,
        text: str,
        *,
        transition: Transition = Transition.AUTO,
        directories: Mapping[int, int] | None = None,
    ) -> bool:
        """Proposes e.g. "v4 r1" on a node; whether it was appended there."""
        context = json.dumps(directories).encode() if directories else b""
        change = ConfigurationChange(tuple(changes(text)), transition, context)
        return self._ask(node_id, lambda: self.servers[node_id].core.propose_change(change))

    def _ask(self, node_id: int, request: Callable[[], None]) -> bool:
        if not self.servers[node_id].leads:
            return False
        try:
            request()
        except ProposalDropped:
            return False
        self.work(self.servers[node_id])
        return True

    # Time

    def step(self) -> None:
        """One tick for everybody who runs, then what has arrived by now."""
        self.now += 1
        for server in list(self.servers.values()):
            if server.is_running and not server.is_paused:
                server.core.tick()
                self.work(server)
                self._maybe_ask(server)
        while self._in_flight and self._in_flight[0][0] <= self.now:
            _, _, link, message = heapq.heappop(self._in_flight)
            self._deliver(link, message)
        self.checks.compare(server for server in self.servers.values() if server.is_running)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def run(self, until: Callable[[], bool], what: str, steps_max: int = STEPS_MAX) -> None:
        """Raises Broken if it has not come true after so many steps."""
        for _ in range(steps_max):
            if until():
                return
            self.step()
        raise Broken(f"not within {steps_max} steps: {what} ({self})")

    def work(self, server: MemberServer) -> None:
        for message in server.work():
            if message.to in self.witnesses:
                message = without_data(message)
            self._send(server, message)
            if self.random.random() < self.doubling:
                self._send(server, message)
        if server.is_running:
            self.checks.observe(server)
            self.checks.count_changes(server)

    def _send(self, server: MemberServer, message: Message) -> None:
        receiver = self.servers.get(message.to)
        if receiver is None or not self._knows(server, receiver):
            return
        self._sent_count += 1
        late = self.random.randrange(self.delay_max + 1) if self.delay_max else 0
        link = (server.disk.directory_id, receiver.disk.directory_id)
        heapq.heappush(self._in_flight, (self.now + 1 + late, self._sent_count, link, message))

    def _deliver(self, link: Link, message: Message) -> None:
        server = self.servers[message.to]
        if server.is_running and server.is_paused:
            # It waits in the socket, as it would for a process that is stopped.
            self._sent_count += 1
            later = (self.now + 1, self._sent_count, link, message)
            return heapq.heappush(self._in_flight, later)
        arrives = (
            server.is_running
            and (message.sender, message.to) not in self._cut
            and self.random.random() >= self.loss
            and self._is_admitted(link, message)
        )
        if arrives:
            try:
                server.core.step(message)
            except RaftError:
                arrives = False  # a refused message is as good as a lost one
            self.work(server)
        if isinstance(message, InstallSnapshot):
            self._report_snapshot(message, arrives)

    def _report_snapshot(self, message: InstallSnapshot, arrived: bool) -> None:
        sender = self.servers[message.sender]
        if sender.is_running:
            sender.core.report_snapshot(message.to, arrived)
            if not sender.is_paused:
                self.work(sender)

    def _is_admitted(self, link: Link, message: Message) -> bool:
        """A connection ends with the process at its other end."""
        sender, receiver = self.servers[message.sender], self.servers[message.to]
        is_open = link == (sender.disk.directory_id, receiver.disk.directory_id)
        return is_open and self._knows(receiver, sender)

    def _knows(self, server: MemberServer, other: MemberServer) -> bool:
        """Whether it takes the other for the one on its record; 0 is whoever comes."""
        if not self._is_admission_checked:
            return True
        known = server.told or server.directories
        return known.get(other.id, 0) in (0, other.disk.directory_id)

    def _maybe_ask(self, server: MemberServer) -> None:
        """Who hears no leader asks it, as a client would, for the record of the members: its own
        may be so old that it refuses the one who could send it a newer one."""
        server.silent_ticks = 0 if server.core.leader_id else server.silent_ticks + 1
        if server.told and server.applied_index >= server.told_index:
            server.told = {}
        leader = self.leader
        if self._is_asked and leader is not None and server.silent_ticks > ASKED_AFTER_TICKS:
            is_reached = not {(server.id, leader.id), (leader.id, server.id)} & self._cut
            if is_reached and leader.applied_index > server.applied_index:
                server.told, server.told_index = leader.directories, leader.applied_index

    # Scenes

    @property
    def leader(self) -> MemberServer | None:
        """Who leads in the highest term."""
        leaders = [server for server in self.servers.values() if server.leads]
        return max(leaders, key=lambda server: server.core.term, default=None)

    def elect(self, node_id: int) -> MemberServer:
        """Makes a node lead, by itself and now."""
        server = self.servers[node_id]
        server.core.campaign()
        self.work(server)
        self.run(lambda: server.leads and server.core.raft.has_committed_in_term, "an election")
        return server

    def transfer(self, to: int) -> None:
        """The leader hands over."""
        leader = self.leader
        if leader is not None:
            leader.core.transfer_leadership(to)
            self.work(leader)
        self.run(lambda: self.servers[to].leads, f"node {to} leads")

    def settle(self, *node_ids: int) -> None:
        """Until these, or all running members, have applied all that the leader has."""
        self.run(lambda: self._is_settled(node_ids), "all as far as the leader")

    def _is_settled(self, node_ids: Sequence[int]) -> bool:
        leader = self.leader
        if leader is None or leader.applied_index != leader.core.last_index:
            return False
        awaited = [self.servers[node] for node in node_ids or leader.core.raft.tracker.ids]
        return all(
            server.applied_index == leader.applied_index
            for server in awaited
            if server.is_running and not server.is_paused
        )

    def __str__(self) -> str:
        return "; ".join(
            f"{server.id} {server.core.role.value if server.is_running else 'down'} "
            f"term {server.core.term} commit {server.core.commit_index}/{server.core.last_index} "
            f"{server.members}"
            for server in self.servers.values()
        )
