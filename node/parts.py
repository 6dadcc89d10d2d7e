"""Every part of one running node as one record, and what the loop asks of them together.

Made by assembly.py, driven by loop.py; holds no logic of its own but the order of closing.
"""

from dataclasses import dataclass, field
from typing import Any

import zmq

from metastore.engines.contract import RaftLog, RaftStatus, Store
from metastore.node.access.gate import Gate
from metastore.node.answers import Answers
from metastore.node.backups import Backups
from metastore.node.disk import DiskThread
from metastore.node.effects import Effects
from metastore.node.following import Following
from metastore.node.lost_tail import LostTail
from metastore.node.members.keeper import MembersKeeper
from metastore.node.members.registration import Registrar
from metastore.node.outbox import Outbox, Replies
from metastore.node.proposals import PendingProposals
from metastore.node.raft.messages import Message
from metastore.node.raft.model import NO_NODE
from metastore.node.raft.node import RaftCore
from metastore.node.reads import PendingReads
from metastore.node.recovery import LogMirror
from metastore.node.requests import Desk
from metastore.node.security import NodeSecurity
from metastore.node.settings import Settings
from metastore.node.snapshots import SnapshotKeeper
from metastore.node.sockets import Sockets
from metastore.node.status import StatusBoard
from metastore.node.status_details import details_of
from metastore.node.upkeep import Upkeep
from metastore.node.wake import WakeQueue
from metastore.node.watch_clients import Reply

TERM_LEAP_MAX = 1 << 32  # no cluster has that many elections while a node is away
LEADERLESS_TIMEOUTS = 2  # election timeouts without a leader before a node asks the cluster why


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
    upkeep: Upkeep
    snapshots: SnapshotKeeper
    pending: PendingProposals
    reads: PendingReads
    outbox: Outbox
    replies: Replies
    inbox: WakeQueue[Any]
    sockets: Sockets
    board: StatusBoard
    context: zmq.Context[Any]
    logger: Any
    lost_tail: LostTail
    backups: Backups
    members: MembersKeeper
    following: Following
    registrar: Registrar
    gate: Gate
    security: NodeSecurity | None
    answers: Answers
    reply: Reply  # to a client's connection, counted by the gate
    malformed: dict[int, int] = field(default_factory=dict)  # refused messages by peer
    leaderless_ticks: int = 0
    lag_s_max: float = 0.0  # the longest turn of the loop, or delay of one, since the start

    def start(self) -> None:
        self.disk.start()
        self.publish()

    def is_sole_voter(self) -> bool:
        return self.core.status().configuration.all_voters == {self.settings.node_id}

    def best_successor(self) -> int:
        """The voter with the longest acknowledged log that was heard lately; NO_NODE without
        one."""
        status = self.core.status()
        voters = status.configuration.all_voters - self.following.roster.witness_ids
        candidates = [
            (progress.match_index, -node_id)
            for node_id, progress in status.progress.items()
            if node_id != self.settings.node_id and node_id in voters and progress.recently_active
        ]
        return -max(candidates)[1] if candidates else NO_NODE

    def watch_for_exclusion(self) -> None:
        """Once a tick. Who hears no leader for long may have been removed, or know its leader only
        as it was before: the cluster itself must say, since one peer's view may be old."""
        self.leaderless_ticks = 0 if self.core.leader_id else self.leaderless_ticks + 1
        patience = LEADERLESS_TIMEOUTS * self.settings.election_timeout_ticks
        if self.leaderless_ticks >= patience:
            self.leaderless_ticks = 0
            self.registrar.ask()

    def reload_access(self) -> None:
        """Once a tick: the file of keys may have changed."""
        security = self.security
        if security is None or not security.access.reload_if_changed():
            return
        self.sockets.peers.set_server_keys(security.server_keys())
        self.sockets.sender.set_server_keys(security.server_keys())
        self.sockets.receiver.keys_changed()
        self.upkeep.watching.cancel_denied(self.gate.why_not_watch)

    def why_not(self, message: Message) -> str:
        """Why a peer's message is not for the core; "" if it is."""
        if message.term > self.core.term + TERM_LEAP_MAX:
            # Once believed it is on disk for ever, and the next election has no number left.
            self.count_malformed(message.sender, f"term {message.term} is far beyond all others")
            return "its term leaps"
        return "the log lost its end" if self.lost_tail.refuses(message) else ""

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
        self.registrar.close()
        finished = self.disk.close(disk_close_s)
        self.sockets.close()
        if finished:  # else the log, or the database that it shares with the store, is in use
            self.raft_log.close()
            self.store.close()
            self.backups.close()
        self.inbox.close()  # after every thread that reports through it
        self.context.term()
