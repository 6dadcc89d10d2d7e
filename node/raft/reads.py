"""Linearizable reads: which index must be applied before a read may be served (§6.4, dissertation).

Reading order 8 of 12. Reads never enter the log. A read is answered only by a leader that has
committed in its term and has proved, by a quorum's heartbeats or its lease, that it still leads.
"""

from dataclasses import replace

from metastore.node.raft.config import ReadOnly
from metastore.node.raft.heartbeats import broadcast_heartbeats
from metastore.node.raft.messages import HeartbeatReply, ReadIndex, ReadIndexReply
from metastore.node.raft.model import NO_NODE, ReadState, Role
from metastore.node.raft.quorum import joint_commit
from metastore.node.raft.state import RaftState


def on_read_index_as_leader(raft: RaftState, request: ReadIndex) -> None:
    # Until something of our term commits, our commit index may be older than an acknowledged write.
    if not raft.has_committed_in_term:
        raft.reads.parked.append(request)
        return
    if _is_only_voter(raft) or (raft.config.read_only is ReadOnly.LEASE and _holds_lease(raft)):
        return _answer(raft, request, raft.log.commit_index)
    raft.reads.add(raft.log.commit_index, request)
    broadcast_heartbeats(raft)


def lease_index_or_none(raft: RaftState) -> int | None:
    """The index at which a leader may serve a read without any message, as long as clocks run at
    about the same speed (§6.4.1)."""
    if raft.role is not Role.LEADER or not raft.has_committed_in_term:
        return None
    return raft.log.commit_index if _is_only_voter(raft) or _holds_lease(raft) else None


def _is_only_voter(raft: RaftState) -> bool:
    configuration = raft.configuration
    return configuration.is_singleton and raft.id in configuration.voters


def _holds_lease(raft: RaftState) -> bool:
    """Whether no quorum can have elected another leader yet: its members heard from us so recently
    that they ignore candidates. CheckQuorum alone is not enough: it looks once per election
    timeout, and would let a deposed leader serve reads for almost two."""
    # A node told to campaign at once is not stopped by leases, ours included.
    if not raft.config.check_quorum or raft.timeout_now_sent:
        return False
    # Two ticks less: ours may have just begun, the followers' may just end.
    return raft.ticks - raft.reads.lease_tick <= raft.config.election_timeout_ticks - 2


def on_read_index_as_follower(raft: RaftState, request: ReadIndex) -> None:
    """Forwards to the leader, keeping the first asker's name."""
    if raft.leader_id == NO_NODE:
        return raft.drop(request, "no leader to ask for a read index")
    raft.send(replace(request, to=raft.leader_id, sender=request.sender or raft.id))


def on_read_index_as_candidate(raft: RaftState, request: ReadIndex) -> None:
    raft.drop(request, "no leader to ask for a read index")


def on_read_index_reply(raft: RaftState, reply: ReadIndexReply) -> None:
    raft.read_states.append(ReadState(reply.read_index, reply.context))


def acknowledge_read(raft: RaftState, reply: HeartbeatReply) -> None:
    """A follower has seen us lead after the reads up to this sequence were asked."""
    if raft.reads.is_waiting and raft.reads.acknowledge(reply.sender, reply.read_sequence):
        release_confirmed(raft)


def release_confirmed(raft: RaftState) -> None:
    """Answers the reads, and renews the lease, that a quorum of the configuration has confirmed."""
    reads = raft.reads
    if not reads.is_waiting:
        return
    acknowledged = reads.acknowledged

    def confirmed(node: int) -> int:
        return reads.sequence if node == raft.id else acknowledged.get(node, 0)

    configuration = raft.configuration
    # The highest sequence that a quorum has confirmed is found as the commit index is.
    sequence = joint_commit(configuration.voters, configuration.voters_outgoing, confirmed)
    for read in reads.confirm(sequence):
        _answer(raft, read.request, read.read_index)


def release_parked(raft: RaftState) -> None:
    """Starts the reads that waited for the first commit of this term."""
    if raft.reads.parked and raft.has_committed_in_term:
        parked, raft.reads.parked = raft.reads.parked, []
        for request in parked:
            on_read_index_as_leader(raft, request)


def _answer(raft: RaftState, request: ReadIndex, read_index: int) -> None:
    if request.sender in (NO_NODE, raft.id):
        raft.read_states.append(ReadState(read_index, request.context))
        return
    raft.send(
        ReadIndexReply(
            sender=raft.id,
            to=request.sender,
            term=raft.term,
            read_index=read_index,
            context=request.context,
        )
    )
