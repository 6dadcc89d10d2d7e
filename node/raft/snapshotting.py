"""Snapshots: sending one to a follower whose entries are compacted away, and installing one (§7).

Reading order 9 of 12. The core moves positions and configurations; the state itself is moved by the
runtime. A follower applies nothing until the installed snapshot is stable.
"""

from metastore.node.raft.events import EventKind
from metastore.node.raft.messages import (
    AppendEntriesReply,
    InstallSnapshot,
    ReportSnapshot,
)
from metastore.node.raft.model import NO_NODE, Role, Snapshot
from metastore.node.raft.progress import Progress, ProgressState
from metastore.node.raft.state import RaftState
from metastore.node.raft.storage import Unavailable


def maybe_send_snapshot(raft: RaftState, to: int, progress: Progress) -> bool:
    """Sends the newest snapshot and waits for its fate; False if there is none to send or nobody to
    take it."""
    if not progress.recently_active:
        # A snapshot is costly; a node that may be dead gets heartbeats until it answers.
        return False
    try:
        snapshot = raft.log.snapshot()
    except Unavailable:
        return False
    if snapshot.index == 0:
        return False
    if raft.tracer is not None:
        raft.emit(
            EventKind.SNAPSHOT_SENT,
            first_index=raft.log.first_index,
            commit=raft.log.commit_index,
            index=snapshot.index,
            term=snapshot.term,
            to=to,
            progress=str(progress),
        )
    progress.become_snapshot(snapshot.index)
    if raft.tracer is not None:
        raft.emit(EventKind.REPLICATION_PAUSED, to=to, progress=str(progress))
    raft.send(InstallSnapshot(sender=raft.id, to=to, term=raft.term, snapshot=snapshot))
    return True


def on_report_snapshot(raft: RaftState, report: ReportSnapshot) -> None:
    """The transfer ended: go back to probing, and wait for the follower's next sign of life."""
    progress = raft.tracker.progress.get(report.sender)
    if progress is None:
        return raft.drop(report, "sender is not in the configuration")
    if progress.state is not ProgressState.SNAPSHOT:
        return raft.drop(report, "no snapshot is pending")
    if report.rejected:
        progress.pending_snapshot = 0  # so that probing restarts at match_index, not after it
    progress.become_probe()
    progress.flow_paused = True


def on_install_snapshot(raft: RaftState, message: InstallSnapshot) -> None:
    """A follower's answer says how far its log reaches; the caller has recognised the leader."""
    snapshot = message.snapshot
    reason = _maybe_restore(raft, snapshot)
    if reason:
        raft.drop(message, reason)
        index = raft.log.commit_index
    else:
        raft.emit(
            EventKind.SNAPSHOT_ACCEPTED,
            commit=raft.log.commit_index,
            index=snapshot.index,
            term=snapshot.term,
        )
        index = raft.log.last_index
    raft.send(AppendEntriesReply(sender=raft.id, to=message.sender, term=raft.term, index=index))


def _maybe_restore(raft: RaftState, snapshot: Snapshot) -> str:
    """Replaces log and configuration by the snapshot's; else the reason why not."""
    if snapshot.index <= raft.log.commit_index:
        return "the snapshot is not newer than what is committed"
    if raft.role is not Role.FOLLOWER:
        # Cannot happen through step(); a leader that lost its log this way would lose data.
        raft.become_follower(raft.term + 1, NO_NODE)
        return "only a follower restores a snapshot"
    if raft.log.match_term(snapshot.index, snapshot.term):
        # Our log already leads to the same state; keep its tail (§7, step 6).
        raft.log.commit_to(snapshot.index)
        return "the log already holds the snapshot's last entry"
    raft.log.restore(snapshot)
    # It need not hold this node: one that joins, or comes again, may be sent a snapshot older than
    # its addition, and no newer one may ever be made. The entry that adds it follows.
    raft.install_configuration(*raft.restored_configuration(snapshot.configuration))
    own = raft.tracker.progress.get(raft.id)
    if own is not None:
        own.maybe_update(own.next_index - 1)
    raft.emit(
        EventKind.SNAPSHOT_RESTORED,
        commit=raft.log.commit_index,
        last_index=raft.log.last_index,
        last_term=raft.log.last_term,
        index=snapshot.index,
        term=snapshot.term,
    )
    return ""
