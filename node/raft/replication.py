"""Log replication: the leader's appends, what replies teach it, and the follower's answers (§5.3).

Reading order 10 of 12. Each reply is handled on its own; nothing here looks at the whole log.
"""

from metastore.node.raft.events import EventKind
from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    HeartbeatReply,
    Message,
    ReportUnreachable,
    TimeoutNow,
)
from metastore.node.raft.model import Entry
from metastore.node.raft.progress import Progress, ProgressState
from metastore.node.raft.reads import acknowledge_read, release_parked
from metastore.node.raft.snapshotting import maybe_send_snapshot
from metastore.node.raft.state import RaftState
from metastore.node.raft.storage import Compacted, Unavailable

# Leader


def broadcast_append(raft: RaftState) -> None:
    """To every other tracked node, even without entries: it also tells the commit index."""
    for node in raft.tracker.ids:
        if node != raft.id:
            maybe_send_append(raft, node)


def maybe_send_append(raft: RaftState, to: int, *, even_empty: bool = True) -> bool:
    """Sends what fits of the entries `to` lacks, or a snapshot; False if nothing was sent."""
    progress = raft.tracker.progress[to]
    if progress.is_paused:
        return False
    log = raft.log
    prev_log_index = progress.next_index - 1
    entries: tuple[Entry, ...] = ()
    try:
        prev_log_term = log.term(prev_log_index)
        # A full window still lets empty appends out: they carry the commit index.
        if progress.state is not ProgressState.REPLICATE or not progress.inflights.is_full:
            entries = log.entries(progress.next_index, raft.config.max_append_bytes)
    except (Compacted, Unavailable):
        return maybe_send_snapshot(raft, to, progress)
    if not entries and not even_empty:
        return False
    raft.send(
        AppendEntries(
            sender=raft.id,
            to=to,
            term=raft.term,
            prev_log_index=prev_log_index,
            prev_log_term=prev_log_term,
            entries=entries,
            commit_index=log.commit_index,
        )
    )
    progress.sent_entries(len(entries), sum([len(entry.data) for entry in entries]))
    progress.sent_commit = log.commit_index
    return True


def advance_commit(raft: RaftState) -> bool:
    """Commits what a quorum holds, if it is of our own term (§5.4.2), and tells everyone."""
    if not raft.log.maybe_commit(raft.tracker.commit_index(), raft.term):
        return False
    release_parked(raft)
    broadcast_append(raft)
    return True


def on_append_reply(raft: RaftState, reply: AppendEntriesReply) -> None:
    progress = known_sender(raft, reply)
    if progress is None:
        return
    progress.recently_active = True
    if reply.rejected:
        return _on_append_rejected(raft, reply, progress)
    if reply.index > raft.log.last_index:
        return raft.drop(reply, "acknowledges an entry that we never had")
    grew = progress.maybe_update(reply.index)
    confirms_probe = progress.match_index == reply.index and progress.state is ProgressState.PROBE
    if not grew and not confirms_probe:
        return
    _on_match(raft, reply, progress)
    is_self = reply.sender == raft.id
    if not advance_commit(raft) and not is_self and progress.can_bump_commit(raft.log.commit_index):
        maybe_send_append(raft, reply.sender)
    if is_self:
        return
    # Room in the window lets out as many messages as fit, not only one.
    while maybe_send_append(raft, reply.sender, even_empty=False):
        pass
    if reply.sender == raft.transfer_target and progress.match_index == raft.log.last_index:
        send_timeout_now(raft, reply.sender)


def _on_match(raft: RaftState, reply: AppendEntriesReply, progress: Progress) -> None:
    """The follower holds our log up to reply.index."""
    if progress.state is ProgressState.REPLICATE:
        progress.inflights.free_to(reply.index)
    elif progress.state is ProgressState.PROBE:
        progress.become_replicate()
    elif progress.match_index + 1 >= raft.log.first_index:
        # Any index that our log continues will do, not only that of the snapshot we sent.
        if raft.tracer is not None:
            raft.emit(EventKind.SNAPSHOT_RECOVERED, peer=reply.sender, progress=str(progress))
        progress.become_probe()
        progress.become_replicate()
    elif progress.match_index >= progress.pending_snapshot:
        # It landed, but our log has been compacted past it meanwhile: probing finds that out and
        # sends a newer one. Waiting for a report instead would starve a slow follower.
        progress.become_probe()


def _on_append_rejected(raft: RaftState, reply: AppendEntriesReply, progress: Progress) -> None:
    if raft.tracer is not None:
        raft.emit(
            EventKind.APPEND_REJECTION_RECEIVED,
            hint_index=reply.hint_index,
            hint_term=reply.hint_term,
            sender=reply.sender,
            index=reply.index,
        )
    probe_index = reply.hint_index
    if reply.hint_term > 0:
        # One probe per term instead of one per entry (§5.3, end).
        probe_index, _ = raft.log.find_conflict_by_term(reply.hint_index, reply.hint_term)
    if not progress.maybe_decrease(reply.index, probe_index):
        return
    if raft.tracer is not None:
        raft.emit(EventKind.PROGRESS_DECREASED, peer=reply.sender, progress=str(progress))
    if progress.state is ProgressState.REPLICATE:
        progress.become_probe()
    maybe_send_append(raft, reply.sender)


def on_heartbeat_reply(raft: RaftState, reply: HeartbeatReply) -> None:
    progress = known_sender(raft, reply)
    if progress is None:
        return
    progress.recently_active = True
    progress.flow_paused = False
    # A lost append has no other way to be noticed: send again to whoever is behind.
    if progress.match_index < raft.log.last_index or progress.state is ProgressState.PROBE:
        maybe_send_append(raft, reply.sender)
    acknowledge_read(raft, reply)


def on_unreachable(raft: RaftState, report: ReportUnreachable) -> None:
    """What was sent optimistically may be lost: go back to one message at a time."""
    progress = known_sender(raft, report)
    if progress is None:
        return
    if progress.state is ProgressState.REPLICATE:
        progress.become_probe()
    if raft.tracer is not None:
        raft.emit(EventKind.PEER_UNREACHABLE, peer=report.sender, progress=str(progress))


def known_sender(raft: RaftState, message: Message) -> Progress | None:
    """The sender's progress; None, with the message dropped, if it is not in the configuration."""
    progress = raft.tracker.progress.get(message.sender)
    if progress is None:
        raft.drop(message, "sender is not in the configuration")
    return progress


def send_timeout_now(raft: RaftState, to: int) -> None:
    """Tells a caught-up node to campaign at once (§3.10 of the dissertation)."""
    raft.timeout_now_sent = True
    raft.send(TimeoutNow(sender=raft.id, to=to, term=raft.term))


# Follower


def on_append_entries(raft: RaftState, append: AppendEntries) -> None:
    """The caller has already recognised the leader."""
    log = raft.log
    if append.prev_log_index < log.commit_index:
        # Late or duplicate: what is committed cannot differ, so say how far that is.
        return _reply(raft, append, log.commit_index)
    index = log.maybe_append(
        append.prev_log_index, append.prev_log_term, append.commit_index, append.entries
    )
    if index is not None:
        return _reply(raft, append, index)
    if raft.tracer is not None:
        raft.emit(
            EventKind.APPEND_REJECTED,
            own_term=log.term_or_zero(append.prev_log_index),
            index=append.prev_log_index,
            their_term=append.prev_log_term,
            sender=append.sender,
        )
    hint_index, hint_term = log.find_conflict_by_term(
        min(append.prev_log_index, log.last_index), append.prev_log_term
    )
    raft.send(
        AppendEntriesReply(
            sender=raft.id,
            to=append.sender,
            term=raft.term,
            index=append.prev_log_index,
            rejected=True,
            hint_index=hint_index,
            hint_term=hint_term,
        )
    )


def _reply(raft: RaftState, append: AppendEntries, index: int) -> None:
    raft.send(AppendEntriesReply(sender=raft.id, to=append.sender, term=raft.term, index=index))
