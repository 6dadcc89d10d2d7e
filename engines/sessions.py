"""Sessions of clients: a command that is sent again is answered again, not carried out again.

Reading order 7 of the engines; §6.3 of the dissertation. Replicated as everything here: sessions
come, go and fall out in the order of the log, by no clock. Whatever has to be forgotten for lack of
room is forgotten such that its repetition is refused, never carried out.
"""

from collections import OrderedDict
from collections.abc import Iterable
from struct import Struct
from struct import error as StructError
from typing import Final

from metastore.engines.contract import StorageDamaged
from metastore.transport.schema import (
    REPLY_TOO_LARGE,
    SESSION_ANSWERED,
    SESSION_NOT_FOUND,
    Code,
    encode_results,
)

SESSIONS_MAX = 10_000  # over it, the one goes that was not used for longest
REPLIES_MAX = 1024  # kept of one session; over it, the lowest sequence counts as answered
REPLY_BYTES_MAX = 64 * 1024  # of a longer one it is only kept that there was one
KEPT_BYTES_MAX = 128 * 1024 * 1024  # of all sessions; over it, as over SESSIONS_MAX
KEPT_OVERHEAD_BYTES = 128  # what a kept reply costs beside its bytes

SESSION_FACT = b"session/"
REPLY_FACT = b"reply/"

_ID = Struct(">q")
_REPLY_NAME = Struct(">qq")
_SESSION = Struct(">qqq")
# In place of a reply that is not kept itself; no encoded reply is empty.
_NOT_KEPT: Final = b""


def _refusal(sentence: str) -> bytes:
    return encode_results(((int(Code.FAILED_PRECONDITION), sentence),))


_NOT_FOUND = _refusal(SESSION_NOT_FOUND)
_ANSWERED = _refusal(SESSION_ANSWERED)
_TOO_LARGE = _refusal(REPLY_TOO_LARGE)


class Session:
    """One session: the replies that its client may still ask for, by sequence. `used` is the place
    in the log of its last use: (index, place in the entry)."""

    __slots__ = ("answered_below", "bytes_kept", "replies", "used")

    def __init__(self, answered_below: int = 0, used: tuple[int, int] = (0, 0)) -> None:
        self.answered_below = answered_below
        self.used = used
        self.replies: dict[int, bytes] = {}
        self.bytes_kept = 0


class Sessions:
    """All sessions, the least recently used one first."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[int, Session] = OrderedDict()
        self._bytes_kept = 0
        self.changed_facts: dict[bytes, bytes | None] | None = None  # None: nobody asks

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def bytes_kept(self) -> int:
        return self._bytes_kept

    def open(self, session_id: int, used: tuple[int, int]) -> None:
        """One that is open already stays as it is, and counts as used."""
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session()
            if len(self._sessions) > SESSIONS_MAX:
                self._forget_oldest()
        self._use(session_id, session, used)

    def close(self, session_id: int) -> None:
        if session_id in self._sessions:
            self._forget(session_id)

    def begin(
        self, session_id: int, sequence: int, answered_below: int, used: tuple[int, int]
    ) -> bytes | None:
        """The encoded reply to give without carrying anything out, or None: the command is new,
        and `keep` is told its reply."""
        session = self._sessions.get(session_id)
        if session is None:
            return _NOT_FOUND
        if answered_below > session.answered_below:
            self._drop_answered(session_id, session, answered_below)
        self._use(session_id, session, used)
        kept = session.replies.get(sequence)
        if kept is not None:
            return kept or _TOO_LARGE
        return _ANSWERED if sequence < session.answered_below else None

    def keep(self, session_id: int, sequence: int, reply: bytes) -> None:
        """Right after the command was carried out."""
        session = self._sessions.get(session_id)
        if session is None:  # the command itself closed it
            return
        if len(reply) > REPLY_BYTES_MAX:
            reply = _NOT_KEPT
        self._put(session, sequence, reply)
        if self.changed_facts is not None:
            self.changed_facts[REPLY_FACT + _REPLY_NAME.pack(session_id, sequence)] = reply
        if len(session.replies) > REPLIES_MAX:
            self._drop_answered(session_id, session, min(session.replies) + 1)
            self._note(session_id, session)
        # The session itself was used last: it stays, within the bounds of one.
        while self._bytes_kept > KEPT_BYTES_MAX and len(self._sessions) > 1:
            self._forget_oldest()

    # As facts

    def facts(self) -> list[tuple[bytes, bytes]]:
        """The sessions themselves, by ascending name."""
        return sorted(
            (SESSION_FACT + _ID.pack(session_id), _encode(session))
            for session_id, session in self._sessions.items()
        )

    def reply_facts(self) -> list[tuple[bytes, bytes]]:
        """By ascending name."""
        return sorted(
            (REPLY_FACT + _REPLY_NAME.pack(session_id, sequence), reply)
            for session_id, session in self._sessions.items()
            for sequence, reply in session.replies.items()
        )

    def load(self, facts: Iterable[tuple[bytes, bytes]]) -> None:
        """Of no sessions, in any order. Raises StorageDamaged."""
        sessions: dict[int, Session] = {}
        replies: list[tuple[bytes, bytes]] = []
        try:
            for name, value in facts:
                if name.startswith(REPLY_FACT):
                    replies.append((name, value))
                    continue
                answered_below, *used = _SESSION.unpack(value)
                session = Session(answered_below, (used[0], used[1]))
                sessions[_ID.unpack(name[len(SESSION_FACT) :])[0]] = session
            for name, value in sorted(replies):
                session_id, sequence = _REPLY_NAME.unpack(name[len(REPLY_FACT) :])
                self._put(sessions[session_id], sequence, value)
        except (KeyError, StructError):
            raise StorageDamaged(f"a fact that is no session: {name!r}") from None
        self._sessions = OrderedDict(sorted(sessions.items(), key=lambda item: item[1].used))

    def _put(self, session: Session, sequence: int, reply: bytes) -> None:
        session.replies[sequence] = reply
        cost = len(reply) + KEPT_OVERHEAD_BYTES
        session.bytes_kept += cost
        self._bytes_kept += cost

    def _use(self, session_id: int, session: Session, used: tuple[int, int]) -> None:
        session.used = used
        self._sessions.move_to_end(session_id)
        if self.changed_facts is not None:
            self.changed_facts[SESSION_FACT + _ID.pack(session_id)] = _encode(session)

    def _note(self, session_id: int, session: Session) -> None:
        if self.changed_facts is not None:
            self.changed_facts[SESSION_FACT + _ID.pack(session_id)] = _encode(session)

    def _drop_answered(self, session_id: int, session: Session, answered_below: int) -> None:
        replies = session.replies
        span = range(session.answered_below, answered_below)
        session.answered_below = answered_below
        # Whichever is shorter: what was answered since the last time, or what is kept.
        candidates: Iterable[int] = span
        if answered_below - span.start > len(replies):
            candidates = sorted(sequence for sequence in replies if sequence < answered_below)
        for sequence in candidates:
            reply = replies.pop(sequence, None)
            if reply is None:
                continue
            cost = len(reply) + KEPT_OVERHEAD_BYTES
            session.bytes_kept -= cost
            self._bytes_kept -= cost
            if self.changed_facts is not None:
                self.changed_facts[REPLY_FACT + _REPLY_NAME.pack(session_id, sequence)] = None

    def _forget_oldest(self) -> None:
        self._forget(next(iter(self._sessions)))

    def _forget(self, session_id: int) -> None:
        session = self._sessions.pop(session_id)
        self._bytes_kept -= session.bytes_kept
        if self.changed_facts is not None:
            for sequence in session.replies:
                self.changed_facts[REPLY_FACT + _REPLY_NAME.pack(session_id, sequence)] = None
            self.changed_facts[SESSION_FACT + _ID.pack(session_id)] = None


def _encode(session: Session) -> bytes:
    return _SESSION.pack(session.answered_below, *session.used)
