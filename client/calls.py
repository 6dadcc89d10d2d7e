"""One request on its way: what it is, how far it got, and how it ended.

Reading order 4 of the client. Plain state; the driver changes it under its lock.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from metastore.client.errors import InvalidRequest, MetastoreError
from metastore.transport import member_ops, schema
from metastore.transport.envelope import ReadLevel

if TYPE_CHECKING:
    from metastore.client.sessions import Session

LEVELS = {level.name.lower(): level for level in ReadLevel}
# Writes that may be carried out twice without anybody noticing: they need no session. Nor does a
# user's header make one.
_HARMLESS = frozenset((schema.Op.LEASE_KEEP_ALIVE, schema.Op.SESSION_OPEN, schema.Op.AS))


def _repeats_itself(operations: Sequence[schema.Operation]) -> bool:
    """Whether the leader answers the second time as it did the first. A leadership moved "to
    somebody" twice may come back to where it was: the one exception among those about members."""
    kind = operations[0][0]
    is_named_move = kind == member_ops.MOVE_LEADER and bool(operations[0][1])
    return kind == member_ops.MEMBER_CHANGE or is_named_move


def to_level(name: str) -> ReadLevel:
    """Raises InvalidRequest for a name that is none of the three."""
    level = LEVELS.get(name)
    if level is None:
        raise InvalidRequest(f"read level {name!r} is none of {', '.join(LEVELS)}")
    return level


class Call:
    """A request with its fate.

    is_sent: it left on the connection that has it, and was not answered yet.
    is_lost: it left before and the answer to that will never be had; it may have been applied.
    """

    __slots__ = (
        "deadline",
        "error",
        "is_done",
        "is_harmless",
        "is_lost",
        "is_read",
        "is_repeatable",
        "is_sent",
        "level",
        "on_done",
        "operations",
        "plain_request",
        "reason",
        "request",
        "results",
        "sent_at",
        "sequence",
        "session",
        "term",
        "wants_session",
    )

    def __init__(
        self,
        operations: Sequence[schema.Operation],
        level: ReadLevel,
        deadline: float,
        *,
        use_sessions: bool = False,
    ) -> None:
        self.operations = operations
        self.plain_request = self.request = schema.encode_request(operations)
        self.is_read = schema.is_read_only(operations) or operations[0][0] == member_ops.MEMBERS
        # Carried out twice, or not known whether at all: nobody need know.
        self.is_harmless = self.is_read or all(op[0] in _HARMLESS for op in operations)
        self.is_repeatable = self.is_harmless or _repeats_itself(operations)
        # Requests about members never reach the store, which keeps the sessions.
        is_of_store = operations[0][0] not in member_ops.MEMBER_OPERATIONS
        self.wants_session = use_sessions and is_of_store and not self.is_repeatable
        self.session: Session | None = None
        self.sequence = 0
        self.level = level if self.is_read else ReadLevel.LINEARIZABLE
        self.deadline = deadline  # of time.monotonic(), seconds
        self.sent_at = 0.0  # not after the last sending; of time.monotonic()
        self.is_sent = False
        self.is_lost = False
        self.is_done = False
        self.on_done: Callable[[], None] | None = None  # must not wait, nor raise
        self.results: Sequence[Any] = ()
        self.term = 0  # of the node that answered
        self.error: MetastoreError | None = None
        self.reason = "no node has been reached yet"  # why it has not been served so far

    def may_be_sent_again(self) -> bool:
        """Although it left and was not answered."""
        return self.is_repeatable or self.session is not None

    def may_have_happened(self) -> bool:
        return (self.is_sent or self.is_lost) and not self.is_harmless

    def finish(self, results: Sequence[Any], term: int = 0) -> None:
        self.results, self.term = results, term
        self._end()

    def fail(self, error: MetastoreError) -> None:
        self.error = error
        self._end()

    def _end(self) -> None:
        self.is_done = True
        if self.on_done is not None:
            self.on_done()
