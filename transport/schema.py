"""Requests and replies of clients as msgpack: the one thing that engines, node and client share.

A *request* is a sequence of operations, encoded once by the client (`encode_request`) and carried
as opaque bytes through the leader, the log and the peers until the engine applies it. A reply is
the sequence of results in the same order (`encode_results`). Operations of one request are applied
in order, each at its own revision; several at one revision are a TXN, an operation of its own.
Operations are arrays, first element the code; what must be in them is in shapes.py:

    [PUT, key, value, lease, flags]                            flags: Flag, or'ed
    [DELETE_RANGE, key, range_end, flags]
    [RANGE, key, range_end, limit, revision, flags]
    [FILTERED_RANGE, key, range_end, limit, revision, flags, sort_order, sort_target,
        min_mod_revision, max_mod_revision, min_create_revision, max_create_revision]
    [TXN, [compare, ...], [operation, ...], [operation, ...]]  the latter: success, failure
        compare = [result, target, key, range_end, operand]    operand: bytes for VALUE, else int
    [COMPACT, revision, physical]
    [LEASE_GRANT, lease, ttl_s]                                lease 0: the store chooses
    [LEASE_REVOKE, lease]  [LEASE_KEEP_ALIVE, lease]  [LEASE_TIME_TO_LIVE, lease, keys]  [LEASES]
    [HASH, revision]  [ALARMS]
    [ALARM_CHANGE, alarm, is_on]                  one whose cause is still there comes back
    [SESSION, session, sequence, answered_below]               header: first of a request or absent
    [SESSION_OPEN, session]  [SESSION_CLOSE, session]
    [AS, ...]  [AUTH, action, ...]                             users and roles: auth_ops.py

Results are arrays, first element the status (OK or an error code):

    PUT                 [OK, revision, prev | None]
    DELETE_RANGE        [OK, revision, deleted, [prev, ...]]
    RANGE               [OK, revision, [kv, ...], more, count]
    TXN                 [OK, revision, succeeded, [result, ...]]
    LEASE_GRANT         [OK, revision, lease, ttl_s]
    LEASE_KEEP_ALIVE    [OK, revision, ttl_s]                  0: there is no such lease
    LEASE_TIME_TO_LIVE  [OK, revision, ttl_s, granted_ttl_s, [key, ...]]   ttl -1: no such lease
    LEASES              [OK, revision, [lease, ...]]
    HASH                [OK, revision, hash, compact_revision, hash_revision]
    ALARMS              [OK, revision, [alarm, ...]]
    LEASE_REVOKE, COMPACT, ALARM_CHANGE, SESSION_OPEN and _CLOSE  [OK, revision]
    error               [code, message]

A header (SESSION, AS) has no result of its own. kv = [key, value, create_revision, mod_revision,
version, lease]. Keys and values are bytes. `range_end` is etcd's: b"" one key, b"\\0" all keys from
`key` on, else the half-open end.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum, IntFlag
from typing import Any, TypeAlias

import msgpack

from metastore.transport import shapes
from metastore.transport.read_only import is_read_only as is_read_only
from metastore.transport.shapes import OPERATIONS_MAX as OPERATIONS_MAX
from metastore.transport.shapes import MalformedRequest as MalformedRequest

# One request: etcd's default limit, and what headers and our encoding may add to that.
REQUEST_BYTES_MAX = (1536 + 16) * 1024

Operation: TypeAlias = Sequence[Any]
Result: TypeAlias = Sequence[Any]


class Op(IntEnum):
    PUT = shapes.PUT
    DELETE_RANGE = shapes.DELETE_RANGE
    RANGE = shapes.RANGE
    FILTERED_RANGE = shapes.FILTERED_RANGE
    TXN = shapes.TXN
    COMPACT = shapes.COMPACT
    LEASE_GRANT = shapes.LEASE_GRANT
    LEASE_REVOKE = shapes.LEASE_REVOKE
    LEASE_KEEP_ALIVE = shapes.LEASE_KEEP_ALIVE
    LEASE_TIME_TO_LIVE = shapes.LEASE_TIME_TO_LIVE
    LEASES = shapes.LEASES
    HASH = shapes.HASH
    SESSION = shapes.SESSION
    SESSION_OPEN = shapes.SESSION_OPEN
    SESSION_CLOSE = shapes.SESSION_CLOSE
    ALARMS = shapes.ALARMS
    ALARM_CHANGE = shapes.ALARM_CHANGE
    AS = shapes.AS  # this one and the next: auth_ops.py
    AUTH = shapes.AUTH
    # Proposed by the leader itself, see encode_internal:
    LEASE_EXPIRE = shapes.LEASE_EXPIRE  # [LEASE_EXPIRE, lease, renewals seen by the leader]
    LEASE_CHECKPOINT = shapes.LEASE_CHECKPOINT  # [LEASE_CHECKPOINT, lease, renewals, remaining_s]
    ALARM = shapes.ALARM  # [ALARM, alarm, is_on]


class Flag(IntFlag):
    """Of PUT, DELETE_RANGE and the ranges; each knows only its own."""

    PREV_KV = 1
    IGNORE_VALUE = 2
    IGNORE_LEASE = 4
    KEYS_ONLY = 8
    COUNT_ONLY = 16
    NO_COUNT = 32  # of a range: count is the number of items; spares walking the whole range


class SortOrder(IntEnum):
    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(IntEnum):
    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class CompareResult(IntEnum):
    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareTarget(IntEnum):
    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class Alarm(IntEnum):
    NOSPACE = 1
    CORRUPT = 2


class Code(IntEnum):
    """Status of a result; the non-zero ones are gRPC's numbers, as etcd uses them."""

    OK = 0
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12


KEY_NOT_PROVIDED = "etcdserver: key is not provided"
FUTURE_REVISION = "etcdserver: mvcc: required revision is a future revision"
COMPACTED = "etcdserver: mvcc: required revision has been compacted"
KEY_NOT_FOUND = "etcdserver: key not found"
VALUE_PROVIDED = "etcdserver: value is provided"
LEASE_PROVIDED = "etcdserver: lease is provided"
LEASE_NOT_FOUND = "etcdserver: requested lease not found"
LEASE_EXISTS = "etcdserver: lease already exists"
LEASE_TTL_TOO_LARGE = "etcdserver: too large lease TTL"
DUPLICATE_KEY = "etcdserver: duplicate key given in txn request"
TOO_MANY_OPERATIONS = "etcdserver: too many operations in txn request"
INVALID_SORT_OPTION = "etcdserver: invalid sort option"
NO_SPACE = "etcdserver: mvcc: database space exceeded"
# Ours; etcd has no sessions.
SESSION_NOT_FOUND = "metastore: session not found"
SESSION_ANSWERED = "metastore: this command of the session was answered before"
REPLY_TOO_LARGE = "metastore: applied before; the reply was too large to keep"


# One packer for all: a new one allocates a quarter of a megabyte for every few bytes it packs. A
# call never lets another thread in between (plain values only), and a failed one leaves nothing
# behind.
_pack: Callable[[object], bytes] = msgpack.Packer().pack


def put(
    key: bytes,
    value: bytes,
    *,
    lease: int = 0,
    prev_kv: bool = False,
    ignore_value: bool = False,
    ignore_lease: bool = False,
) -> Operation:
    return (shapes.PUT, key, value, lease, prev_kv | ignore_value << 1 | ignore_lease << 2)


def delete_range(key: bytes, range_end: bytes = b"", *, prev_kv: bool = False) -> Operation:
    return (shapes.DELETE_RANGE, key, range_end, int(prev_kv))


def range_(
    key: bytes,
    range_end: bytes = b"",
    *,
    limit: int = 0,
    revision: int = 0,
    keys_only: bool = False,
    count_only: bool = False,
    no_count: bool = False,
) -> Operation:
    flags = keys_only << 3 | count_only << 4 | no_count << 5
    return (shapes.RANGE, key, range_end, limit, revision, flags)


def filtered_range(
    plain: Operation,
    *,
    sort_order: int = SortOrder.NONE,
    sort_target: int = SortTarget.KEY,
    min_mod_revision: int = 0,
    max_mod_revision: int = 0,
    min_create_revision: int = 0,
    max_create_revision: int = 0,
) -> Operation:
    """A range made by `range_`, ordered and filtered; 0 is no bound."""
    bounds = (min_mod_revision, max_mod_revision, min_create_revision, max_create_revision)
    return (shapes.FILTERED_RANGE, *plain[1:], int(sort_order), int(sort_target), *bounds)


def compare(
    target: int, result: int, key: bytes, operand: bytes | int, range_end: bytes = b""
) -> Sequence[Any]:
    return (int(result), int(target), key, range_end, operand)


def txn(
    compares: Sequence[Sequence[Any]],
    success: Sequence[Operation] = (),
    failure: Sequence[Operation] = (),
) -> Operation:
    return (shapes.TXN, tuple(compares), tuple(success), tuple(failure))


def encode_request(operations: Sequence[Operation]) -> bytes:
    return _pack(operations)


def decode_request(data: bytes) -> Sequence[Operation]:
    """Raises MalformedRequest; never anything else, whatever the bytes."""
    operations = _unpack_operations(data)
    shapes.check_operations(operations)
    return operations


def _unpack_operations(data: bytes) -> tuple[Any, ...]:
    try:
        operations = msgpack.unpackb(data, use_list=False, strict_map_key=True)
    except Exception as error:
        raise MalformedRequest(f"not msgpack: {error}") from None
    if type(operations) is not tuple or not operations:
        raise MalformedRequest("a request is a non-empty array of operations")
    return operations


def encode_results(results: Sequence[Result]) -> bytes:
    return _pack(results)


def decode_results(data: bytes) -> Sequence[Result]:
    return msgpack.unpackb(data, use_list=False)  # type: ignore[no-any-return]


def encode_batch(requests: Sequence[bytes]) -> bytes:
    """The data of one Raft entry: many clients' requests, untouched, in one array."""
    return _pack(requests)


def decode_batch(data: bytes) -> Sequence[bytes]:
    return msgpack.unpackb(data, use_list=False) if data else ()


def encode_internal(term: int, operations: Sequence[Operation]) -> bytes:
    """The data of an entry of the leader's own, which holds in its `term` only. Clients' requests
    are bytes inside of an array, so no client can make one."""
    return _pack((None, term, _pack(operations)))


def decode_internal_or_none(batch: Sequence[Any]) -> tuple[int, Sequence[Operation]] | None:
    """From what decode_batch gave: (term, operations), or None for an entry of clients. Raises
    MalformedRequest."""
    if len(batch) != 3 or batch[0] is not None:
        return None
    _, term, data = batch
    if type(term) is not int or type(data) is not bytes:
        raise MalformedRequest("an internal entry is [nil, term, operations]")
    operations = _unpack_operations(data)
    for operation in operations:
        shapes.check_operation(operation, shapes=shapes.INTERNAL_SHAPES)
    return term, operations
