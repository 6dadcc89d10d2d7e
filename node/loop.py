"""The loop: one thread that drains sockets in batches, drives the core and carries out what it
asks.

A turn: wait for a socket, the inbox or the tick; take in everything up to a budget; propose it as
one entry; carry out the Ready; send one message per peer and one reply per client; let watches
catch up; publish the status. Nothing else in a node touches the core or the store.
"""

import time
from typing import Any

import zmq

from metastore.engines.contract import RaftLog, Store
from metastore.node.assembly import assemble
from metastore.node.backups import Done
from metastore.node.codec import MalformedMessage, decode_messages
from metastore.node.disk import DiskFailed, Durable
from metastore.node.exit_codes import ExitCode
from metastore.node.hashes import Hashed
from metastore.node.identity import Identity
from metastore.node.identity_errors import RemovedFromCluster
from metastore.node.members.joining import Registered
from metastore.node.members.registration import RefusedForGood
from metastore.node.parts import Parts
from metastore.node.raft.errors import RaftError
from metastore.node.raft.messages import InstallSnapshot
from metastore.node.raft.model import NO_NODE, Role
from metastore.node.security import NodeSecurity
from metastore.node.settings import Settings
from metastore.node.snapshots import Received, Saved, Sent
from metastore.node.sockets import ThreadDied
from metastore.transport.backup_frames import BackupRequest, Fetch
from metastore.transport.envelope import ErrorCode, Hello, Request

PEER_BUDGET = 256  # payloads taken from peers in one turn
CLIENT_BUDGET = 2048  # messages taken from clients in one turn
TICKS_AT_ONCE_MAX = 2  # after a pause the node must not believe that everybody else was silent
HANDOVER_S = 1.0  # how long a stopping leader waits for its successor
DISK_CLOSE_S = 0.5
STOPPING = "the node is stopping"


class Stop:
    """In the inbox: leave the loop in good order."""


class NodeLoop:
    """`open` binds and recovers, `run` returns when the node ends, `request_stop` asks for that."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        store: Store,
        raft_log: RaftLog,
        security: NodeSecurity | None,
        logger: Any,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._store = store
        self._raft_log = raft_log
        self._security = security
        self._log = logger
        self._parts: Parts | None = None
        self._tick_s = settings.tick_ms / 1000
        self._next_tick = 0.0
        self._stop_at: float | None = None
        self._stopped = False
        self._was_leader_of = 0
        self._has_more = False  # work that waits for no input
        self._turn_began = 0.0

    def open(self) -> None:
        """Raises BindFailed, StorageDamaged or StorageFailed; nothing is left open then."""
        self._parts = assemble(
            self._settings,
            self._identity,
            self._store,
            self._raft_log,
            self._security,
            self._log,
        )

    def request_stop(self) -> None:
        """Thread-safe and signal-safe; before `open` it does nothing."""
        if self._parts is not None:
            self._parts.inbox.put(Stop())

    def run(self) -> ExitCode:
        """Until stopped: ExitCode.OK. A failed disk or a broken invariant is raised, after
        closing."""
        parts = self._parts
        if parts is None:
            raise RuntimeError("open() comes before run()")
        parts.start()
        parts.registrar.ask()
        if parts.is_sole_voter():
            # There is nobody to wait for: without this a lone node is away a timeout longer.
            parts.core.campaign()
        poller = zmq.Poller()
        for source in (*parts.sockets.pollables(), parts.inbox.fileno()):
            poller.register(source, zmq.POLLIN)
        self._next_tick = time.monotonic() + self._tick_s
        try:
            while not self._stopped:
                wait_ms = max(0, int((self._next_tick - time.monotonic()) * 1000) + 1)
                poller.poll(0 if self._has_more else wait_ms)
                self._turn(parts)
                self._note_lag(parts)
            return ExitCode.OK
        finally:
            self._close(parts)

    def _turn(self, parts: Parts) -> None:
        is_tick = self._tick_if_due(parts)
        items = parts.inbox.drain()
        for item in items:
            self._on_item(parts, item)
        taken = self._take_peers(parts) + self._take_clients(parts) + len(items)
        parts.desk.flush()
        if is_tick:
            # After the requests: a renewal that has arrived in time saves its lease.
            parts.upkeep.on_tick()
            parts.backups.tick()
            parts.members.on_tick()
            parts.gate.tick()
        has_more = parts.effects.carry_out_some()
        self._watch_leadership(parts)
        parts.desk.serve_reads()
        if not parts.outbox.has_entries:  # else the peers' disks come first
            parts.replies.flush(parts.reply)
        for node_id in parts.outbox.flush(parts.sockets.peers):
            parts.core.report_unreachable(node_id)
        parts.replies.flush(parts.reply)
        self._has_more = parts.upkeep.turn(is_idle=not taken and not has_more) or has_more
        parts.publish_if_changed()
        if parts.members.was_removed:
            raise RemovedFromCluster(self._settings.node_id)
        self._stop_if_due(parts)

    def _tick_if_due(self, parts: Parts) -> bool:
        now = self._turn_began = time.monotonic()
        if now < self._next_tick:
            return False
        # Late although nothing was done: another thread, or the machine, had the processor.
        parts.lag_s_max = max(parts.lag_s_max, now - self._next_tick)
        due = 1 + int((now - self._next_tick) / self._tick_s)
        ticks = min(TICKS_AT_ONCE_MAX, due)
        if due > ticks:
            # The core's clock stood still while the others' went on: its lease proves nothing now.
            parts.core.end_lease()
        self._next_tick = max(self._next_tick + ticks * self._tick_s, now)
        for _ in range(ticks):
            parts.lost_tail.tick()
            parts.desk.tick += 1
            parts.watch_for_exclusion()
        parts.sockets.peers.tick()
        parts.reload_access()
        parts.desk.expire_reads()
        parts.publish()
        return True

    def _note_lag(self, parts: Parts) -> None:
        """A turn that takes long delays every heartbeat; which it was the log cannot tell."""
        took_s = time.monotonic() - self._turn_began
        if took_s > parts.lag_s_max:
            parts.lag_s_max = took_s

    def _on_item(self, parts: Parts, item: object) -> None:
        match item:
            case Durable():
                parts.effects.on_durable(item)
            case DiskFailed(error):
                raise error
            case ThreadDied(name, error):
                self._log.error("thread died", thread=name, error=repr(error))
                raise item.exception()
            case Saved():
                self._on_saved(parts, item)
            case Sent(node_id, ok, reason):
                parts.snapshots.sending.pop(node_id, None)
                self._log.info("snapshot sent", to=node_id, ok=ok, reason=reason)
                parts.core.report_snapshot(node_id, ok)
                parts.snapshots.maybe_save()
            case Received():
                self._on_received(parts, item)
            case Registered(members, _, index):
                parts.following.hear(members, index)
            case RefusedForGood(error):
                raise error
            case Hashed():
                parts.desk.on_hashed(item)
            case Done():
                parts.backups.on_done(item)
            case Stop():
                self._begin_stop(parts)
            case _:
                raise TypeError(f"nobody handles {item!r}")

    def _on_saved(self, parts: Parts, saved: Saved) -> None:
        if saved.error is not None:
            self._log.error("snapshot failed", error=str(saved.error))
        meta = parts.snapshots.on_saved(saved)
        parts.upkeep.on_saved()
        if meta is not None:
            self._log.info("snapshot saved", index=meta.index, term=meta.term)
            parts.effects.compact(meta)
        parts.backups.on_saved(saved.error)

    def _on_received(self, parts: Parts, received: Received) -> None:
        message = parts.snapshots.to_message(received)
        if message is None:
            self._log.warning("snapshot refused", sender=received.sender, reason="malformed facts")
            return
        self._step(parts, message)
        parts.effects.carry_out()
        parts.snapshots.discard_unused()

    def _take_peers(self, parts: Parts) -> int:
        payloads = parts.sockets.peers.drain(PEER_BUDGET)
        for sender, payload in payloads:
            parts.members.heard(sender)
            try:
                messages = decode_messages(payload, sender)
            except MalformedMessage as error:
                parts.count_malformed(sender, str(error))
                continue
            for message in messages:
                if message.to == self._settings.node_id and not isinstance(
                    message, InstallSnapshot
                ):
                    self._step(parts, message)
                else:
                    parts.count_malformed(sender, f"{message.name} that is not for this socket")
        return len(payloads)

    def _step(self, parts: Parts, message: Any) -> None:
        reason = parts.why_not(message)
        if reason:
            self._log.debug("message dropped", type=message.name, reason=reason)
            return
        try:
            parts.core.step(message)
        except RaftError as error:
            self._log.debug("message dropped", type=message.name, reason=str(error))

    def _take_clients(self, parts: Parts) -> int:
        messages = parts.sockets.clients.drain(CLIENT_BUDGET)
        refuses = parts.gate.refuses
        for identity, frame, user in messages:
            if refuses(identity, frame, user):
                continue
            if isinstance(frame, Request):
                parts.desk.request(identity, frame)
            elif isinstance(frame, Hello):
                parts.desk.hello(identity, frame)
            elif isinstance(frame, BackupRequest | Fetch):
                parts.backups.on_frame(identity, frame)
            else:
                parts.upkeep.watching.on_frame(identity, frame)
        return len(messages)

    def _watch_leadership(self, parts: Parts) -> None:
        """Who waits for an entry of a lost leadership cannot learn its fate from this node."""
        leads = parts.core.term if parts.core.role is Role.LEADER else 0
        if self._was_leader_of and leads != self._was_leader_of:
            parts.desk.give_up("the leader changed before the outcome was known")
        self._was_leader_of = leads

    def _begin_stop(self, parts: Parts) -> None:
        if self._stop_at is not None:
            return
        self._stop_at = time.monotonic() + HANDOVER_S
        parts.desk.stopping = True
        if parts.core.role is Role.LEADER:
            successor = parts.best_successor()
            if successor != NO_NODE:
                self._log.info("handing over the leadership", to=successor)
                parts.core.transfer_leadership(successor)

    def _stop_if_due(self, parts: Parts) -> None:
        if self._stop_at is None:
            return
        handed_over = parts.core.role is not Role.LEADER and not parts.core.has_ready()
        alone = parts.core.role is Role.LEADER and parts.best_successor() == NO_NODE
        settled = handed_over or (alone and not len(parts.pending))
        self._stopped = settled or time.monotonic() >= self._stop_at

    def _close(self, parts: Parts) -> None:
        try:
            parts.desk.give_up("the node stopped before the outcome was known")
            unread = [request.waiter for request in parts.reads.take_all()]
            parts.answers.refuse(unread, ErrorCode.UNAVAILABLE, STOPPING)
            parts.replies.flush(parts.reply)
            parts.upkeep.watching.close(STOPPING)
        finally:
            parts.close(DISK_CLOSE_S)
