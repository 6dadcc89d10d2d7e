"""A single node's parts around a real core, store and log, for tests; the disk works when told to.

Only the edges are fake: the disk thread's work is done by `Disk.work`, peers and clients are lists.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from queue import Queue

from founding import founders

from metastore.engines.memory.store import MemoryStore
from metastore.engines.memory.wal import WriteAheadLog
from metastore.node.answers import Answers
from metastore.node.disk import Append, Compact, Durable
from metastore.node.effects import Effects
from metastore.node.hashes import Hashed
from metastore.node.members.keeper import MembersKeeper
from metastore.node.members.records import Membership
from metastore.node.members.roster import Roster
from metastore.node.outbox import Outbox, Replies
from metastore.node.proposals import PendingProposals
from metastore.node.raft.config import RaftConfig
from metastore.node.raft.messages import (
    AppendEntriesReply,
    InstallSnapshot,
    Message,
    RequestPreVoteReply,
    RequestVoteReply,
    StorageAppend,
)
from metastore.node.raft.model import Role
from metastore.node.raft.node import RaftCore
from metastore.node.reads import PendingReads
from metastore.node.recovery import Recovered, recover
from metastore.node.requests import Desk
from metastore.node.settings import Settings
from metastore.node.snapshots import Received, Saved, Sent, SnapshotKeeper
from metastore.transport import envelope, schema
from metastore.transport.envelope import NodeFrame, ReadLevel

CLIENT = b"client"
ELECTION_TICKS = 10


class Disk:
    """Takes jobs as the disk thread does, and does them only in `work`."""

    def __init__(self, log: WriteAheadLog) -> None:
        self.log = log
        self.jobs: list[Append | Compact] = []

    @property
    def outstanding(self) -> int:
        return sum(isinstance(job, Append) for job in self.jobs)

    def submit(self, job: Append | Compact) -> None:
        self.jobs.append(job)

    def work(self, count: int = 1 << 30) -> Durable:
        """Makes the oldest jobs durable."""
        done: list[StorageAppend] = []
        jobs, self.jobs = self.jobs[:count], self.jobs[count:]
        for job in jobs:
            if isinstance(job, Append):
                state = job.message.hard_state
                hard = None
                if state:
                    commit_index = max(state.commit_index, job.committed_once)
                    hard = (state.term, state.voted_for, commit_index)
                self.log.append(job.message.entries, hard, job.snapshot)
                done.append(job.message)
            else:
                self.log.compact(job.snapshot)
        self.log.sync()
        return Durable(done)


def _make_core(node_id: int, found: Recovered) -> RaftCore:
    return RaftCore(
        RaftConfig(
            id=node_id,
            election_timeout_ticks=ELECTION_TICKS,
            heartbeat_ticks=1,
            storage=found.mirror,
            random=random.Random(1),
            applied=found.last_applied,
            async_storage_writes=True,
            disable_proposal_forwarding=True,
        )
    )


class Runtime:
    """One node of `voters`, or one that joins (None); `turn` does what the loop does between inputs
    and outputs."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        voters: Sequence[int] | None = (1,),
        *,
        entries_max: int = 1000,
        is_witness: bool = False,
    ) -> None:
        self.store = MemoryStore(folder / "snapshots", node_id=1)
        self.log = WriteAheadLog(folder / "wal")
        found = recover(self.log, self.store, None if voters is None else founders(voters))
        self.mirror, self.committed_once = found.mirror, found.committed_once
        self.core, self.disk = _make_core(settings.node_id, found), Disk(self.log)
        self.reports: Queue[Saved | Sent | Received] = Queue()
        self.snapshots = SnapshotKeeper(
            self.store,
            self.mirror,
            self.reports.put,
            entries_max=entries_max,
            bytes_max=1 << 30,
            trailing_entries=10,
            node_id=settings.node_id,
        )
        self.outbox, self.pending = Outbox(), PendingProposals()
        self.reads, self.replies = PendingReads(), Replies()
        self.snapshots_asked: list[InstallSnapshot] = []
        self.hashed: Queue[Hashed] = Queue()
        self.said = Answers(self.core, self.replies)
        self.roster = Roster(settings.node_id, found.membership, (), {})
        self.members = self._make_keeper(settings, found.membership)
        self.desk = self._make_desk(settings)
        self.happened: list[str] = []  # "applied" and "installed", in order
        self.effects = self._make_effects(is_witness)

    def _make_keeper(self, settings: Settings, membership: Membership) -> MembersKeeper:
        return MembersKeeper(
            self.core,
            settings.node_id,
            settings.cluster_id,
            membership,
            answer=self.said.answer,
            refuse=self.said.refuse,
            on_change=self._on_change,
            election_timeout_ticks=ELECTION_TICKS,
        )

    @property
    def membership(self) -> Membership:
        return self.members.membership

    def _make_desk(self, settings: Settings) -> Desk:
        return Desk(
            self.core,
            self.store,
            settings.cluster_id,
            self.pending,
            self.reads,
            self.replies,
            self.said,
            self.members,
            self.roster,
            self._outstanding,
            self.hashed.put,
        )

    def _make_effects(self, is_witness: bool) -> Effects:
        return Effects(
            self.core,
            self.store,
            self.mirror,
            self.disk,  # type: ignore[arg-type]
            self.snapshots,
            self.outbox,
            pending=self.pending,
            reads=self.reads,
            answer=self.said.answer,
            refuse=self.said.refuse_not_leader,
            send_snapshot=self.snapshots_asked.append,
            on_configuration=self.members.on_entry,
            on_applied=lambda: self.happened.append("applied"),
            on_installed=self._on_installed,
            is_witness=lambda: is_witness,
            committed_once=self.committed_once,
        )

    def _on_installed(self, encoded: bytes) -> None:
        self.members.on_installed(encoded)
        self.happened.append("installed")

    def _on_change(self, membership: Membership) -> None:
        self.roster.membership = membership

    def _outstanding(self) -> int:
        return self.disk.outstanding

    def turn(self) -> None:
        self.desk.flush()
        self.effects.carry_out()
        self.desk.serve_reads()

    def work(self, count: int = 1 << 30) -> None:
        """The disk does its oldest jobs and reports; then a turn."""
        self.effects.on_durable(self.disk.work(count))
        self.turn()

    def settle(self) -> None:
        """Until neither core nor disk has anything left to do."""
        self.turn()
        while self.disk.jobs:
            self.work()

    def lead(self) -> None:
        """Makes this node the leader, with the vote of node 2 if it has peers; all durable."""
        self.core.campaign()
        self.settle()
        if self.core.role is Role.PRE_CANDIDATE:
            self.step(RequestPreVoteReply(sender=2, to=1, term=self.core.term + 1))
            self.settle()
            self.step(RequestVoteReply(sender=2, to=1, term=self.core.term))
            self.settle()
        if self.core.role is not Role.LEADER:
            raise AssertionError(f"this node is a {self.core.role.value}")
        self.sent()

    def acknowledge(self) -> None:
        """Node 2 has everything, so it is committed."""
        last, term = self.core.last_index, self.core.term
        self.step(AppendEntriesReply(sender=2, to=1, term=term, index=last))
        self.settle()
        self.sent()

    def step(self, *messages: Message) -> None:
        for message in messages:
            self.core.step(message)
        self.turn()

    def sent(self) -> list[Message]:
        """Messages to peers since the last call."""
        messages = [m for group in self.outbox._by_peer.values() for m in group]
        self.outbox._by_peer.clear()
        return messages

    def answers(self) -> list[NodeFrame]:
        """Frames to clients since the last call."""
        frames: list[bytes] = []
        self.replies.flush(lambda identity, group: frames.extend(group))
        return [envelope.decode_node_frame(frame) for frame in frames]


def put(number: int) -> bytes:
    return schema.encode_request([schema.put(b"k%d" % number, b"v")])


def get(key: bytes = b"k1") -> bytes:
    return schema.encode_request([schema.range_(key)])


def ask(
    node: Runtime, request_id: int, request: bytes, level: int = ReadLevel.LINEARIZABLE
) -> None:
    node.desk.request(CLIENT, envelope.Request(request_id, level, request))


def errors(node: Runtime) -> list[envelope.Error]:
    found = []
    for answer in node.answers():
        assert isinstance(answer, envelope.Error), answer
        found.append(answer)
    return found


def results(node: Runtime) -> list[int]:
    """Request ids in the order of their answers; an error is none."""
    found = []
    for answer in node.answers():
        assert isinstance(answer, envelope.Results), answer
        found.append(answer.request_id)
    return found
