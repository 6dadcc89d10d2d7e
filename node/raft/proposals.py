"""Proposals: what the leader appends, what others forward or drop (§8), which changes may enter.

Reading order 11 of 12. At most one configuration change is unapplied at any time (§6).
"""

from dataclasses import replace

from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.events import EventKind, describe_change
from metastore.node.raft.messages import Propose
from metastore.node.raft.model import (
    NO_NODE,
    ConfigurationChange,
    Entry,
    EntryType,
    invariant,
)
from metastore.node.raft.replication import broadcast_append
from metastore.node.raft.state import RaftState


def on_propose_as_leader(raft: RaftState, proposal: Propose) -> None:
    """Appends the entries as one batch. Raises ProposalDropped."""
    invariant(bool(proposal.entries), "a proposal without entries")
    if raft.id not in raft.tracker.progress:
        raise ProposalDropped  # removed, and not stepped down
    if raft.transfer_target != NO_NODE:
        raise ProposalDropped  # it would keep the target from ever catching up
    entries = proposal.entries
    pending_change_index = raft.pending_change_index
    for entry in entries:
        if entry.type is not EntryType.NORMAL:
            entries, pending_change_index = _checked(raft, entries)
            break
    raft.append_own(entries)
    raft.pending_change_index = pending_change_index
    broadcast_append(raft)


def on_propose_as_follower(raft: RaftState, proposal: Propose) -> None:
    """Forwards to the leader. Raises ProposalDropped."""
    if raft.leader_id == NO_NODE:
        raft.emit(EventKind.PROPOSAL_WITHOUT_LEADER, term=raft.term)
        raise ProposalDropped
    if raft.config.disable_proposal_forwarding:
        raise ProposalDropped
    raft.send(replace(proposal, to=raft.leader_id, sender=proposal.sender or raft.id))


def on_propose_as_candidate(raft: RaftState, proposal: Propose) -> None:
    """Raises ProposalDropped: nobody leads."""
    raft.emit(EventKind.PROPOSAL_WITHOUT_LEADER, term=raft.term)
    raise ProposalDropped


def _checked(raft: RaftState, entries: tuple[Entry, ...]) -> tuple[tuple[Entry, ...], int]:
    """The entries with refused changes emptied, and the pending change's index afterwards."""
    pending = raft.pending_change_index
    checked: list[Entry] = []
    for index, entry in enumerate(entries, raft.log.last_index + 1):
        if entry.type is EntryType.NORMAL:
            checked.append(entry)
            continue
        try:
            change = ConfigurationChange.decode(entry.data)
        except ValueError:
            # It would fail on every node when applied.
            raise ProposalDropped from None
        reason = _reason_to_refuse(raft, change, pending)
        if reason and not raft.config.disable_change_validation:
            if raft.tracer is not None:
                raft.emit(
                    EventKind.CHANGE_IGNORED,
                    change=describe_change(change),
                    configuration=raft.configuration,
                    reason=reason,
                )
            # Emptied rather than dropped: the proposer learns of it when its index is applied.
            checked.append(Entry(0, 0))
            continue
        pending = index
        checked.append(entry)
    return tuple(checked), pending


def _reason_to_refuse(raft: RaftState, change: ConfigurationChange, pending: int) -> str:
    """Why this change may not enter the log now; empty if it may."""
    applied = raft.log.last_applied
    if pending > applied:
        return f"possible unapplied conf change at index {pending} (applied to {applied})"
    if raft.configuration.is_joint and not change.is_leave_joint:
        return "must transition out of joint config first"
    if not raft.configuration.is_joint and change.is_leave_joint:
        return "not in joint state; refusing empty conf change"
    return ""
