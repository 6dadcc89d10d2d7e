"""Puts one node together: recovery, core, sockets, threads; and takes it apart again.

The only place that knows every part. The loop gets them as one record.
"""

from dataclasses import dataclass
from random import SystemRandom
from typing import Any

import zmq

from metastore.engines.contract import RaftLog, RaftStatus, Store
from metastore.node.disk import DiskThread
from metastore.node.effects import Effects
from metastore.node.identity import Identity
from metastore.node.logs import core_tracer
from metastore.node.outbox import Outbox, Replies
from metastore.node.proposals import PendingProposals
from metastore.node.raft.config import RaftConfig
from metastore.node.raft.messages import InstallSnapshot
from metastore.node.raft.model import NO_NODE
from metastore.node.raft.node import RaftCore
from metastore.node.reads import PendingReads
from metastore.node.recovery import LogMirror, Recovered, recover
from metastore.node.requests import Desk
from metastore.node.settings import Settings
from metastore.node.snapshots import SnapshotKeeper
from metastore.node.sockets import Sockets, bind_sockets
from metastore.node.status import StatusBoard
from metastore.node.status_details import details_of
from metastore.node.wake import WakeQueue

APPEND_BYTES_MAX = 1 << 20
COMMITTED_BYTES_MAX = 4 << 20  # applied in one turn, so that a long backlog cannot stop the ticks
UNCOMMITTED_BYTES_MAX = 256 << 20
INFLIGHT_COUNT_MAX = 256
INFLIGHT_BYTES_MAX = 64 << 20


@dataclass(slots=True)
class Parts:
    """Everything that the loop drives. `start` begins the threads, `close` ends everything."""

    settings: Settings
    core: RaftCore
    store: Store
    mirror: LogMirror
    raft_log: RaftLog
    disk: DiskThread
    effects: Effects
    desk: Desk
    snapshots: SnapshotKeeper
    pending: PendingProposals
    reads: PendingReads
    outbox: Outbox
    replies: Replies
    inbox: WakeQueue[Any]
    sockets: Sockets
    board: StatusBoard
    context: zmq.Context[Any]
    malformed: dict[int, int]
    logger: Any

    def start(self) -> None:
        self.disk.start()
        self.publish()

    def best_successor(self) -> int:
        """The voter with the longest acknowledged log that was heard lately; NO_NODE without
        one."""
        status = self.core.status()
        voters = status.configuration.all_voters
        candidates = [
            (progress.match_index, -node_id)
            for node_id, progress in status.progress.items()
            if node_id != self.settings.node_id and node_id in voters and progress.recently_active
        ]
        return -max(candidates)[1] if candidates else NO_NODE

    def count_malformed(self, sender: int, reason: str) -> None:
        """Counts a peer's message that no node of this version sends; logs the first of each
        peer."""
        if sender not in self.malformed:
            self.logger.warning("message refused", sender=sender, reason=reason)
        self.malformed[sender] = self.malformed.get(sender, 0) + 1

    def raft_status(self) -> RaftStatus:
        core = self.core
        return RaftStatus(
            node_id=self.settings.node_id,
            term=core.term,
            leader_id=core.leader_id,
            state=core.role.value,
            applied=self.store.last_applied,
            commit=core.commit_index,
        )

    def publish_if_changed(self) -> None:
        status = self.raft_status()
        if status != self.board.status():
            self.board.publish(status)

    def publish(self) -> None:
        """The whole record; once a tick."""
        self.board.publish(self.raft_status(), details_of(self))

    def close(self, disk_close_s: float) -> None:
        """Bounded: a disk that hangs is left behind (the process ends anyway), sockets do not
        linger."""
        finished = self.disk.close(disk_close_s)
        self.sockets.close()
        if finished:
            self.raft_log.close()
        self.store.close()
        self.inbox.close()  # after every thread that reports through it
        self.context.term()


def assemble(
    settings: Settings, identity: Identity, store: Store, raft_log: RaftLog, logger: Any
) -> Parts:
    """Raises BindFailed, StorageDamaged or StorageFailed."""
    found = recover(raft_log, store, [member.node_id for member in settings.members])
    for warning in found.warnings:
        logger.warning("recovered", what=warning)
    core = _make_core(settings, found, logger)
    inbox: WakeQueue[Any] = WakeQueue()
    board = StatusBoard(settings, identity.incarnation)
    store.set_raft_node(board)
    disk = DiskThread(
        raft_log,
        inbox.put,
        sync=settings.sync,  # type: ignore[arg-type]
        sync_interval_s=settings.sync_interval_ms / 1000,
    )
    snapshots = SnapshotKeeper(
        store,
        found.mirror,
        inbox.put,
        entries_max=settings.snapshot_entries,
        bytes_max=settings.snapshot_bytes,
        trailing_entries=settings.snapshot_trailing_entries,
    )
    pending, reads, outbox, replies = PendingProposals(), PendingReads(), Outbox(), Replies()
    context: zmq.Context[Any] = zmq.Context()
    sockets = bind_sockets(settings, identity, context, inbox, board)
    desk = Desk(
        core,
        store,
        settings,
        pending=pending,
        reads=reads,
        replies=replies,
        outstanding_appends=lambda: disk.outstanding,
    )
    members = {member.node_id: member for member in settings.members}

    def send_snapshot(message: InstallSnapshot) -> None:
        member = members.get(message.to)
        snapshots.send(message, member.snapshot if member else None, sockets.sender)

    effects = Effects(
        core,
        store,
        found.mirror,
        disk,
        snapshots,
        outbox,
        pending=pending,
        reads=reads,
        configuration=found.configuration,
        answer=desk.answer,
        refuse=desk.refuse_not_leader,
        send_snapshot=send_snapshot,
    )
    return Parts(
        settings=settings,
        core=core,
        store=store,
        mirror=found.mirror,
        raft_log=raft_log,
        disk=disk,
        effects=effects,
        desk=desk,
        snapshots=snapshots,
        pending=pending,
        reads=reads,
        outbox=outbox,
        replies=replies,
        inbox=inbox,
        board=board,
        context=context,
        malformed={},
        logger=logger,
        sockets=sockets,
    )


def _make_core(settings: Settings, found: Recovered, logger: Any) -> RaftCore:
    return RaftCore(
        RaftConfig(
            id=settings.node_id,
            election_timeout_ticks=settings.election_timeout_ticks,
            heartbeat_ticks=settings.heartbeat_ticks,
            storage=found.mirror,
            random=SystemRandom(),
            applied=found.last_applied,
            async_storage_writes=True,
            max_append_bytes=APPEND_BYTES_MAX,
            max_committed_bytes_per_ready=COMMITTED_BYTES_MAX,
            max_uncommitted_bytes=UNCOMMITTED_BYTES_MAX,
            max_inflight_count=INFLIGHT_COUNT_MAX,
            max_inflight_bytes=INFLIGHT_BYTES_MAX,
            disable_proposal_forwarding=True,
            step_down_on_removal=True,
            tracer=core_tracer(logger, settings.log_level),
        )
    )
