"""Linearizable reads: which index must be applied before a read may be served (§6.4, dissertation).

Reading order 8 of 12. Reads never enter the log. A read is answered only by a leader that has
committed in its term and has proved, by a quorum's heartbeats or its lease, that it still leads.
"""

from dataclasses import replace

from metastore.node.raft.config import ReadOnly
from metastore.node.raft.heartbeats import broadcast_heartbeats
from metastore.node.raft.messages import HeartbeatReply, ReadIndex, ReadIndexReply
from metastore.node.raft.model import NO_NODE, ReadState
from metastore.node.raft.quorum import joint_commit
from metastore.node.raft.state import RaftState


def on_read_index_as_leader(raft: RaftState, request: ReadIndex) -> None:
    # Until something of our term commits, our commit index may be older than an acknowledged write.
    if not raft.has_committed_in_term:
        raft.reads.parked.append(request)
        return
    configuration = raft.configuration
    if configuration.is_singleton and raft.id in configuration.voters:
        return _answer(raft, request, raft.log.commit_index)
    # A node told to campaign at once ignores leases, ours included.
    if raft.config.read_only is ReadOnly.LEASE and not raft.timeout_now_sent:
        return _answer(raft, request, raft.log.commit_index)
    raft.reads.add(raft.log.commit_index, request)
    broadcast_heartbeats(raft)


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
    if raft.reads.pending and raft.reads.acknowledge(reply.sender, reply.read_sequence):
        release_confirmed(raft)


def release_confirmed(raft: RaftState) -> None:
    """Answers the reads that a quorum of the current configuration has confirmed."""
    reads = raft.reads
    if not reads.pending:
        return
    acknowledged = reads.acknowledged

    def confirmed(node: int) -> int:
        return reads.sequence if node == raft.id else acknowledged.get(node, 0)

    configuration = raft.configuration
    # The highest sequence that a quorum has confirmed is found as the commit index is.
    sequence = joint_commit(configuration.voters, configuration.voters_outgoing, confirmed)
    for read in reads.release(sequence):
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
