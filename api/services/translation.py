"""Between the messages of etcd's KV service and the operations and results of the node.

Below kv.py. What a request can be refused for whatever the state is found here, in etcd's order and
words, before it costs anybody a question. Pure; `to_x` makes an operation of a request, `fill_x`
puts a result into a reply, but for the header of the whole answer, which is the caller's.
"""

from collections.abc import Callable, Iterable
from typing import Any

from metastore.api.calls import ApiError, Status
from metastore.api.failures import TOO_LARGE
from metastore.transport import shapes
from metastore.transport.schema import (
    INVALID_SORT_OPTION,
    KEY_NOT_FOUND,
    KEY_NOT_PROVIDED,
    LEASE_PROVIDED,
    TOO_MANY_OPERATIONS,
    VALUE_PROVIDED,
    CompareResult,
    CompareTarget,
    Operation,
    Result,
    SortOrder,
    SortTarget,
    compare,
)

# etcd counts the request as it goes into its log: in an envelope of 18 bytes, or up to three less,
# since one of the ids in it may be shorter.
MESSAGE_BYTES_MAX = 1536 * 1024 - 18
TXN_OPERATIONS_MAX = 128  # comparisons, or operations of a branch; less what is above it
SMALL_BYTES = 64  # more than a put or a delete has beside its key and value

_PUT, _DELETE_RANGE, _RANGE, _FILTERED_RANGE = (
    *(shapes.PUT, shapes.DELETE_RANGE, shapes.RANGE),
    shapes.FILTERED_RANGE,
)
_TXN = shapes.TXN
_ORDER_MAX, _TARGET_MAX = max(SortOrder), max(SortTarget)
_VALUE = int(CompareTarget.VALUE)
_EQUAL = int(CompareResult.EQUAL)
_RESULT_MAX, _COMPARED_MAX = max(CompareResult), max(CompareTarget)
_NO_VERSION = -1  # that no key ever has


def _refusal(message: str) -> ApiError:
    return ApiError(Status.INVALID_ARGUMENT, message)


def check_size(request: Any) -> None:
    """Of a request that goes through the log. Raises ApiError."""
    if request.ByteSize() > MESSAGE_BYTES_MAX:
        raise _refusal(TOO_LARGE)


# Requests


def to_put(request: Any) -> Operation:
    key, value, lease = request.key, request.value, request.lease
    flags = request.prev_kv | request.ignore_value << 1 | request.ignore_lease << 2
    if not key:
        raise _refusal(KEY_NOT_PROVIDED)
    if flags > 1:
        if flags & 2 and value:
            raise _refusal(VALUE_PROVIDED)
        if flags & 4 and lease:
            raise _refusal(LEASE_PROVIDED)
    # Its exact size costs as much as encoding it: only where it can matter.
    if len(key) + len(value) > MESSAGE_BYTES_MAX - SMALL_BYTES:
        check_size(request)
    return (_PUT, key, value, lease, flags)


def to_delete_range(request: Any) -> Operation:
    key, range_end = request.key, request.range_end
    if not key:
        raise _refusal(KEY_NOT_PROVIDED)
    if len(key) + len(range_end) > MESSAGE_BYTES_MAX - SMALL_BYTES:
        check_size(request)
    return (_DELETE_RANGE, key, range_end, int(request.prev_kv))


def to_range(request: Any) -> Operation:
    key = request.key
    if not key:
        raise _refusal(KEY_NOT_PROVIDED)
    flags = request.keys_only << 3 | request.count_only << 4
    plain = (_RANGE, key, request.range_end, request.limit, request.revision, flags)
    if not (
        request.sort_order
        or request.sort_target
        or request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    ):
        return plain
    order, target = request.sort_order, request.sort_target
    if not 0 <= order <= _ORDER_MAX or not 0 <= target <= _TARGET_MAX:
        raise _refusal(INVALID_SORT_OPTION)
    bounds = (
        *(request.min_mod_revision, request.max_mod_revision),
        *(request.min_create_revision, request.max_create_revision),
    )
    return (_FILTERED_RANGE, *plain[1:], order, target, *bounds)


def to_compact(request: Any) -> Operation:
    return (shapes.COMPACT, request.revision, request.physical)


def to_txn(request: Any, operations_max: int = TXN_OPERATIONS_MAX) -> Operation:
    """As etcd counts: what the longest list of a transaction takes is lost to those inside it."""
    compares, success, failure = request.compare, request.success, request.failure
    left = operations_max - max(len(compares), len(success), len(failure))
    if left < 0:
        raise _refusal(TOO_MANY_OPERATIONS)
    return (
        _TXN,
        tuple(map(_to_compare, compares)),
        tuple([_to_part(part, left) for part in success]),
        tuple([_to_part(part, left) for part in failure]),
    )


def is_serializable(request: Any) -> bool:
    """Whether a transaction that only reads may be answered with what is old: if all its reads
    may."""
    parts = (*request.success, *request.failure)
    return bool(parts) and all(part.request_range.serializable for part in parts)


def _to_part(part: Any, operations_max: int) -> Operation:
    kind = part.WhichOneof("request")
    if kind == "request_put":
        return to_put(part.request_put)
    if kind == "request_range":
        return to_range(part.request_range)
    if kind == "request_delete_range":
        return to_delete_range(part.request_delete_range)
    if kind == "request_txn":
        return to_txn(part.request_txn, operations_max)
    raise _refusal(KEY_NOT_FOUND)  # etcd's word for an operation that is none


def _to_compare(comparison: Any) -> Operation:
    key = comparison.key
    if not key:
        raise _refusal(KEY_NOT_PROVIDED)
    result, target, range_end = comparison.result, comparison.target, comparison.range_end
    if not 0 <= result <= _RESULT_MAX or not 0 <= target <= _COMPARED_MAX:
        return _compare_oddly(result, target, key, range_end)
    # Where the union holds another field than the target's, this is 0 or b"", as in etcd.
    return (result, target, key, range_end, _OPERANDS[target](comparison))


def _compare_oddly(result: int, target: int, key: bytes, range_end: bytes) -> Operation:
    """Numbers that have no name: etcd takes a comparison that it does not know for true, and a
    target that it does not know for equal to anything."""
    version = CompareTarget.VERSION
    if 0 <= target <= _COMPARED_MAX:
        if target == _VALUE:  # that of a key that is not there is never compared
            return compare(version, CompareResult.GREATER, key, 0, range_end)
        holds = True
    else:
        holds = result == _EQUAL or not 0 <= result <= _RESULT_MAX
    always = CompareResult.NOT_EQUAL if holds else CompareResult.EQUAL
    return compare(version, always, key, _NO_VERSION, range_end)


_OPERANDS: tuple[Callable[[Any], bytes | int], ...] = (
    lambda comparison: comparison.version,
    lambda comparison: comparison.create_revision,
    lambda comparison: comparison.mod_revision,
    lambda comparison: comparison.value,
    lambda comparison: comparison.lease,
)


# Results


def fill_kv(m: Any, kv: Result) -> None:
    """`m`: a mvccpb.KeyValue."""
    m.key, m.value, m.create_revision, m.mod_revision, m.version, m.lease = kv


def fill_put(reply: Any, result: Result) -> None:
    if result[2] is not None:
        fill_kv(reply.prev_kv, result[2])


def fill_delete_range(reply: Any, result: Result) -> None:
    reply.deleted = result[2]
    _add_kvs(reply.prev_kvs, result[3])


def fill_range(reply: Any, result: Result) -> None:
    """Keys are added to those that are there."""
    _add_kvs(reply.kvs, result[2])
    reply.more, reply.count = result[3], result[4]


def fill_txn(reply: Any, result: Result, operation: Operation) -> None:
    """Nested headers hold a revision only, that of a nested transaction not even that."""
    _, _, succeeded, results = result
    reply.succeeded = succeeded
    responses = reply.responses
    for part, answer in zip(operation[2] if succeeded else operation[3], results, strict=True):
        response = responses.add()
        kind = part[0]
        if kind == _PUT:
            nested = response.response_put
            fill_put(nested, answer)
        elif kind == _DELETE_RANGE:
            nested = response.response_delete_range
            fill_delete_range(nested, answer)
        elif kind == _TXN:
            nested = response.response_txn
            nested.header.SetInParent()
            fill_txn(nested, answer, part)
            continue
        else:
            nested = response.response_range
            fill_range(nested, answer)
        nested.header.revision = answer[1]


def _add_kvs(kvs: Any, found: Iterable[Result]) -> None:
    add = kvs.add
    for kv in found:
        m = add()
        m.key, m.value, m.create_revision, m.mod_revision, m.version, m.lease = kv
