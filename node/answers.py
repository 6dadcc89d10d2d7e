"""What a node says to whoever waits: results, or a refusal with the leader's number as a hint.

Between the parts that decide (requests.py, effects.py, members/keeper.py) and the replies that the
loop sends at the end of its turn.
"""

from collections.abc import Sequence

from metastore.node.outbox import Replies
from metastore.node.proposals import Waiter
from metastore.node.raft.model import NO_NODE
from metastore.node.raft.node import RaftCore
from metastore.transport import envelope
from metastore.transport.envelope import ErrorCode


class Answers:
    """One reply per waiter, on the loop thread."""

    def __init__(self, core: RaftCore, replies: Replies) -> None:
        self._core = core
        self._replies = replies

    def answer(self, waiters: Sequence[Waiter], replies: Sequence[bytes]) -> None:
        term = self._core.term
        for (identity, request_id), reply in zip(waiters, replies, strict=True):
            self._replies.add(identity, envelope.encode_results_frame(request_id, reply, term))

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
