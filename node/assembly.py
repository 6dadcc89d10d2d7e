"""Puts one node together: recovery, core, sockets, threads.

The only place that knows how every part is made. The loop gets them as one record (parts.py).
"""

from collections.abc import Callable
from random import SystemRandom
from typing import Any

import zmq

from metastore.engines.contract import RaftLog, Store
from metastore.node.backups import Backups
from metastore.node.disk import DiskThread
from metastore.node.effects import Effects
from metastore.node.identity import Identity
from metastore.node.logs import core_tracer
from metastore.node.lost_tail import LostTail
from metastore.node.outbox import Outbox, Replies
from metastore.node.parts import Parts
from metastore.node.proposals import PendingProposals
from metastore.node.raft.config import RaftConfig
from metastore.node.raft.messages import InstallSnapshot
from metastore.node.raft.node import RaftCore
from metastore.node.reads import PendingReads
from metastore.node.recovery import Recovered, recover
from metastore.node.requests import Desk
from metastore.node.settings import Settings
from metastore.node.snapshots import SnapshotKeeper
from metastore.node.sockets import Sockets, bind_sockets
from metastore.node.status import StatusBoard
from metastore.node.upkeep import make_upkeep
from metastore.node.wake import WakeQueue

APPEND_BYTES_MAX = 1 << 20
COMMITTED_BYTES_MAX = 1 << 20  # applied at once; see effects.APPLIED_BYTES_PER_TURN
UNCOMMITTED_BYTES_MAX = 256 << 20
INFLIGHT_COUNT_MAX = 256
INFLIGHT_BYTES_MAX = 64 << 20


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
    snapshots = _make_snapshots(settings, found, store, inbox)
    context: zmq.Context[Any] = zmq.Context()
    sockets = bind_sockets(settings, identity, context, inbox, board, snapshots.prepare)
    disk = _make_disk(settings, raft_log, inbox)
    pending, reads, replies = PendingProposals(), PendingReads(), Replies()
    desk = Desk(core, store, settings, pending, reads, replies, lambda: disk.outstanding, inbox.put)
    upkeep = make_upkeep(settings, core, store, desk, sockets.clients.reply)
    effects = Effects(
        core,
        store,
        found.mirror,
        disk,
        snapshots,
        outbox := Outbox(),
        pending=pending,
        reads=reads,
        answer=desk.answer,
        refuse=desk.refuse_not_leader,
        send_snapshot=_snapshot_sending(settings, snapshots, sockets),
        on_applied=upkeep.on_applied,
        on_installed=upkeep.on_installed,
        committed_once=found.committed_once,
    )
    return Parts(
        settings, core, store, found.mirror, raft_log, disk, effects, desk, upkeep, snapshots,
        pending, reads, outbox, replies, inbox, sockets, board, context, logger,
        LostTail(core, found.committed_once),
        Backups(store, snapshots.save_now, replies.add, inbox.put, tick_ms=settings.tick_ms),
    )  # fmt: skip


def _make_disk(settings: Settings, raft_log: RaftLog, inbox: WakeQueue[Any]) -> DiskThread:
    return DiskThread(
        raft_log,
        inbox.put,
        sync=settings.sync,  # type: ignore[arg-type]
        sync_interval_s=settings.sync_interval_ms / 1000,
    )


def _make_snapshots(
    settings: Settings, found: Recovered, store: Store, inbox: WakeQueue[Any]
) -> SnapshotKeeper:
    return SnapshotKeeper(
        store,
        found.mirror,
        inbox.put,
        entries_max=settings.snapshot_entries,
        bytes_max=settings.snapshot_bytes,
        trailing_entries=settings.snapshot_trailing_entries,
        node_id=settings.node_id,
    )


def _snapshot_sending(
    settings: Settings, snapshots: SnapshotKeeper, sockets: Sockets
) -> Callable[[InstallSnapshot], None]:
    addresses = {member.node_id: member.snapshot for member in settings.members}

    def send(message: InstallSnapshot) -> None:
        snapshots.send(message, addresses.get(message.to), sockets.sender)

    return send


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
