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
_ONE, _TWO = 0x91, 0x92  # how msgpack begins an array of so many
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
# A transaction reads if all of its operations do, and so do some of the actions on users; what is
# about the members is not for the log as it is, and so has to be told from the writes here.
_MAYBE_READS = _PLAIN_READS | {int(Op.TXN), int(Op.AUTH), int(Op.AS)} | MEMBER_OPERATIONS
_AS = int(Op.AS)
# How the header of a user is written, [AS, user, auth_revision]: by the first byte of each of the
# latter two, how many bytes it takes. Other spellings are not looked through.
_HEADER = bytes((0x93, _AS))
_REVISION_BYTES = {**dict.fromkeys(range(0x80), 1), 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}
_SHORT_NAMES = range(0xA0, 0xC0)
_NAME_8 = 0xD9

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
    """Looks at the first operation's code only, after a user's header: False means surely not
    read-only. It spares the leader the decoding of every write; a request that starts with a read
    is decoded in full afterwards, unless it is nothing else."""
    if not request:
        return False
    first = request[0]
    at = 1 if 0x90 <= first <= 0x9F else 3 if first == 0xDC else 5 if first == 0xDD else 0
    if not at or len(request) <= at + 1:
        return False
    code = request[at + 1]
    if code == _AS:
        code = _code_after_header(request, at)
    return code in _MAYBE_READS


def single_operation(request: bytes) -> int:
    """Of one that may be a read: the code of its only operation, whether a user's header stands
    before it or not; 0 if there are more."""
    if request[0] == _ONE:
        return request[2]
    if request[0] == _TWO and request[2] == _AS:
        code = _code_after_header(request, 1)
        return code if code != _AS else 0
    return 0


def _code_after_header(request: bytes, at: int) -> int:
    """The code of the operation behind the user's header at `at`; that of the header itself if it
    is not spelled as it usually is, or nothing is behind it."""
    if request[at : at + 2] != _HEADER or len(request) < at + 4:
        return _AS
    at += 2
    name = request[at]
    if name in _SHORT_NAMES:
        at += 1 + name - _SHORT_NAMES.start
    elif name == _NAME_8:
        at += 2 + request[at + 1]
    else:
        return _AS
    if at >= len(request):
        return _AS
    at += _REVISION_BYTES.get(request[at], len(request))
    return request[at + 1] if at + 1 < len(request) else _AS


def is_plain_read(code: int) -> bool:
    """Of what single_operation gave: whether that is all there is to see."""
    return code in _PLAIN_READS


def is_about_members(request: bytes) -> bool:
    """Of one that may be a read: whether it is for the keeper of the members."""
    return request[0] == _ONE and request[2] in MEMBER_OPERATIONS


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
