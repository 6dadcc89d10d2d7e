"""Requests and replies of clients as msgpack: the one thing that engines, node and client share.

A *request* is a sequence of operations, encoded once by the client (`encode_request`) and carried
as opaque bytes through the leader, the log and the peers until the engine applies it. A reply is
the sequence of results in the same order (`encode_results`). Operations of one request are applied
in order, each at its own revision; they are not a transaction (that is an operation of its own, and
comes with the store's full semantics). Operations are arrays, first element the code:

    [PUT, key, value, prev_kv]
    [DELETE_RANGE, key, range_end, prev_kv]
    [RANGE, key, range_end, limit, revision, keys_only, count_only]

Results are arrays, first element the status (OK or an error code):

    PUT           [OK, revision, prev | None]
    DELETE_RANGE  [OK, revision, deleted, [prev, ...]]
    RANGE         [OK, revision, [kv, ...], more, count]
    error         [code, message]

with kv = [key, value, create_revision, mod_revision, version, lease]. Keys and values are bytes.
`range_end` is etcd's: b"" one key, b"\\0" all keys from `key` on, else the half-open end.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, TypeAlias

import msgpack

REQUEST_BYTES_MAX = 1536 * 1024  # one request (etcd's default request limit)
OPERATIONS_MAX = 4096  # of one request

Operation: TypeAlias = Sequence[Any]
Result: TypeAlias = Sequence[Any]


class Op(IntEnum):
    PUT = 1
    DELETE_RANGE = 2
    RANGE = 3
    # 4 TXN, 5 COMPACT, 6.. leases: taken by the store's full semantics


class Code(IntEnum):
    """Status of a result; the non-zero ones are gRPC's numbers, as etcd uses them."""

    OK = 0
    INVALID_ARGUMENT = 3
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12


KEY_NOT_PROVIDED = "etcdserver: key is not provided"
FUTURE_REVISION = "etcdserver: mvcc: required revision is a future revision"
COMPACTED = "etcdserver: mvcc: required revision has been compacted"


class MalformedRequest(ValueError):
    """Bytes that are no request; the sentence says what is wrong."""


# One packer for all: a new one allocates a quarter of a megabyte for every few bytes it packs. A
# call never lets another thread in between (plain values only), and a failed one leaves nothing
# behind.
_pack: Callable[[object], bytes] = msgpack.Packer().pack


def put(key: bytes, value: bytes, *, prev_kv: bool = False) -> Operation:
    return (Op.PUT, key, value, prev_kv)


def delete_range(key: bytes, range_end: bytes = b"", *, prev_kv: bool = False) -> Operation:
    return (Op.DELETE_RANGE, key, range_end, prev_kv)


def range_(
    key: bytes,
    range_end: bytes = b"",
    *,
    limit: int = 0,
    revision: int = 0,
    keys_only: bool = False,
    count_only: bool = False,
) -> Operation:
    return (Op.RANGE, key, range_end, limit, revision, keys_only, count_only)


def encode_request(operations: Sequence[Operation]) -> bytes:
    return _pack(operations)


_SHAPES: dict[int, tuple[type, ...]] = {
    int(Op.PUT): (int, bytes, bytes, bool),
    int(Op.DELETE_RANGE): (int, bytes, bytes, bool),
    int(Op.RANGE): (int, bytes, bytes, int, int, bool, bool),
}


def decode_request(data: bytes) -> Sequence[Operation]:
    """Raises MalformedRequest; never anything else, whatever the bytes."""
    try:
        operations = msgpack.unpackb(data, use_list=False, strict_map_key=True)
    except Exception as error:
        raise MalformedRequest(f"not msgpack: {error}") from None
    if type(operations) is not tuple or not operations:
        raise MalformedRequest("a request is a non-empty array of operations")
    if len(operations) > OPERATIONS_MAX:
        raise MalformedRequest(f"{len(operations)} operations, at most {OPERATIONS_MAX}")
    for operation in operations:
        # The usual case in one comparison; the sentence about an unusual one may take its time.
        if type(operation) is not tuple or _shape_or_none(operation) != tuple(map(type, operation)):
            _check_operation(operation)
    return operations


def _shape_or_none(operation: tuple[Any, ...]) -> tuple[type, ...] | None:
    try:
        return _SHAPES[operation[0]]
    except (IndexError, KeyError, TypeError):  # empty, unknown, unhashable
        return None


def _check_operation(operation: object) -> None:
    if type(operation) is not tuple or not operation or type(operation[0]) is not int:
        raise MalformedRequest("an operation is an array that starts with its code")
    shape = _SHAPES.get(operation[0])
    if shape is None:
        raise MalformedRequest(f"unknown operation {operation[0]}")
    if len(operation) != len(shape):
        raise MalformedRequest(f"operation {operation[0]} takes {len(shape) - 1} fields")
    for value, expected in zip(operation, shape, strict=True):
        if type(value) is not expected:
            found = type(value).__name__
            raise MalformedRequest(
                f"operation {operation[0]}: {found} where {expected.__name__} belongs"
            )


def is_read_only(operations: Sequence[Operation]) -> bool:
    return all(operation[0] == Op.RANGE for operation in operations)


def encode_results(results: Sequence[Result]) -> bytes:
    return _pack(results)


def decode_results(data: bytes) -> Sequence[Result]:
    return msgpack.unpackb(data, use_list=False)  # type: ignore[no-any-return]


def encode_batch(requests: Sequence[bytes]) -> bytes:
    """The data of one Raft entry: many clients' requests, untouched, in one array."""
    return _pack(requests)


def decode_batch(data: bytes) -> Sequence[bytes]:
    return msgpack.unpackb(data, use_list=False) if data else ()
