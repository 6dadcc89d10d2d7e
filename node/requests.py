"""What clients ask, and the answers: writes become proposals, reads become read indexes.

Everything drained in one turn becomes one entry (a second one beyond ENTRY_BYTES_MAX) and one read
index. A refused request says whether repeating it is safe.
"""

from collections.abc import Callable, Sequence

from metastore.engines.contract import Store
from metastore.node.hashes import Hashed, Hashing, TooManyHashes, is_hash
from metastore.node.outbox import Replies
from metastore.node.proposals import (
    PendingProposals,
    Request,
    Waiter,
    is_one_plain_read,
    may_be_read,
    split_by_size,
)
from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.model import NO_NODE, Role
from metastore.node.raft.node import RaftCore
from metastore.node.reads import PendingReads
from metastore.node.settings import Settings
from metastore.transport import envelope, schema
from metastore.transport.envelope import ErrorCode, Hello, ReadLevel
from metastore.transport.envelope import Request as ClientRequest

# Beyond this many unfinished appends new proposals wait for the disk and travel together instead.
APPENDS_IN_FLIGHT_MAX = 2
WAITING_BYTES_MAX = 64 << 20
STOPPING = "this node is stopping"


class Desk:
    """`request` with each one of a turn, then `flush` once."""

    def __init__(
        self,
        core: RaftCore,
        store: Store,
        settings: Settings,
        pending: PendingProposals,
        reads: PendingReads,
        replies: Replies,
        outstanding_appends: Callable[[], int],
        report: Callable[[Hashed], None],
    ) -> None:
        self._core = core
        self._store = store
        self._settings = settings
        self._pending = pending
        self._reads = reads
        self._replies = replies
        self._outstanding_appends = outstanding_appends
        self._hashing = Hashing(store, report)
        self._waiting: list[Request] = []
        self._waiting_bytes = 0
        self.tick = 0
        self.stopping = False

    def hello(self, identity: bytes, hello: Hello) -> None:
        ours = self._settings.cluster_id
        if hello.cluster_id not in (0, ours):
            message = f"this node belongs to cluster {ours}, not {hello.cluster_id}"
            self.refuse([(identity, hello.request_id)], ErrorCode.WRONG_CLUSTER, message)
            return
        addresses = [(m.node_id, m.client, m.status) for m in self._settings.members]
        frame = envelope.encode_welcome(
            hello.request_id, ours, self._settings.node_id, self._core.leader_id, addresses
        )
        self._replies.add(identity, frame)

    def request(self, identity: bytes, frame: ClientRequest) -> None:
        request = Request(identity, frame.request_id, frame.request)
        if may_be_read(frame.request):
            self._read_or_propose(request, frame.read_level)
        else:
            self._propose_later(request)

    def _read_or_propose(self, request: Request, level: int) -> None:
        if not is_one_plain_read(request.data):
            try:
                operations = schema.decode_request(request.data)
            except schema.MalformedRequest as error:
                self.refuse([request.waiter], ErrorCode.INVALID, str(error))
                return
            if not schema.is_read_only(operations):
                self._propose_later(request)
                return
        if level == ReadLevel.LOCAL or (level == ReadLevel.LEASE and self._lease_holds()):
            self._serve(request)
        else:
            self._reads.add(request, self.tick)

    def _lease_holds(self) -> bool:
        index = self._core.lease_index_or_none()
        return index is not None and index <= self._store.last_applied

    def _propose_later(self, request: Request) -> None:
        if self.stopping:
            self.refuse([request.waiter], ErrorCode.UNAVAILABLE, STOPPING)
        elif self._core.role is not Role.LEADER:
            self.refuse_not_leader([request.waiter])
        elif self._waiting_bytes + len(request.data) > WAITING_BYTES_MAX:
            self.refuse(
                [request.waiter], ErrorCode.UNAVAILABLE, "too many requests wait; slow down"
            )
        else:
            self._waiting.append(request)
            self._waiting_bytes += len(request.data)

    def flush(self) -> None:
        """Proposes what waits unless the disk is behind; asks for a read index; serves ready
        reads."""
        if self._waiting and self._outstanding_appends() < APPENDS_IN_FLIGHT_MAX:
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            for group in split_by_size(waiting):
                self._propose(group)
        context = self._reads.to_ask(self.tick)
        if context is not None:
            self._core.read_index(context)

    def serve_reads(self) -> None:
        for request in self._reads.take_ready(self._store.last_applied):
            self._serve(request)

    def expire_reads(self) -> None:
        expired = [request.waiter for request in self._reads.take_expired(self.tick)]
        if expired:
            self.refuse(expired, ErrorCode.UNAVAILABLE, "no quorum confirmed the read in time")

    def _propose(self, group: Sequence[Request]) -> None:
        waiters = [request.waiter for request in group]
        if self._core.role is not Role.LEADER:
            self.refuse_not_leader(waiters)
            return
        try:
            self._core.propose(schema.encode_batch([request.data for request in group]))
        except ProposalDropped:
            self.refuse(waiters, ErrorCode.UNAVAILABLE, "the leader takes no proposals right now")
        else:
            self._pending.add(self._core.last_index, self._core.term, waiters)

    def _serve(self, request: Request) -> None:
        if is_hash(request.data):
            self._start_hash(request)
            return
        self.answer([request.waiter], [self._store.read(request.data)])

    def _start_hash(self, request: Request) -> None:
        try:
            self._hashing.start(request.waiter, request.data)
        except schema.MalformedRequest as error:
            self.refuse([request.waiter], ErrorCode.INVALID, str(error))
        except TooManyHashes as error:
            self.refuse([request.waiter], ErrorCode.UNAVAILABLE, str(error))

    def on_hashed(self, hashed: Hashed) -> None:
        waiters = self._hashing.on_done(hashed.question)
        self.answer(waiters, [hashed.reply] * len(waiters))

    def answer(self, waiters: Sequence[Waiter], replies: Sequence[bytes]) -> None:
        for (identity, request_id), reply in zip(waiters, replies, strict=True):
            self._replies.add(identity, envelope.encode_results_frame(request_id, reply))

    def refuse(self, waiters: Sequence[Waiter], code: ErrorCode, message: str) -> None:
        leader = self._core.leader_id
        for identity, request_id in waiters:
            frame = envelope.encode_error(request_id, code, message, leader)
            self._replies.add(identity, frame)

    def refuse_not_leader(self, waiters: Sequence[Waiter]) -> None:
        """Safe to repeat: these requests did not and will not happen."""
        known = self._core.leader_id
        where = f"node {known} leads" if known != NO_NODE else "no leader is known"
        self.refuse(waiters, ErrorCode.NOT_LEADER, f"this node does not lead; {where}")

    def give_up(self, reason: str) -> None:
        """Leadership is lost, or the node stops: what was proposed may still happen; the rest
        not."""
        unknown = self._pending.take_all()
        if unknown:
            self.refuse(unknown, ErrorCode.OUTCOME_UNKNOWN, reason)
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        waiters = [request.waiter for request in waiting]
        if self.stopping:  # a hint to this node itself would send the client back here
            self.refuse(waiters, ErrorCode.UNAVAILABLE, STOPPING)
        else:
            self.refuse_not_leader(waiters)
