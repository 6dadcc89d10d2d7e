"""Heartbeats: the leader's claim to office, and what a follower does on hearing it (§5.2).

Reading order 7 of 12. Heartbeats carry no log position; the replies are handled in replication.py.
"""

from metastore.node.raft.messages import Heartbeat, HeartbeatReply, SendHeartbeats
from metastore.node.raft.state import RaftState


def on_send_heartbeats(raft: RaftState, _message: SendHeartbeats) -> None:
    """The heartbeat timer has run out."""
    if raft.config.check_quorum:
        raft.reads.begin_round(raft.ticks)
    broadcast_heartbeats(raft)


def broadcast_heartbeats(raft: RaftState) -> None:
    """One to every other tracked node; also confirms the pending reads."""
    commit_index = raft.log.commit_index
    sequence = raft.reads.sequence_to_confirm
    for node in raft.tracker.ids:
        if node == raft.id:
            continue
        progress = raft.tracker.progress[node]
        # Never beyond what the follower is known to hold: it would commit entries that conflict.
        commit = min(progress.match_index, commit_index)
        raft.send(
            Heartbeat(
                sender=raft.id,
                to=node,
                term=raft.term,
                commit_index=commit,
                read_sequence=sequence,
            )
        )
        progress.sent_commit = commit


def on_heartbeat(raft: RaftState, heartbeat: Heartbeat) -> None:
    """A follower's answer; the caller has already recognised the leader."""
    raft.log.commit_to(heartbeat.commit_index)
    raft.send(
        HeartbeatReply(
            sender=raft.id,
            to=heartbeat.sender,
            term=raft.term,
            read_sequence=heartbeat.read_sequence,
        )
    )
