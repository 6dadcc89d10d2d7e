"""What every operation of a request must look like, field by field.

Read with schema.py, which holds the words. Strict and complete: whatever passes here can be carried
out without another look at its types. Says what is wrong in one sentence; never raises anything but
MalformedRequest.
"""

from collections.abc import Sequence
from typing import Any

OPERATIONS_MAX = 4096  # of one request
NESTING_MAX = 16  # transactions inside transactions

PUT, DELETE_RANGE, RANGE, FILTERED_RANGE, TXN = 1, 2, 3, 4, 5
COMPACT, LEASE_GRANT, LEASE_REVOKE, LEASE_KEEP_ALIVE, LEASE_TIME_TO_LIVE = 6, 7, 8, 9, 10
LEASES, HASH, SESSION, SESSION_OPEN, SESSION_CLOSE, ALARMS = 11, 12, 13, 14, 15, 16
LEASE_EXPIRE, LEASE_CHECKPOINT, ALARM = 32, 33, 34

SHAPES: dict[int, tuple[type, ...]] = {
    PUT: (int, bytes, bytes, int, int),
    DELETE_RANGE: (int, bytes, bytes, int),
    RANGE: (int, bytes, bytes, int, int, int),
    FILTERED_RANGE: (int, bytes, bytes, int, int, int, int, int, int, int, int, int),
    TXN: (int, tuple, tuple, tuple),
    COMPACT: (int, int, bool),
    LEASE_GRANT: (int, int, int),
    LEASE_REVOKE: (int, int),
    LEASE_KEEP_ALIVE: (int, int),
    LEASE_TIME_TO_LIVE: (int, int, bool),
    LEASES: (int,),
    HASH: (int, int),
    SESSION: (int, int, int, int),
    SESSION_OPEN: (int, int),
    SESSION_CLOSE: (int, int),
    ALARMS: (int,),
}
# Of the leader's own entries only (schema.encode_internal); no client can send them.
INTERNAL_SHAPES: dict[int, tuple[type, ...]] = {
    LEASE_EXPIRE: (int, int, int),
    LEASE_CHECKPOINT: (int, int, int, int),
    ALARM: (int, int, bool),
    COMPACT: SHAPES[COMPACT],
}
_SIMPLE_SHAPES = {code: SHAPES[code] for code in (PUT, DELETE_RANGE, RANGE)}
_IN_TXN = (PUT, DELETE_RANGE, RANGE, FILTERED_RANGE, TXN)
_COMPARE = (int, int, bytes, bytes)  # and the operand
_RESULT_MAX, _TARGET_MAX, _VALUE_TARGET = 3, 4, 3
_ORDER_MAX, _SORT_TARGET_MAX = 2, 4


class MalformedRequest(ValueError):
    """Bytes that are no request; the sentence says what is wrong."""


def check_operations(operations: Sequence[Any]) -> None:
    """Of a whole request. Raises MalformedRequest."""
    if len(operations) > OPERATIONS_MAX:
        raise MalformedRequest(f"{len(operations)} operations, at most {OPERATIONS_MAX}")
    for position, operation in enumerate(operations):
        # The usual case in one comparison; everything else may take its time.
        if not _is_simple(operation):
            check_operation(operation)
        if operation[0] == SESSION and (position or len(operations) == 1):
            raise MalformedRequest("a session's header comes first, with operations after it")


def _is_simple(operation: Any) -> bool:
    if type(operation) is not tuple or not operation or type(operation[0]) is not int:
        return False
    return _SIMPLE_SHAPES.get(operation[0]) == tuple(map(type, operation))


def check_operation(operation: Any, depth: int = 0, shapes: Any = SHAPES) -> None:
    if type(operation) is not tuple or not operation or type(operation[0]) is not int:
        raise MalformedRequest("an operation is an array that starts with its code")
    shape = shapes.get(operation[0])
    if shape is None:
        raise MalformedRequest(f"unknown operation {operation[0]}")
    _check_fields(operation, shape, f"operation {operation[0]}")
    if operation[0] == TXN:
        _check_txn(operation, depth)
    elif operation[0] == FILTERED_RANGE:
        _check_sorting(operation[6], operation[7])


def _check_sorting(order: int, target: int) -> None:
    if not 0 <= order <= _ORDER_MAX or not 0 <= target <= _SORT_TARGET_MAX:
        raise MalformedRequest("unknown sort order or sort target")


def _check_fields(fields: Sequence[Any], shape: Sequence[type], what: str) -> None:
    if len(fields) != len(shape):
        raise MalformedRequest(f"{what} takes {len(shape) - 1} fields")
    for value, expected in zip(fields, shape, strict=True):
        # `type`, not isinstance: a bool is no number here.
        if type(value) is not expected:
            found = type(value).__name__
            raise MalformedRequest(f"{what}: {found} where {expected.__name__} belongs")
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise MalformedRequest(f"{what}: {value} does not fit 64 bits")


def _check_txn(operation: Sequence[Any], depth: int) -> None:
    if depth >= NESTING_MAX:
        raise MalformedRequest(f"transactions nested more than {NESTING_MAX} deep")
    for compare in operation[1]:
        _check_compare(compare)
    for branch in operation[2:]:
        for nested in branch:
            check_operation(nested, depth + 1)
            if nested[0] not in _IN_TXN:
                raise MalformedRequest(f"operation {nested[0]} cannot be part of a transaction")


def _check_compare(compare: Any) -> None:
    if type(compare) is not tuple or len(compare) != len(_COMPARE) + 1:
        raise MalformedRequest("a comparison is [result, target, key, range end, operand]")
    _check_fields(compare[:-1], _COMPARE, "a comparison")
    if not 0 <= compare[0] <= _RESULT_MAX or not 0 <= compare[1] <= _TARGET_MAX:
        raise MalformedRequest("unknown comparison or target")
    _check_fields(compare[-1:], (bytes if compare[1] == _VALUE_TARGET else int,), "a comparison")
