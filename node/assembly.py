"""Puts one node together: recovery, core, sockets, threads.

The only place that knows how every part is made. The loop gets them as one record (parts.py).
"""

from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Any, NamedTuple

import zmq

from metastore.engines.contract import RaftLog, Store
from metastore.node.access.gate import Gate, GateLimits
from metastore.node.answers import Answers
from metastore.node.backups import Backups
from metastore.node.disk import DiskThread
from metastore.node.effects import Effects
from metastore.node.following import Following
from metastore.node.identity import Identity, NotYetJoined
from metastore.node.logs import core_tracer
from metastore.node.lost_tail import LostTail
from metastore.node.members.keeper import MembersKeeper
from metastore.node.members.registration import Registrar
from metastore.node.members.roster import Roster, own_record, to_record
from metastore.node.outbox import Outbox, Replies
from metastore.node.parts import Parts
from metastore.node.proposals import PendingProposals
from metastore.node.raft.config import RaftConfig
from metastore.node.raft.messages import InstallSnapshot
from metastore.node.raft.node import RaftCore
from metastore.node.reads import PendingReads
from metastore.node.recovery import Recovered, recover
from metastore.node.requests import Desk
from metastore.node.security import NodeSecurity
from metastore.node.settings import Settings
from metastore.node.snapshots import SnapshotKeeper
from metastore.node.sockets import Sockets, ThreadDied, bind_sockets
from metastore.node.status import StatusBoard
from metastore.node.upkeep import Upkeep, make_upkeep
from metastore.node.wake import WakeQueue
from metastore.node.watching import Watching
from metastore.transport import schema
from metastore.transport.limits import REQUESTS_IN_FLIGHT_MAX
from metastore.transport.member_ops import Role

APPEND_BYTES_MAX = 1 << 20
COMMITTED_BYTES_MAX = 1 << 20  # applied at once; see effects.APPLIED_BYTES_PER_TURN
UNCOMMITTED_BYTES_MAX = 256 << 20
INFLIGHT_COUNT_MAX = 256
INFLIGHT_BYTES_MAX = 64 << 20
WITNESS_FOLDER = "for-witnesses"  # under the data directory: snapshots without data


def assemble(
    settings: Settings,
    identity: Identity,
    store: Store,
    raft_log: RaftLog,
    security: NodeSecurity | None,
    logger: Any,
) -> Parts:
    """Raises BindFailed, NotYetJoined, StorageDamaged or StorageFailed."""
    base = _make_base(settings, identity, store, raft_log, logger)
    context: zmq.Context[Any] = zmq.Context()
    sockets = bind_sockets(
        settings, identity, context, base.inbox, base.board, base.snapshots.prepare, security
    )
    outbox, replies = Outbox(), Replies()
    answers = Answers(base.core, replies)
    following = _make_following(settings, base, sockets, outbox)
    members = _make_keeper(settings, base, answers, following)
    pending, reads = PendingProposals(), PendingReads()
    desk = Desk(
        base.core, store, settings.cluster_id, pending, reads, replies, answers, members,
        following.roster, lambda: base.disk.outstanding, base.inbox.put,
    )  # fmt: skip
    upkeep = make_upkeep(settings, base.core, store, desk, sockets.clients.reply)
    effects = _make_effects(
        base, store, sockets, outbox, pending, reads, answers, following, members, upkeep
    )
    gate = _make_gate(settings, store, replies, upkeep.watching, security, logger)
    following.follow(base.found.membership)
    return Parts(
        settings, base.core, store, base.found.mirror, raft_log, base.disk, effects, desk, upkeep,
        base.snapshots, pending, reads, outbox, replies, base.inbox, sockets, base.board, context,
        logger,
        LostTail(base.core, base.found.committed_once),
        Backups(store, base.snapshots.save_now, replies.add, base.inbox.put,
                tick_ms=settings.tick_ms),
        members, following,
        _make_registrar(settings, identity, following.roster, sockets, context, base, security),
        gate, security, answers, gate.answering(sockets.clients.reply),
    )  # fmt: skip


class _Base(NamedTuple):
    """What can be made before any address is bound."""

    found: Recovered
    core: RaftCore
    inbox: WakeQueue[Any]
    board: StatusBoard
    snapshots: SnapshotKeeper
    disk: DiskThread


def _make_base(
    settings: Settings, identity: Identity, store: Store, raft_log: RaftLog, logger: Any
) -> _Base:
    founders = None if identity.joined else [to_record(member) for member in settings.founders]
    found = recover(raft_log, store, founders)
    if identity.joined and not found.membership.members and not settings.join:
        raise NotYetJoined(settings.data_dir)
    for warning in found.warnings:
        logger.warning("recovered", what=warning)
    inbox: WakeQueue[Any] = WakeQueue()
    board = StatusBoard(settings, identity)
    store.set_raft_node(board)
    return _Base(
        found,
        _make_core(settings, found, logger),
        inbox,
        board,
        _make_snapshots(settings, found, store, inbox),
        _make_disk(settings, raft_log, inbox),
    )


def _make_following(settings: Settings, base: _Base, sockets: Sockets, outbox: Outbox) -> Following:
    hints = [to_record(member) for member in settings.members]
    roster = Roster(settings.node_id, base.found.membership, hints, dict(settings.dial))
    return Following(roster, sockets, outbox, base.snapshots, base.board.show_members)


def _make_keeper(
    settings: Settings, base: _Base, answers: Answers, following: Following
) -> MembersKeeper:
    return MembersKeeper(
        base.core,
        settings.node_id,
        settings.cluster_id,
        base.found.membership,
        answer=answers.answer,
        refuse=answers.refuse,
        on_change=following.follow,
        election_timeout_ticks=settings.election_timeout_ticks,
    )


def _make_effects(
    base: _Base,
    store: Store,
    sockets: Sockets,
    outbox: Outbox,
    pending: PendingProposals,
    reads: PendingReads,
    answers: Answers,
    following: Following,
    members: MembersKeeper,
    upkeep: Upkeep,
) -> Effects:
    def on_installed(encoded: bytes) -> None:
        members.on_installed(encoded)
        upkeep.on_installed()

    return Effects(
        base.core,
        store,
        base.found.mirror,
        base.disk,
        base.snapshots,
        outbox,
        pending=pending,
        reads=reads,
        answer=answers.answer,
        refuse=answers.refuse_not_leader,
        on_configuration=members.on_entry,
        send_snapshot=_snapshot_sending(following.roster, base.snapshots, sockets),
        on_applied=upkeep.on_applied,
        on_installed=on_installed,
        is_witness=lambda: following.roster.is_witness,
        committed_once=base.found.committed_once,
    )


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
        witness_folder=settings.data_dir / WITNESS_FOLDER,
    )


def _snapshot_sending(
    roster: Roster, snapshots: SnapshotKeeper, sockets: Sockets
) -> Callable[[InstallSnapshot], None]:
    def send(message: InstallSnapshot) -> None:
        address = roster.snapshot_address_or_none(message.to)
        snapshots.send(message, address, sockets.sender)

    return send


def _make_registrar(
    settings: Settings,
    identity: Identity,
    roster: Roster,
    sockets: Sockets,
    context: zmq.Context[Any],
    base: _Base,
    security: NodeSecurity | None,
) -> Registrar:
    places = sockets.with_ports(settings.own_member.addresses)
    own = own_record(settings, places, identity.directory_id)
    return Registrar(
        context,
        settings.cluster_id,
        own,
        # Itself last: a node that leads, or is alone, tells itself.
        lambda: [*settings.join, *roster.client_addresses(), sockets.clients.address],
        base.inbox.put,
        lambda error: base.inbox.put(ThreadDied("registration", error)),
        curves=None if security is None else security.curves,
    )


def _make_gate(
    settings: Settings,
    store: Store,
    replies: Replies,
    watching: Watching,
    security: NodeSecurity | None,
    logger: Any,
) -> Gate:
    return Gate(
        None if security is None else security.access,
        lambda lease: _keys_of_lease(store, lease),
        GateLimits(
            connections_max=settings.connections_max,
            requests_in_flight_max=REQUESTS_IN_FLIGHT_MAX,
            tick_ms=settings.tick_ms,
        ),
        answer=replies.add,
        has_watches=watching.has_watches,
        logger=logger,
    )


def _keys_of_lease(store: Store, lease: int) -> Sequence[bytes]:
    request = schema.encode_request([(schema.Op.LEASE_TIME_TO_LIVE, lease, True)])
    (result,) = schema.decode_results(store.read(request))
    keys: Sequence[bytes] = result[4]
    return keys


def _make_core(settings: Settings, found: Recovered, logger: Any) -> RaftCore:
    own = found.membership.get(settings.node_id)
    is_witness = (own.role if own is not None else settings.role) == Role.WITNESS
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
            never_campaigns=is_witness,
            tracer=core_tracer(logger, settings.log_level),
        )
    )
