"""RaftCore: the public face of the core, the only class of this package that a driver needs.

Outside the reading order; on top of it. Checks what comes from outside and lets the rest decide.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

from metastore.node.raft import messages as m
from metastore.node.raft.config import RaftConfig
from metastore.node.raft.configuration import Configuration
from metastore.node.raft.errors import LocalMessageRefused, PeerNotFound, ProposalDropped
from metastore.node.raft.model import (
    APPEND_THREAD,
    APPLY_THREAD,
    NO_NODE,
    ConfigurationChange,
    ConfigurationState,
    Entry,
    EntryType,
    Role,
    invariant,
)
from metastore.node.raft.progress import Progress
from metastore.node.raft.raft import Raft
from metastore.node.raft.reads import lease_index_or_none
from metastore.node.raft.ready import Ready, ReadyMaker

STORAGE_THREADS = (APPEND_THREAD, APPLY_THREAD)
LOCAL = frozenset(
    {
        m.Campaign,
        m.SendHeartbeats,
        m.CheckQuorum,
        m.ReportUnreachable,
        m.ReportSnapshot,
        m.StorageAppend,
        m.StorageAppendReply,
        m.StorageApply,
        m.StorageApplyReply,
    }
)
REPLIES = frozenset(
    {
        m.AppendEntriesReply,
        m.RequestVoteReply,
        m.RequestPreVoteReply,
        m.HeartbeatReply,
        m.ReadIndexReply,
    }
)


@dataclass(frozen=True, slots=True)
class BasicStatus:
    """What a node says about itself at any time; cheap to make."""

    id: int
    term: int
    voted_for: int
    commit_index: int
    last_applied: int
    leader_id: int
    role: Role


@dataclass(frozen=True, slots=True)
class CoreStatus(BasicStatus):
    """With the configuration and, on the leader, a copy of every node's progress."""

    configuration: Configuration
    progress: dict[int, Progress]


class RaftCore:
    """One Raft server: tick, step and propose go in, Ready comes out. For one thread only."""

    def __init__(self, config: RaftConfig) -> None:
        """Raises ValueError on impossible settings, RaftFailed on an impossible stored state."""
        self.raft = Raft(config)
        self._ready_maker = ReadyMaker(self.raft)
        self._async = config.async_storage_writes

    # In

    def tick(self) -> None:
        """One tick of the driver's clock has passed."""
        self.raft.tick()

    def step(self, message: m.Message) -> None:
        """A message from another node, from a storage thread, or (async mode) from oneself.

        Raises ProposalDropped, PeerNotFound, LocalMessageRefused; none of them changes anything.
        """
        kind = type(message)
        if message.sender not in STORAGE_THREADS:
            if kind in LOCAL:
                raise LocalMessageRefused
            if kind in REPLIES and message.sender not in self.raft.tracker.progress:
                raise PeerNotFound
        self.raft.step(message)

    def campaign(self) -> None:
        """Starts an election now, if this node may."""
        self.raft.step(m.Campaign())

    def beat(self) -> None:
        """Sends heartbeats now, if this node leads."""
        self.raft.step(m.SendHeartbeats())

    def propose(self, data: bytes) -> None:
        """Appends (or forwards) one entry. On a leader its index is last_index afterwards. Raises
        ProposalDropped."""
        self.raft.step(m.Propose(entries=(Entry(0, 0, EntryType.NORMAL, data),)))

    def propose_many(self, datas: Sequence[bytes]) -> None:
        """As propose, all in one append. Raises ProposalDropped for all or none."""
        if datas:
            entries = tuple([Entry(0, 0, EntryType.NORMAL, data) for data in datas])
            self.raft.step(m.Propose(entries=entries))

    def propose_change(self, change: ConfigurationChange, v1: bool = False) -> None:
        """Proposes a change; one that cannot be now is appended as an empty entry. Raises
        ProposalDropped, and ValueError for a v1 change that is not exactly one automatic change."""
        if v1 and (len(change.changes) != 1 or change.transition):
            raise ValueError("a v1 change is exactly one change with automatic transition")
        kind = EntryType.CONFIGURATION_V1 if v1 else EntryType.CONFIGURATION
        self.raft.step(m.Propose(entries=(Entry(0, 0, kind, change.encode()),)))

    def apply_change(self, change: ConfigurationChange) -> ConfigurationState:
        """To be called when a committed change is applied. Returns the configuration to remember.
        Raises ChangeRefused, with nothing changed."""
        return self.raft.apply_change(change)

    def transfer_leadership(self, to: int) -> None:
        """Asks the leader to hand over to `to`; nothing is promised."""
        self.raft.step(m.TransferLeadership(sender=to))

    def forget_leader(self) -> None:
        """Makes a follower willing to vote although its leader was heard."""
        self.raft.step(m.ForgetLeader())

    def report_unreachable(self, node_id: int) -> None:
        """The last message to `node_id` was not delivered."""
        self.raft.step(m.ReportUnreachable(sender=node_id))

    def report_snapshot(self, node_id: int, ok: bool) -> None:
        """The transfer of a snapshot to `node_id` ended."""
        self.raft.step(m.ReportSnapshot(sender=node_id, rejected=not ok))

    def read_index(self, context: bytes) -> None:
        """Asks for a read index; it comes as a ReadState with this context, or never (no leader, a
        change of leader, a lost message): the driver must be ready to ask again."""
        self.raft.step(m.ReadIndex(context=context))

    # Out

    def has_ready(self) -> bool:
        return self._ready_maker.has_ready()

    def ready(self) -> Ready:
        """What to do now; it counts as taken over. In sync mode advance() must follow each."""
        return self._ready_maker.make()

    def advance(self) -> None:
        """Sync mode: the last Ready has been carried out."""
        invariant(not self._async, "advance() belongs to sync mode")
        for message in self._ready_maker.advance():
            try:
                self.raft.step(message)
            except ProposalDropped:  # pragma: no cover - no local step proposes
                continue

    # About

    def basic_status(self) -> BasicStatus:
        return BasicStatus(*self._basics())

    def status(self) -> CoreStatus:
        raft = self.raft
        progress = deepcopy(raft.tracker.progress) if raft.role is Role.LEADER else {}
        return CoreStatus(*self._basics(), raft.configuration, progress)

    def _basics(self) -> tuple[int, int, int, int, int, int, Role]:
        raft, log = self.raft, self.raft.log
        return (
            raft.id,
            raft.term,
            raft.voted_for,
            log.commit_index,
            log.last_applied,
            raft.leader_id,
            raft.role,
        )

    def lease_index_or_none(self) -> int | None:
        """On a leader that holds its lease and has committed in its term: the index at which a read
        may be served without any message. Missed ticks must be made up for before asking."""
        return lease_index_or_none(self.raft)

    @property
    def may_propose_change(self) -> bool:
        """On a leader: whether a change of the configuration would be taken now. The entry of its
        own term must be committed, or two leaders' changes could both be (the flaw of 2015 in the
        single-server changes of the dissertation, §4)."""
        raft = self.raft
        is_settled = raft.pending_change_index <= raft.log.last_applied
        is_free = raft.transfer_target == NO_NODE and not raft.configuration.is_joint
        return is_settled and is_free and raft.has_committed_in_term

    def match_index_or_none(self, node_id: int) -> int | None:
        """On a leader: up to where a member of the configuration has the log."""
        progress = self.raft.tracker.progress.get(node_id)
        return None if progress is None else progress.match_index

    @property
    def transfer_target(self) -> int:
        """Whom the leader is handing over to; NO_NODE if to nobody (any more)."""
        return self.raft.transfer_target

    def end_lease(self) -> None:
        """Must be called when ticks were skipped (after a pause of the process): the lease counts
        in ticks, and others may have elected a leader meanwhile."""
        self.raft.reads.end_lease()

    @property
    def id(self) -> int:
        return self.raft.id

    @property
    def term(self) -> int:
        return self.raft.term

    @property
    def leader_id(self) -> int:
        return self.raft.leader_id

    @property
    def role(self) -> Role:
        return self.raft.role

    @property
    def commit_index(self) -> int:
        return self.raft.log.commit_index

    @property
    def last_index(self) -> int:
        return self.raft.log.last_index

    @property
    def last_applied(self) -> int:
        return self.raft.log.last_applied

    def set_randomized_election_timeout(self, ticks: int) -> None:
        """For tests: holds until the next change of role or term draws a new one."""
        self.raft.randomized_election_timeout = ticks
