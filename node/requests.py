"""What clients ask, and the answers: writes become proposals, reads become read indexes.

Everything drained in one turn becomes one entry (a second one beyond ENTRY_BYTES_MAX) and one read
index. A refused request says whether repeating it is safe.
"""

from collections.abc import Callable, Sequence

from metastore.engines.contract import Store
from metastore.node.answers import Answers
from metastore.node.hashes import Hashed, Hashing, TooManyHashes, is_hash
from metastore.node.members.keeper import MembersKeeper
from metastore.node.members.roster import Roster
from metastore.node.outbox import Replies
from metastore.node.proposals import (
    PendingProposals,
    Request,
    is_about_members,
    is_member_list,
    is_plain_read,
    may_be_read,
    single_operation,
    split_by_size,
)
from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.model import Role
from metastore.node.raft.node import RaftCore
from metastore.node.reads import READS_BYTES_MAX, PendingReads
from metastore.transport import envelope, schema
from metastore.transport.envelope import ErrorCode, Hello, ReadLevel
from metastore.transport.envelope import Request as ClientRequest

# Beyond this many unfinished appends new proposals wait for the disk and travel together instead.
APPENDS_IN_FLIGHT_MAX = 2
WAITING_BYTES_MAX = 64 << 20
NO_PROPOSALS = "the leader takes no proposals right now"
STOPPING = "this node is stopping"


class Desk:
    """`request` with each one of a turn, then `flush` once."""

    def __init__(
        self,
        core: RaftCore,
        store: Store,
        cluster_id: int,
        pending: PendingProposals,
        reads: PendingReads,
        replies: Replies,
        answers: Answers,
        members: MembersKeeper,
        roster: Roster,
        outstanding_appends: Callable[[], int],
        report: Callable[[Hashed], None],
    ) -> None:
        self._core = core
        self._store = store
        self._cluster_id = cluster_id
        self._pending = pending
        self._reads = reads
        self._replies = replies
        self._answers = answers
        self._members = members
        self._roster = roster
        self._outstanding_appends = outstanding_appends
        self._hashing = Hashing(store, report)
        self._waiting: list[Request] = []
        self._waiting_bytes = 0
        self.tick = 0
        self.stopping = False

    def hello(self, identity: bytes, hello: Hello) -> None:
        ours = self._cluster_id
        if hello.cluster_id not in (0, ours):
            message = f"this node belongs to cluster {ours}, not {hello.cluster_id}"
            self._answers.refuse([(identity, hello.request_id)], ErrorCode.WRONG_CLUSTER, message)
            return
        shown = self._roster.shown_to_clients()
        frame = envelope.encode_welcome(
            hello.request_id, ours, self._core.id, self._core.leader_id, shown
        )
        self._replies.add(identity, frame)

    def request(self, identity: bytes, frame: ClientRequest) -> None:
        request = Request(identity, frame.request_id, frame.request)
        if self._roster.is_witness:
            self._answers.refuse_not_leader([request.waiter])  # it has nothing to read from
        elif may_be_read(frame.request):
            self._read_or_propose(request, frame.read_level)
        else:
            self._propose_later(request)

    def _read_or_propose(self, request: Request, level: int) -> None:
        if is_about_members(request.data):
            if not is_member_list(request.data):
                self._change_members(request)
                return
        elif not is_plain_read(single_operation(request.data)):
            try:
                operations = schema.decode_request(request.data)
            except schema.MalformedRequest as error:
                self._answers.refuse([request.waiter], ErrorCode.INVALID, str(error))
                return
            if not schema.is_read_only(operations):
                self._propose_later(request)
                return
        if level == ReadLevel.LOCAL or (level == ReadLevel.LEASE and self._lease_holds()):
            self._serve(request)
        elif not self._reads.has_room(request):
            text = f"reads of more than {READS_BYTES_MAX} bytes wait; slow down"
            self._answers.refuse([request.waiter], ErrorCode.UNAVAILABLE, text)
        else:
            self._reads.add(request, self.tick)

    def _change_members(self, request: Request) -> None:
        if self.stopping:
            self._answers.refuse([request.waiter], ErrorCode.UNAVAILABLE, STOPPING)
        else:
            self._members.request(request.waiter, request.data)

    def _lease_holds(self) -> bool:
        index = self._core.lease_index_or_none()
        return index is not None and index <= self._store.last_applied

    def _propose_later(self, request: Request) -> None:
        if self.stopping:
            self._answers.refuse([request.waiter], ErrorCode.UNAVAILABLE, STOPPING)
        elif self._core.role is not Role.LEADER:
            self._answers.refuse_not_leader([request.waiter])
        elif self._waiting_bytes + len(request.data) > WAITING_BYTES_MAX:
            self._answers.refuse(
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
            self._answers.refuse(
                expired, ErrorCode.UNAVAILABLE, "no quorum confirmed the read in time"
            )

    def _propose(self, group: Sequence[Request]) -> None:
        waiters = [request.waiter for request in group]
        if self._core.role is not Role.LEADER:
            self._answers.refuse_not_leader(waiters)
            return
        try:
            self._core.propose(schema.encode_batch([request.data for request in group]))
        except ProposalDropped:
            self._answers.refuse(
                waiters, ErrorCode.UNAVAILABLE, "the leader takes no proposals right now"
            )
        else:
            self._pending.add(self._core.last_index, self._core.term, waiters)

    def _serve(self, request: Request) -> None:
        if is_hash(request.data):
            self._start_hash(request)
            return
        if is_about_members(request.data):
            self._answers.answer([request.waiter], [self._members.list_reply()])
            return
        self._answers.answer([request.waiter], [self._store.read(request.data)])

    def _start_hash(self, request: Request) -> None:
        try:
            refused = self._hashing.start(request.waiter, request.data)
        except schema.MalformedRequest as error:
            self._answers.refuse([request.waiter], ErrorCode.INVALID, str(error))
        except TooManyHashes as error:
            self._answers.refuse([request.waiter], ErrorCode.UNAVAILABLE, str(error))
        else:
            if refused is not None:
                self._answers.answer([request.waiter], [refused])

    def on_hashed(self, hashed: Hashed) -> None:
        waiters = self._hashing.on_done(hashed.question)
        self._answers.answer(waiters, [hashed.reply] * len(waiters))

    def give_up(self, reason: str) -> None:
        """Leadership is lost, or the node stops: what was proposed may still happen; the rest
        not."""
        self._members.give_up(reason, is_final=self.stopping)
        unknown = self._pending.take_all()
        if unknown:
            self._answers.refuse(unknown, ErrorCode.OUTCOME_UNKNOWN, reason)
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        waiters = [request.waiter for request in waiting]
        if self.stopping:  # a hint to this node itself would send the client back here
            self._answers.refuse(waiters, ErrorCode.UNAVAILABLE, STOPPING)
        else:
            self._answers.refuse_not_leader(waiters)
