"""One Raft server: the term rule, and the tables that say which handler takes which message.

Reading order 12 of 12: start here for the overview. Computes and never waits: no clock, no socket,
no disk. Effects are collected in the state and leave through ready.py.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeAlias

from metastore.node.raft import (
    durability,
    elections,
    heartbeats,
    leadership,
    membership,
    proposals,
    reads,
    replication,
    snapshotting,
)
from metastore.node.raft import messages as m
from metastore.node.raft.events import EventKind
from metastore.node.raft.model import NO_NODE, ConfigurationChange, ConfigurationState, Role
from metastore.node.raft.state import RaftState

Handler: TypeAlias = Callable[[Any, Any], None]


class Verdict(Enum):
    CURRENT = "current"
    STALE = "stale"  # already dealt with


def ignore(_raft: RaftState, _message: m.Message) -> None:
    """Normal here and without effect: an answer that came after its question was settled."""


def drop(raft: RaftState, message: m.Message) -> None:
    raft.drop(message, f"not for a {raft.role.value}")


def recognise_leader(handler: Handler) -> Handler:
    """For messages only a leader of this term sends: whoever sends them leads."""

    def recognised(raft: RaftState, message: m.Message) -> None:
        if raft.role is not Role.FOLLOWER:
            raft.become_follower(raft.term, message.sender)
        raft.election_elapsed = 0
        raft.leader_id = message.sender
        handler(raft, message)

    return recognised


EVERY_ROLE: dict[type[m.Message], Handler] = {
    m.AppendEntriesReply: ignore,
    m.HeartbeatReply: ignore,
    m.RequestVoteReply: ignore,
    m.RequestPreVoteReply: ignore,
    m.ForgetLeader: ignore,
    m.Campaign: elections.on_campaign,
    m.RequestVote: elections.on_vote_request,
    m.RequestPreVote: elections.on_vote_request,
    m.StorageAppendReply: durability.on_storage_append_reply,
    m.StorageApplyReply: durability.on_storage_apply_reply,
}
FOLLOWER: dict[type[m.Message], Handler] = EVERY_ROLE | {
    m.AppendEntries: recognise_leader(replication.on_append_entries),
    m.Heartbeat: recognise_leader(heartbeats.on_heartbeat),
    m.InstallSnapshot: recognise_leader(snapshotting.on_install_snapshot),
    m.Propose: proposals.on_propose_as_follower,
    m.ReadIndex: reads.on_read_index_as_follower,
    m.ReadIndexReply: reads.on_read_index_reply,
    m.TransferLeadership: leadership.on_transfer_as_follower,
    m.ForgetLeader: leadership.on_forget_leader,
    m.TimeoutNow: elections.on_timeout_now,
}
CANDIDATE: dict[type[m.Message], Handler] = EVERY_ROLE | {
    m.AppendEntries: recognise_leader(replication.on_append_entries),
    m.Heartbeat: recognise_leader(heartbeats.on_heartbeat),
    m.InstallSnapshot: recognise_leader(snapshotting.on_install_snapshot),
    m.RequestVoteReply: elections.on_vote_reply,
    m.RequestPreVoteReply: elections.on_vote_reply,
    m.Propose: proposals.on_propose_as_candidate,
    m.ReadIndex: reads.on_read_index_as_candidate,
}
LEADER: dict[type[m.Message], Handler] = EVERY_ROLE | {
    m.AppendEntriesReply: replication.on_append_reply,
    m.HeartbeatReply: replication.on_heartbeat_reply,
    m.Propose: proposals.on_propose_as_leader,
    m.ReadIndex: reads.on_read_index_as_leader,
    m.SendHeartbeats: heartbeats.on_send_heartbeats,
    m.CheckQuorum: leadership.on_check_quorum,
    m.ReportUnreachable: replication.on_unreachable,
    m.ReportSnapshot: snapshotting.on_report_snapshot,
    m.TransferLeadership: leadership.on_transfer_as_leader,
}
HANDLERS: dict[Role, dict[type[m.Message], Handler]] = {
    Role.FOLLOWER: FOLLOWER,
    Role.PRE_CANDIDATE: CANDIDATE,
    Role.CANDIDATE: CANDIDATE,
    Role.LEADER: LEADER,
}
FROM_A_LEADER = frozenset({m.AppendEntries, m.Heartbeat, m.InstallSnapshot})


class Raft(RaftState):
    """The whole server: state, time, dispatch."""

    def step(self, message: m.Message) -> None:
        """Handles one message. Raises ProposalDropped (from Propose only)."""
        # Term 0: local, or a request that is valid in any term.
        if (
            message.term
            and message.term != self.term
            and self._observe_term(message) is (Verdict.STALE)
        ):
            return
        HANDLERS[self.role].get(type(message), drop)(self, message)

    def tick(self) -> None:
        """One tick of the clock has passed."""
        self.ticks += 1
        self.election_elapsed += 1
        if self.role is Role.LEADER:
            self._tick_as_leader()
        elif self.election_elapsed >= self.randomized_election_timeout and self.is_promotable:
            self.election_elapsed = 0
            self.step(m.Campaign(sender=self.id, to=self.id))

    def _tick_as_leader(self) -> None:
        self.heartbeat_elapsed += 1
        if self.election_elapsed >= self.config.election_timeout_ticks:
            self.election_elapsed = 0
            if self.config.check_quorum:
                self.step(m.CheckQuorum(sender=self.id, to=self.id))
            # The target had a whole election timeout; clients must not wait any longer.
            self.transfer_target = NO_NODE
        if self.role is Role.LEADER and self.heartbeat_elapsed >= self.config.heartbeat_ticks:
            self.heartbeat_elapsed = 0
            self.step(m.SendHeartbeats(sender=self.id, to=self.id))

    def apply_change(self, change: ConfigurationChange) -> ConfigurationState:
        """Applies a committed change. Raises ChangeRefused."""
        return membership.apply_change(self, change)

    # The term rule: the only place that compares terms (§5.1).

    def _observe_term(self, message: m.Message) -> Verdict:
        if message.term < self.term:
            self._on_lower_term(message)
            return Verdict.STALE
        if isinstance(message, m.RequestVote | m.RequestPreVote):
            if elections.is_barred_by_lease(self, message):
                return Verdict.STALE
            if type(message) is m.RequestPreVote:
                return Verdict.CURRENT  # asks about a term that nobody has yet
        if type(message) is m.RequestPreVoteReply and not message.rejected:
            return Verdict.CURRENT  # grants the term we asked about
        self.emit(
            EventKind.HIGHER_TERM_SEEN,
            own_term=self.term,
            type=message.name,
            sender=message.sender,
            term=message.term,
        )
        is_leader = type(message) in FROM_A_LEADER
        self.become_follower(message.term, message.sender if is_leader else NO_NODE)
        return Verdict.CURRENT

    def _on_lower_term(self, message: m.Message) -> None:
        if isinstance(message, m.AppendEntries | m.Heartbeat) and (
            self.config.check_quorum or self.config.pre_vote
        ):
            # A leader that our lease or pre-vote keeps from hearing of our term would lead for ever
            # without us; the answer deposes it. Without those options our campaign already did.
            self.send(m.AppendEntriesReply(sender=self.id, to=message.sender, term=self.term))
        elif isinstance(message, m.RequestPreVote):
            # Silence would dead-lock a cluster that is migrating to PreVote.
            elections.refuse_vote(self, message)
        elif isinstance(message, m.StorageAppendReply):
            durability.on_stale_storage_append_reply(self, message)
        else:
            self.emit(
                EventKind.LOWER_TERM_IGNORED,
                own_term=self.term,
                type=message.name,
                sender=message.sender,
                term=message.term,
            )
