"""Who waits for which log entry: every accepted request ends as results, refused, or unknown.

One entry carries everything drained in one turn of the loop, so the bookkeeping is one record per
entry.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from metastore.transport.member_ops import MEMBER_OPERATIONS, members
from metastore.transport.schema import Op, encode_request

# One entry's data: small enough that an append of one entry stays well below a peer message.
ENTRY_BYTES_MAX = 1 << 20
ONE_OPERATION = 0x91  # how msgpack begins an array of one
# Ints, which are found faster than members of an enum.
_PLAIN_READS = frozenset(
    map(
        int,
        (
            Op.RANGE,
            Op.FILTERED_RANGE,
            Op.LEASE_TIME_TO_LIVE,
            Op.LEASES,
            Op.HASH,
            Op.ALARMS,
        ),
    )
)
# A transaction reads if all of its operations do; what is about the members is not for the log as
# it is, and so has to be told from the writes here.
_MAYBE_READS = _PLAIN_READS | {int(Op.TXN)} | MEMBER_OPERATIONS

_MEMBER_LIST = encode_request([members()])

Waiter: TypeAlias = tuple[bytes, int]
"""(identity of the client's connection, its request id)"""


class Request(NamedTuple):
    identity: bytes
    request_id: int
    data: bytes

    @property
    def waiter(self) -> Waiter:
        return (self.identity, self.request_id)


def split_by_size(requests: Sequence[Request]) -> Iterator[Sequence[Request]]:
    """Cuts a turn's requests into batches of at most ENTRY_BYTES_MAX (a single larger one
    alone)."""
    start, size = 0, 0
    for position, request in enumerate(requests):
        if size and size + len(request.data) > ENTRY_BYTES_MAX:
            yield requests[start:position]
            start, size = position, 0
        size += len(request.data)
    if start < len(requests):
        yield requests[start:]


def may_be_read(request: bytes) -> bool:
    """Looks at the first operation's code only: False means surely not read-only. It spares the
    leader the decoding of every write; a request that starts with a read is decoded in full
    afterwards, unless it is nothing else."""
    if not request:
        return False
    first = request[0]
    at = 1 if 0x90 <= first <= 0x9F else 3 if first == 0xDC else 5 if first == 0xDD else 0
    return at > 0 and len(request) > at + 1 and request[at + 1] in _MAYBE_READS


def is_one_plain_read(request: bytes) -> bool:
    """Of one that may be a read: whether the code that was seen is all there is to see."""
    return request[0] == ONE_OPERATION and request[2] in _PLAIN_READS


def is_about_members(request: bytes) -> bool:
    """Of one that may be a read: whether it is for the keeper of the members."""
    return request[0] == ONE_OPERATION and request[2] in MEMBER_OPERATIONS


def is_member_list(request: bytes) -> bool:
    return request == _MEMBER_LIST


class PendingProposals:
    """Waiters by log index, with the term in which their entry was appended."""

    def __init__(self) -> None:
        self._by_index: dict[int, tuple[int, Sequence[Waiter]]] = {}

    def __len__(self) -> int:
        return len(self._by_index)

    def add(self, index: int, term: int, waiters: Sequence[Waiter]) -> None:
        self._by_index[index] = (term, waiters)

    def take(self, index: int, term: int) -> tuple[Sequence[Waiter], bool]:
        """The waiters of a committed entry, and whether it is theirs. If another term's entry was
        committed at their index, theirs can never be (State Machine Safety): it did not happen."""
        found = self._by_index.pop(index, None)
        if found is None:
            return (), False
        return found[1], found[0] == term

    def take_all(self) -> list[Waiter]:
        """All waiters, when this node can no longer learn their fate (leadership lost,
        stopping)."""
        waiters = [waiter for _, group in self._by_index.values() for waiter in group]
        self._by_index.clear()
        return waiters
