"""The client's session: numbers its writes, so that a write sent again is not carried out again.

Reading order 5 of the client; §6.3 of the dissertation. Opened at the first write, and anew when
the cluster has forgotten it. Decides and numbers, never sends; the router calls it under the
driver's lock.
"""

import secrets
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any

from metastore.client.calls import Call
from metastore.client.errors import InvalidRequest, NotLeader
from metastore.transport import schema
from metastore.transport.envelope import ReadLevel

OPEN_S_MAX = 5.0  # for one attempt to open a session; calls that wait for it have their own limit
# Numbered and not answered yet. A node keeps 1024 replies of a session: the lowest may be asked for
# again as long as its write is under way here.
UNANSWERED_MAX = 1000
SESSION_ID_MAX = (1 << 63) - 1

_REFUSALS = frozenset((schema.SESSION_NOT_FOUND, schema.SESSION_ANSWERED, schema.REPLY_TOO_LARGE))
_FINAL = (InvalidRequest, NotLeader)  # of an opening: the calls that wait for it end the same way

# [SESSION, session, sequence, answered_below] as the msgpack that it is: a packer per write would
# cost more than all the rest of it.
_HEADER = struct.Struct(">BBBQBQBQ")
_ARRAY_4, _UINT_64, _ARRAY_16 = 0x94, 0xCF, 0xDC
_SMALL_ARRAY, _SMALL_ARRAY_MAX = 0x90, 15
HEADER_BYTES_MAX = _HEADER.size + 2  # and the array around may take two bytes more


def add_header(request: bytes, count: int, session: int, sequence: int, below: int) -> bytes:
    """An encoded request of `count` operations, with a session's header put before them."""
    header = _HEADER.pack(
        _ARRAY_4, schema.Op.SESSION, _UINT_64, session, _UINT_64, sequence, _UINT_64, below
    )
    operations = request[1:] if count <= _SMALL_ARRAY_MAX else request[3:]
    if count < _SMALL_ARRAY_MAX:
        return bytes((_SMALL_ARRAY | (count + 1),)) + header + operations
    return struct.pack(">BH", _ARRAY_16, count + 1) + header + operations


class Session:
    """One session of the cluster's. Sequences are given out in order, each to one call."""

    __slots__ = ("_next_sequence", "_unanswered", "session_id")

    def __init__(self) -> None:
        self.session_id = 1 + secrets.randbelow(SESSION_ID_MAX)
        self._next_sequence = 1
        self._unanswered: deque[Call] = deque()  # the first is not answered; later ones may be

    def number(self, call: Call) -> bool:
        """Makes the call the next of the session; False if too many are under way."""
        unanswered = self._unanswered
        while unanswered and (unanswered[0].is_done or unanswered[0].session is not self):
            unanswered.popleft()
        below = unanswered[0].sequence if unanswered else self._next_sequence
        if self._next_sequence - below >= UNANSWERED_MAX:
            return False
        call.session, call.sequence = self, self._next_sequence
        call.request = add_header(
            call.plain_request, len(call.operations), self.session_id, call.sequence, below
        )
        self._next_sequence += 1
        unanswered.append(call)
        return True


class Sessions:
    """The session of one client, at most one at a time."""

    def __init__(self) -> None:
        self._session: Session | None = None  # open
        self._next: Session | None = None  # being opened
        self._opening: Call | None = None

    def admit(self, call: Call) -> bool:
        """Whether the call may leave now; numbers it if it has no number yet. A call may also end
        here, with the error that the session could not be opened for."""
        if call.session is not None:
            return True
        self._settle()
        if self._session is not None:
            return self._session.number(call)
        if self._opening is not None and isinstance(self._opening.error, _FINAL):
            call.fail(self._opening.error)
        return False

    def forget_failure(self) -> None:
        """The calls that waited for a session that was refused have ended; the next one may try
        again."""
        if self._opening is not None and isinstance(self._opening.error, _FINAL):
            self._opening = None

    def opening_or_none(self, now: float) -> Call | None:
        """The call that opens a session, once, when there is none."""
        if self._session is not None or (self._opening is not None and not self._opening.is_done):
            return None
        self._next = self._next or Session()
        operation = (int(schema.Op.SESSION_OPEN), self._next.session_id)
        self._opening = Call([operation], ReadLevel.LINEARIZABLE, now + OPEN_S_MAX)
        return self._opening

    def _settle(self) -> None:
        """Takes in how the opening went."""
        opening = self._opening
        if opening is None or not opening.is_done or opening.error is not None:
            return
        status = opening.results[0] if opening.results else (int(schema.Code.UNIMPLEMENTED), "")
        if status[0] == schema.Code.OK:
            self._session, self._next, self._opening = self._next, None, None
        else:
            opening.error = InvalidRequest(f"no session: {status[1]}", status[0])

    def refusal_or_none(self, call: Call, results: Sequence[Any]) -> str | None:
        """The words with which the session, not an operation, refused the request."""
        if call.session is None or len(results) != 1:
            return None
        status = results[0]
        if status[0] != schema.Code.FAILED_PRECONDITION or status[1] not in _REFUSALS:
            return None
        return str(status[1])

    def renumber(self, call: Call, refusal: str) -> None:
        """After a refusal of a call that surely was not carried out: it waits for a new number."""
        if refusal == schema.SESSION_NOT_FOUND and call.session is self._session:
            self._session = None
        call.session = None
        call.request = call.plain_request

    def farewell_or_none(self) -> Call | None:
        """What closes the session, if there is one."""
        self._settle()
        if self._session is None:
            return None
        operation = (int(schema.Op.SESSION_CLOSE), self._session.session_id)
        return Call([operation], ReadLevel.LINEARIZABLE, 0.0)


def why_unknown(refusal: str) -> str:
    """What a session's refusal means for a write whose first answer was lost."""
    if refusal == schema.REPLY_TOO_LARGE:
        return "the write was applied; its answer was lost and was too large to be kept"
    return f"the answer was lost, and the cluster cannot tell any more ({refusal})"
