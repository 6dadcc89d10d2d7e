"""Who waits for which log entry: every accepted request ends as results, refused, or unknown.

One entry carries everything drained in one turn of the loop, so the bookkeeping is one record per
entry.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from metastore.transport.schema import Op

# One entry's data: small enough that an append of one entry stays well below a peer message.
ENTRY_BYTES_MAX = 1 << 20
ONE_OPERATION = 0x91  # how msgpack begins an array of one
_RANGE = int(Op.RANGE)  # an int compares faster than a member of an enum

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
    leader the decoding of every write; a request that starts with a range is decoded in full
    afterwards."""
    if not request:
        return False
    first = request[0]
    at = 1 if 0x90 <= first <= 0x9F else 3 if first == 0xDC else 5 if first == 0xDD else 0
    return at > 0 and len(request) > at + 1 and request[at + 1] == _RANGE


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
