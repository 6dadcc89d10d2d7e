"""What follows when the storage has done its work: entries or a snapshot stable, entries applied.

Reading order 12 of 12. These replies come from the storage threads, or from advance() in sync mode.
"""

from metastore.node.raft.events import EventKind
from metastore.node.raft.membership import maybe_leave_joint
from metastore.node.raft.messages import StorageAppendReply, StorageApplyReply
from metastore.node.raft.model import Snapshot
from metastore.node.raft.state import RaftState


def on_storage_append_reply(raft: RaftState, reply: StorageAppendReply) -> None:
    if reply.index:
        raft.log.stable_to(reply.index, reply.log_term)
    if reply.snapshot is not None:
        _on_snapshot_stable(raft, reply.snapshot)


def on_stale_storage_append_reply(raft: RaftState, reply: StorageAppendReply) -> None:
    """Of an earlier term. Its entries may have been overwritten since by others with the same index
    and term (an ABA problem), so they are not marked stable; a snapshot is committed anyway."""
    if reply.index:
        raft.emit(EventKind.STALE_APPEND_REPLY_IGNORED, own_term=raft.term, term=reply.term)
    if reply.snapshot is not None:
        _on_snapshot_stable(raft, reply.snapshot)


def on_storage_apply_reply(raft: RaftState, reply: StorageApplyReply) -> None:
    if not reply.entries:
        return
    data_bytes = sum([len(entry.data) for entry in reply.entries])
    size_bytes = sum([entry.size_bytes for entry in reply.entries])
    _on_applied(raft, reply.entries[-1].index, size_bytes)
    # A leader's quota never counted the entries of earlier terms.
    raft.uncommitted_bytes = max(raft.uncommitted_bytes - data_bytes, 0)


def _on_snapshot_stable(raft: RaftState, snapshot: Snapshot) -> None:
    raft.log.stable_snapshot_to(snapshot.index)
    _on_applied(raft, snapshot.index, 0)


def _on_applied(raft: RaftState, index: int, size_bytes: int) -> None:
    # A snapshot may have carried the state past entries that were still being applied.
    raft.log.applied_to(max(index, raft.log.last_applied), size_bytes)
    maybe_leave_joint(raft)
