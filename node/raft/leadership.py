"""Keeping, giving away and forgetting leadership: CheckQuorum, transfer, forget-leader (§3.10 and
§6.2 of the dissertation).

Reading order 11 of 12, beside elections.py.
"""

from dataclasses import replace

from metastore.node.raft.config import ReadOnly
from metastore.node.raft.events import EventKind
from metastore.node.raft.messages import CheckQuorum, ForgetLeader, TransferLeadership
from metastore.node.raft.model import NO_NODE
from metastore.node.raft.replication import known_sender, maybe_send_append, send_timeout_now
from metastore.node.raft.state import RaftState


def on_check_quorum(raft: RaftState, _message: CheckQuorum) -> None:
    """A leader that a majority no longer answers must not keep its clients waiting (§6.2)."""
    if not raft.tracker.quorum_active():
        raft.emit(EventKind.QUORUM_LOST)
        raft.become_follower(raft.term, NO_NODE)
    for node, progress in raft.tracker.progress.items():
        if node != raft.id:
            progress.recently_active = False


def on_transfer_as_leader(raft: RaftState, message: TransferLeadership) -> None:
    target = message.sender
    progress = known_sender(raft, message)
    if progress is None:
        return
    if progress.is_learner:
        return raft.drop(message, "a learner cannot lead")
    if raft.transfer_target == target:
        return raft.drop(message, "this transfer is already pending")
    raft.transfer_target = NO_NODE  # a new wish ends the old one, even if it is to stay
    if target == raft.id:
        return raft.drop(message, "already the leader")
    raft.emit(EventKind.TRANSFER_STARTED, term=raft.term, to=target)
    raft.election_elapsed = 0  # the transfer may take one election timeout
    raft.transfer_target = target
    if progress.match_index == raft.log.last_index:
        send_timeout_now(raft, target)
        raft.emit(EventKind.TIMEOUT_NOW_SENT, to=target)
    else:
        maybe_send_append(raft, target)


def on_transfer_as_follower(raft: RaftState, message: TransferLeadership) -> None:
    if raft.leader_id == NO_NODE:
        return raft.drop(message, "no leader to ask for a transfer")
    # The sender stays the node that shall lead.
    raft.send(replace(message, to=raft.leader_id, term=raft.term))


def on_forget_leader(raft: RaftState, _message: ForgetLeader) -> None:
    """Lets this follower vote although it heard from its leader; term and timer stay."""
    if raft.config.read_only is ReadOnly.LEASE:
        # The leader's lease counts on our silence.
        return raft.emit(EventKind.FORGET_LEADER_REFUSED)
    if raft.leader_id != NO_NODE:
        raft.emit(EventKind.LEADER_FORGOTTEN, leader=raft.leader_id, term=raft.term)
        raft.leader_id = NO_NODE
