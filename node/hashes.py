"""HASH: the one read that takes too long for the loop; the store works it out on another thread.

Beside requests.py, which comes here once such a request may be served. The reply goes back through
the loop's inbox as `Hashed`. Whoever asks for what is being worked out already gets that reply.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metastore.engines.contract import Store
from metastore.node.proposals import Waiter, single_operation
from metastore.transport import schema
from metastore.transport.auth_ops import AuthAction, Need, auth

HASHES_MAX = 4  # worked out at a time; each reads the whole store
_HASH = int(schema.Op.HASH)
_CHECK = auth(AuthAction.CHECK, int(Need.ADMIN), b"", b"")  # a hash tells of all keys

# The revision asked for, and last_applied when the work began: equal ones have the same reply.
Question = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Hashed:
    """To the loop: the reply to all HASH requests that asked this."""

    question: Question
    reply: bytes


class TooManyHashes(Exception):
    """Safe to repeat later."""


def is_hash(request: bytes) -> bool:
    """Of one that may be a read: whether it is a HASH alone, whoever's, in the encoding of
    schema.encode_request."""
    return single_operation(request) == _HASH


class Hashing:
    """`start` and `on_done` on the loop thread; `report` is called from another one."""

    def __init__(self, store: Store, report: Callable[[Hashed], None]) -> None:
        self._store = store
        self._report = report
        self._waiters: dict[Question, list[Waiter]] = {}  # of what is being worked out

    def start(self, waiter: Waiter, request: bytes) -> bytes | None:
        """The reply at once if the user that asks may not. Raises schema.MalformedRequest,
        TooManyHashes."""
        *header, (_, revision) = schema.decode_request(request)
        if header:
            reply = self._store.read(schema.encode_request((*header, _CHECK)))
            if schema.decode_results(reply)[0][0] != schema.Code.OK:
                return reply
        question = (revision, self._store.last_applied)
        if (waiters := self._waiters.get(question)) is not None:
            waiters.append(waiter)
            return None
        if len(self._waiters) >= HASHES_MAX:
            raise TooManyHashes(f"{HASHES_MAX} hashes are being worked out; try again later")
        self._store.hash_at(revision, lambda reply: self._report(Hashed(question, reply)))
        self._waiters[question] = [waiter]
        return None

    def on_done(self, question: Question) -> Sequence[Waiter]:
        """Who gets the reply."""
        return self._waiters.pop(question)
