"""Elections: who may become leader, and when (§5.2, §5.4.1; PreVote: §9.6 of the dissertation).

Reading order 11 of 12. One's own vote is a message like any other: it counts when it is durable.
"""

from metastore.node.raft.events import EventKind
from metastore.node.raft.messages import (
    Campaign,
    Message,
    RequestPreVote,
    RequestPreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from metastore.node.raft.model import NO_NODE, Entry, EntryType, Role
from metastore.node.raft.quorum import VoteResult
from metastore.node.raft.replication import broadcast_append
from metastore.node.raft.state import RaftState

AnyVoteRequest = RequestVote | RequestPreVote
AnyVoteReply = RequestVoteReply | RequestPreVoteReply


class _ChangeFound(Exception):
    """Ends a scan of the log."""


def on_campaign(raft: RaftState, message: Campaign) -> None:
    """An election is due."""
    maybe_campaign(raft, pre_vote=raft.config.pre_vote, forced=False, cause=message)


def on_timeout_now(raft: RaftState, message: TimeoutNow) -> None:
    """The leader hands over. No pre-vote, no lease: it wants to be replaced (§3.10)."""
    raft.emit(EventKind.TIMEOUT_NOW_RECEIVED, term=raft.term, sender=message.sender)
    maybe_campaign(raft, pre_vote=False, forced=True, cause=message)


def maybe_campaign(raft: RaftState, *, pre_vote: bool, forced: bool, cause: Message) -> None:
    if raft.role is Role.LEADER:
        return raft.drop(cause, "already the leader")
    if not raft.is_promotable:
        return raft.emit(EventKind.UNPROMOTABLE)
    if _has_unapplied_change(raft):
        # It would count votes by a configuration that is already history (etcd#12133).
        return raft.emit(EventKind.UNAPPLIED_CHANGE_BLOCKS_CAMPAIGN, term=raft.term)
    raft.emit(EventKind.ELECTION_STARTED, term=raft.term)
    _campaign(raft, pre_vote=pre_vote, forced=forced)


def _has_unapplied_change(raft: RaftState) -> bool:
    def visit(page: tuple[Entry, ...]) -> None:
        if any(entry.type is not EntryType.NORMAL for entry in page):
            raise _ChangeFound

    log = raft.log
    try:
        log.scan(
            log.last_applied + 1,
            log.commit_index + 1,
            raft.config.committed_bytes_max,
            visit,
        )
    except _ChangeFound:
        return True
    return False


def _campaign(raft: RaftState, *, pre_vote: bool, forced: bool) -> None:
    """Asks every voter, oneself included."""
    request_class: type[AnyVoteRequest]
    reply_class: type[AnyVoteReply]
    if pre_vote:
        raft.become_pre_candidate()
        term, request_class, reply_class = raft.term + 1, RequestPreVote, RequestPreVoteReply
    else:
        raft.become_candidate()
        term, request_class, reply_class = raft.term, RequestVote, RequestVoteReply
    last_index, last_term = raft.log.last_index, raft.log.last_term
    for voter in sorted(raft.configuration.all_voters):
        if voter == raft.id:
            raft.send(reply_class(sender=raft.id, to=raft.id, term=term))
            continue
        raft.emit(
            EventKind.VOTE_REQUESTED,
            last_term=last_term,
            last_index=last_index,
            type=request_class.name,
            to=voter,
            term=raft.term,
        )
        raft.send(
            request_class(
                sender=raft.id,
                to=voter,
                term=term,
                last_log_index=last_index,
                last_log_term=last_term,
                forced=forced,
            )
        )


def on_vote_request(raft: RaftState, request: AnyVoteRequest) -> None:
    """One vote per term, first come, first served, and only for a log that is not behind ours."""
    is_pre_vote = type(request) is RequestPreVote
    can_vote = (
        raft.voted_for == request.sender
        or (raft.voted_for == NO_NODE and raft.leader_id == NO_NODE)
        # A pre-vote promises nothing, so any number of them may be granted.
        or (is_pre_vote and request.term > raft.term)
    )
    if not can_vote or not raft.log.is_up_to_date(request.last_log_term, request.last_log_index):
        return refuse_vote(raft, request)
    _emit_on_request(raft, EventKind.VOTE_CAST, request)
    # The term asked for, which may be above ours: else a granted pre-vote would look stale.
    if is_pre_vote:
        reply: AnyVoteReply = RequestPreVoteReply(
            sender=raft.id, to=request.sender, term=request.term
        )
    else:
        reply = RequestVoteReply(sender=raft.id, to=request.sender, term=request.term)
        raft.election_elapsed = 0
        raft.voted_for = request.sender
    raft.send(reply)


def refuse_vote(raft: RaftState, request: AnyVoteRequest) -> None:
    """Answers with our own term, from which a stale candidate learns it."""
    _emit_on_request(raft, EventKind.VOTE_REFUSED, request)
    reply_class = RequestPreVoteReply if type(request) is RequestPreVote else RequestVoteReply
    raft.send(reply_class(sender=raft.id, to=request.sender, term=raft.term, rejected=True))


def is_barred_by_lease(raft: RaftState, request: AnyVoteRequest) -> bool:
    """Whether we heard from a leader so recently that no election may disturb it (§4.2.3)."""
    remaining = raft.config.election_timeout_ticks - raft.election_elapsed
    if (
        request.forced
        or not raft.config.check_quorum
        or raft.leader_id == NO_NODE
        or remaining <= 0
    ):
        return False
    _emit_on_request(raft, EventKind.VOTE_IGNORED_BY_LEASE, request, remaining=remaining)
    return True


def _emit_on_request(
    raft: RaftState, kind: EventKind, request: AnyVoteRequest, **more: int
) -> None:
    raft.emit(
        kind,
        last_term=raft.log.last_term,
        last_index=raft.log.last_index,
        voted_for=raft.voted_for,
        type=request.name,
        sender=request.sender,
        their_term=request.last_log_term,
        their_index=request.last_log_index,
        term=raft.term,
        **more,
    )


def on_vote_reply(raft: RaftState, reply: AnyVoteReply) -> None:
    """Counts the answers that belong to the present candidacy; the first of each node stands."""
    expected = RequestPreVoteReply if raft.role is Role.PRE_CANDIDATE else RequestVoteReply
    if type(reply) is not expected:
        return  # answers an earlier candidacy
    kind = EventKind.VOTE_REFUSAL_RECEIVED if reply.rejected else EventKind.VOTE_RECEIVED
    raft.emit(kind, type=reply.name, sender=reply.sender, term=raft.term)
    raft.tracker.record_vote(reply.sender, not reply.rejected)
    granted, rejected, result = raft.tracker.tally()
    raft.emit(EventKind.VOTES_COUNTED, granted=granted, type=reply.name, rejected=rejected)
    if result is VoteResult.WON:
        if raft.role is Role.PRE_CANDIDATE:
            return _campaign(raft, pre_vote=False, forced=False)
        raft.become_leader()
        broadcast_append(raft)
    elif result is VoteResult.LOST:
        # Also a lost pre-vote at term+1: our own term was never raised (§9.6).
        raft.become_follower(raft.term, NO_NODE)
