"""The state of one Raft server, grouped as in Figure 2 of the paper, and how it changes its role.

Reading order 6 of 12: after log.py and configuration.py, before every handler. Decides no message;
handlers are functions in the modules that follow and take this state as their first argument.
"""

from collections.abc import Sequence
from typing import Any

from metastore.node.raft.changes import Changer, restore
from metastore.node.raft.config import RaftConfig
from metastore.node.raft.configuration import Configuration, Tracker
from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.events import EventKind
from metastore.node.raft.log import RaftLog
from metastore.node.raft.messages import (
    AppendEntriesReply,
    Message,
    RequestPreVoteReply,
    RequestVoteReply,
)
from metastore.node.raft.model import (
    NO_NODE,
    ConfigurationState,
    Entry,
    HardState,
    ReadState,
    Role,
    SoftState,
    invariant,
)
from metastore.node.raft.progress import Progress
from metastore.node.raft.read_queue import ReadQueue

# These promise something about our disk: they may leave only once it is there (§5.2 of the paper).
PROMISES = frozenset({AppendEntriesReply, RequestVoteReply, RequestPreVoteReply})


def _nobody_listens(_kind: EventKind, _fields: dict[str, Any]) -> None:
    """Stands in for a tracer that was not given."""


class RaftState:
    """All a server knows. Handlers read and write the fields; only this class changes roles."""

    def __init__(self, config: RaftConfig) -> None:
        config.check()
        self.config = config
        self.id = config.id
        self.tracer = config.tracer
        hard_state, configuration_state = config.storage.initial_state()

        # Persistent on all servers: durable before any promise leaves.
        self.term = 0
        self.voted_for = NO_NODE  # at most one candidate per term
        # The log also keeps the volatile last_applied <= commit_index <= last_index.
        self.log = RaftLog(
            config.storage, config.committed_bytes_max, config.tracer or _nobody_listens
        )

        # Volatile on all servers
        self.role: Role = Role.FOLLOWER
        self.leader_id = NO_NODE
        self.read_states: list[ReadState] = []

        self._declare_leader_state_and_time()

        # Effects, taken by Ready
        self.messages: list[Message] = []
        self.messages_after_append: list[Message] = []
        self.drops: dict[str, int] = {}  # reason -> how often a message was dropped for it

        self._begin(hard_state, configuration_state)

    def _declare_leader_state_and_time(self) -> None:
        # Volatile on leaders, rebuilt at every change of term
        self.tracker = Tracker(self.config.max_inflight_count, self.config.max_inflight_bytes)
        self.pending_change_index = 0  # no second change is appended before this one is applied
        self.uncommitted_bytes = 0  # data of our own entries that are not applied yet
        self.transfer_target = NO_NODE
        self.timeout_now_sent = False  # then somebody may win in spite of our lease

        # Time, in ticks
        self.ticks = 0  # since the start
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.randomized_election_timeout = self.config.election_timeout_ticks

        # Linearizable reads of this term's leader
        self.reads = ReadQueue(self.ticks)

    def _begin(self, hard_state: HardState, configuration_state: ConfigurationState) -> None:
        """Continues from what the storage remembers (§5.2: servers start as followers)."""
        self.install_configuration(*self.restored_configuration(configuration_state))
        if not hard_state.is_empty:
            # Below the log's start is fine: what is compacted was committed, but a commit index
            # alone forces no sync and may be older on disk.
            invariant(
                hard_state.commit_index <= self.log.last_index,
                f"the stored commit index {hard_state.commit_index} is beyond the last entry "
                f"{self.log.last_index}: the log lost entries",
            )
            self.log.commit_to(hard_state.commit_index)
            self.term = hard_state.term
            self.voted_for = hard_state.voted_for
        if self.config.applied > 0:
            # What is applied was committed, even if the state machine's disk was ahead of the log's
            # and the commit index of that moment never became durable.
            self.log.commit_to(self.config.applied)
            self.log.applied_to(self.config.applied, 0)
        self.become_follower(self.term, NO_NODE)
        self.emit(
            EventKind.STARTED,
            peers=",".join(f"{node:x}" for node in sorted(self.configuration.all_voters)),
            term=self.term,
            commit=self.log.commit_index,
            applied=self.log.last_applied,
            last_index=self.log.last_index,
            last_term=self.log.last_term,
        )

    # What others ask

    @property
    def configuration(self) -> Configuration:
        return self.tracker.configuration

    @property
    def hard_state(self) -> HardState:
        return HardState(self.term, self.voted_for, self.log.commit_index)

    @property
    def soft_state(self) -> SoftState:
        return SoftState(self.leader_id, self.role)

    @property
    def is_promotable(self) -> bool:
        """A voter of its own configuration, no witness, and not in the middle of a snapshot."""
        own = self.tracker.progress.get(self.id)
        is_voter = own is not None and not own.is_learner and not self.log.has_pending_snapshot
        return is_voter and not self.config.never_campaigns

    @property
    def has_committed_in_term(self) -> bool:
        """Before that, a new leader's commit index may be older than what was promised (§6.4)."""
        return self.log.term_or_zero(self.log.commit_index) == self.term

    # Effects

    def emit(self, kind: EventKind, **fields: Any) -> None:
        if self.tracer is not None:
            fields["id"] = self.id
            self.tracer(kind, fields)

    def drop(self, message: Message, reason: str) -> None:
        """Counts and tells why a message has no effect."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if self.tracer is not None:
            self.emit(EventKind.DROPPED, type=message.name, sender=message.sender, reason=reason)

    def send(self, message: Message) -> None:
        if type(message) in PROMISES:
            self.messages_after_append.append(message)
            return
        invariant(message.to != self.id, f"{message.name} is addressed to its own sender")
        self.messages.append(message)

    # Roles

    def reset(self, term: int) -> None:
        """A clean start in `term`, before taking any role other than pre-candidate."""
        if term != self.term:
            invariant(term > self.term, "the term goes backwards")
            self.term = term
            self.voted_for = NO_NODE
        self.leader_id = NO_NODE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        ticks = self.config.election_timeout_ticks
        self.randomized_election_timeout = ticks + self.config.random.randrange(ticks)
        self.transfer_target = NO_NODE
        self.timeout_now_sent = False
        self.pending_change_index = 0
        self.uncommitted_bytes = 0
        self.reads = ReadQueue(self.ticks)
        self.tracker.reset_votes()
        last_index = self.log.last_index
        for node, old in self.tracker.progress.items():
            self.tracker.progress[node] = Progress(
                self.tracker.new_inflights(),
                match_index=last_index if node == self.id else 0,
                next_index=last_index + 1,
                is_learner=old.is_learner,
            )

    def become_follower(self, term: int, leader_id: int) -> None:
        self.reset(term)
        self.leader_id = leader_id
        self.role = Role.FOLLOWER
        self.emit(EventKind.BECAME_FOLLOWER, term=self.term)

    def become_pre_candidate(self) -> None:
        """Asks whether it could win; term and vote stay (§9.6 of the dissertation)."""
        invariant(self.role is not Role.LEADER, "a leader cannot become pre-candidate")
        self.tracker.reset_votes()
        self.leader_id = NO_NODE
        self.role = Role.PRE_CANDIDATE
        self.emit(EventKind.BECAME_PRE_CANDIDATE, term=self.term)

    def become_candidate(self) -> None:
        invariant(self.role is not Role.LEADER, "a leader cannot become candidate")
        self.reset(self.term + 1)
        self.voted_for = self.id
        self.role = Role.CANDIDATE
        self.emit(EventKind.BECAME_CANDIDATE, term=self.term)

    def become_leader(self) -> None:
        """Takes office and appends the empty entry that lets older entries commit (§8)."""
        invariant(self.role is not Role.FOLLOWER, "a follower cannot become leader")
        self.reset(self.term)
        self.leader_id = self.id
        self.role = Role.LEADER
        own = self.tracker.progress[self.id]
        own.become_replicate()
        own.recently_active = True
        # Any change in the log may still be unapplied, and finding out would need a scan.
        self.pending_change_index = self.log.last_index
        self.append_own((Entry(0, 0),))
        self.emit(EventKind.BECAME_LEADER, term=self.term)

    # The leader's own log

    def append_own(self, entries: Sequence[Entry]) -> None:
        """Appends entries under the current term, and acknowledges them to oneself once stable.

        Raises ProposalDropped if too much of our own data is still unapplied; a first proposal and
        empty entries always pass, so that no limit can stop the log for good.
        """
        bytes_new = sum([len(entry.data) for entry in entries])
        bytes_total = self.uncommitted_bytes + bytes_new
        if self.uncommitted_bytes and bytes_new and bytes_total > self.config.uncommitted_bytes_max:
            raise ProposalDropped
        self.uncommitted_bytes = bytes_total
        first, term = self.log.last_index + 1, self.term
        last_index = self.log.append(
            [
                Entry(term, index, entry.type, entry.data)
                for index, entry in enumerate(entries, first)
            ]
        )
        self.send(AppendEntriesReply(sender=self.id, to=self.id, term=term, index=last_index))

    # Configuration

    def restored_configuration(
        self, state: ConfigurationState
    ) -> tuple[Configuration, dict[int, Progress]]:
        """Configuration and fresh progress for a stored configuration state."""
        return restore(
            state,
            self.log.last_index,
            self.config.max_inflight_count,
            self.config.max_inflight_bytes,
        )

    def changer(self) -> Changer:
        """Computes changes of the present configuration, on copies."""
        return Changer(
            self.configuration,
            self.tracker.progress,
            self.log.last_index,
            self.config.max_inflight_count,
            self.config.max_inflight_bytes,
        )

    def install_configuration(
        self, configuration: Configuration, progress: dict[int, Progress]
    ) -> None:
        """Makes it the current one; what a leader does about it is in membership.py."""
        self.tracker.install(configuration, progress)
        self.emit(EventKind.CONFIGURATION_SWITCHED, configuration=configuration)
