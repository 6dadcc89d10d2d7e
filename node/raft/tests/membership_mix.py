"""Everything at once, by chance and from a seed: changes, partitions, kills, pauses, snapshots.

    Mix(seed).run()

Every step may change something; after it the checks of member_checks.py have been made. In the end
all is healed, and the cluster must make progress and hold all that was acknowledged. No test is in
here.
"""

from typing import Any

from member_checks import check
from member_network import MemberNetwork, MemberServer
from member_server import Stage

from metastore.node.raft.model import NO_NODE, Role, Transition
from metastore.node.raft.progress import Progress

STEPS = 150
IDS_MAX = 6
CAUGHT_UP_WITHIN = 5  # entries


class Mix:
    """`actions` may be replaced by what a test is about."""

    def __init__(self, seed: int, **settings: Any) -> None:
        """`settings` are MemberNetwork's."""
        self.network = network = MemberNetwork(seed, **settings)
        self.random = network.random
        self.acknowledged: dict[str, int] = {}  # data -> index at which its leader applied it
        self._proposed: dict[tuple[int, int], list[tuple[int, str]]] = {}
        self._count = 0
        self.actions = {
            self.propose: 30,
            self.change: 12,
            self.disturb_links: 4,
            self.heal: 4,
            self.kill: 3,
            self.restart: 6,
            self.pause: 2,
            self.resume: 6,
            self.snapshot: 4,
            self.transfer: 1,
            self.nothing: 30,
        }

    def run(self, steps: int = STEPS) -> None:
        """Raises Broken, or RaftFailed from inside a core."""
        kinds, weights = list(self.actions), list(self.actions.values())
        for action in self.random.choices(kinds, weights, k=steps):
            action()
            self.network.step()
            self._note_acknowledged()
        self.recover()

    def recover(self) -> None:
        """Heals everything; then the cluster must decide something new, and all must have it."""
        network = self.network
        self.revive()
        network.run(lambda: self._decides("the end"), "something new is decided")
        network.settle()
        self.check_acknowledged()

    def revive(self) -> None:
        self.network.heal()
        for server in self.network.servers.values():
            server.is_paused = False
            if not server.is_running:
                server.start()

    def _decides(self, data: str) -> bool:
        leader = self.network.leader
        if leader is None:
            return False
        if data not in leader.data:
            if not any(entry.data == data.encode() for entry in leader.uncommitted()):
                self.network.propose(leader.id, data)
            return False
        return True

    def check_acknowledged(self) -> None:
        """Every member that holds data has what was acknowledged."""
        leader = self.network.leader
        check(leader is not None, "nobody leads")
        if leader is None:
            return
        for node_id in leader.core.raft.tracker.ids:
            if node_id in self.network.witnesses:
                continue
            lost = self.acknowledged.keys() - set(self.network[node_id].data)
            check(not lost, f"node {node_id} has not what was acknowledged: {sorted(lost)}")

    def _note_acknowledged(self) -> None:
        """Whoever proposed something as a leader, and applied it as such, has told the client."""
        for server in self._running():
            waiting = self._proposed.get((server.id, server.starts), [])
            for index, data in waiting[:]:
                if server.applied_index >= index:
                    waiting.remove((index, data))
                    entry, _ = self.network.checks.committed.get(index, (None, 0))
                    if entry is not None and entry.data.decode() == data:
                        self.acknowledged[data] = index

    # What can happen

    def nothing(self) -> None: ...

    def propose(self) -> None:
        server = self._some_leader()
        if server is None:
            return
        self._count += 1
        data = f"data {self._count}"
        if self.network.propose(server.id, data) and server.is_running:
            waiting = self._proposed.setdefault((server.id, server.starts), [])
            waiting.append((server.core.last_index, data))

    def change(self) -> None:
        """Whatever comes to mind, also what cannot be made now."""
        server = self._some_leader()
        if server is None:
            return
        configuration = server.core.raft.configuration
        if configuration.is_joint and not configuration.auto_leave:
            self.network.change(server.id, "")
            return
        count = self.random.choices((1, 2, 3), (6, 3, 1))[0]
        parts = [self._one_change(server) for _ in range(count)]
        text = " ".join(dict.fromkeys(part for part in parts if part))
        kinds = list(Transition) if " " in text else [Transition.AUTO] * 3 + list(Transition)
        if text:
            self.network.change(server.id, text, transition=self.random.choice(kinds))

    def _one_change(self, server: MemberServer) -> str:
        configuration = server.core.raft.configuration
        node_id = self.random.randint(1, IDS_MAX)
        if node_id in self.network.witnesses:
            return ""
        if node_id not in self.network.servers:
            self.network.add(node_id)
        if node_id in configuration.all_voters:
            # As a cluster that nobody may shrink to less than two.
            is_small = len(configuration.voters) < 3
            return "" if is_small else self.random.choice((f"r{node_id}", f"l{node_id}"))
        progress = server.core.raft.tracker.progress.get(node_id)
        if progress is None:
            return f"l{node_id}"
        if self._is_caught_up(server, progress):
            return f"v{node_id}"
        return self.random.choice(("", f"r{node_id}"))

    def _is_caught_up(self, server: MemberServer, progress: Progress) -> bool:
        return progress.match_index + CAUGHT_UP_WITHIN >= server.core.commit_index

    def disturb_links(self) -> None:
        network, ids = self.network, list(self.network.servers)
        kind = self.random.randrange(4)
        if kind == 0:
            network.loss, network.doubling = self.random.choice(((0.2, 0.1), (0.05, 0.3)))
            network.delay_max = self.random.randint(1, 6)
        elif kind == 1:
            network.cut((self.random.choice(ids), self.random.choice(ids)))
        elif kind == 2:
            self.random.shuffle(ids)
            middle = self.random.randint(1, len(ids))
            network.part(ids[:middle], ids[middle:])
        else:
            lonely = self.random.choice(ids)
            network.part([node for node in ids if node != lonely])

    def heal(self) -> None:
        self.network.heal()

    def kill(self) -> None:
        server = self.random.choice(list(self.network.servers.values()))
        if server.is_running and not server.is_paused:
            # At once, or in the middle of what it does next.
            server.dies_at = self.random.choice((None, *Stage))
            if server.dies_at is not None and server.core.has_ready():
                self.network.work(server)
            self.network.kill(server.id, power=self.random.random() < 0.7)

    def restart(self) -> None:
        for server in self.network.servers.values():
            if not server.is_running and self.random.random() < 0.7:
                server.start()

    def pause(self) -> None:
        self.random.choice(list(self.network.servers.values())).is_paused = True

    def resume(self) -> None:
        for server in self.network.servers.values():
            server.is_paused = False

    def snapshot(self) -> None:
        running = self._running()
        if running:
            self.random.choice(running).take_snapshot()

    def transfer(self) -> None:
        server = self._some_leader()
        if server is not None:
            voters = sorted(server.core.raft.configuration.voters - self.network.witnesses)
            server.core.transfer_leadership(self.random.choice(voters or [NO_NODE]))

    def _running(self) -> list[MemberServer]:
        servers = self.network.servers.values()
        return [server for server in servers if server.is_running and not server.is_paused]

    def _some_leader(self) -> MemberServer | None:
        """Anybody who takes itself for the leader."""
        leaders = [one for one in self._running() if one.core.role is Role.LEADER]
        return self.random.choice(leaders) if leaders else None
