"""What every operation of a request must look like, field by field.

Read with schema.py, which holds the words. Strict and complete: whatever passes here can be carried
out without another look at its types. Says what is wrong in one sentence; never raises anything but
MalformedRequest.
"""

from collections.abc import Sequence
from typing import Any

from metastore.transport import auth_ops
from metastore.transport.auth_shapes import NAME_CHARACTERS_MAX, check_auth, check_name
from metastore.transport.fields import MalformedRequest as MalformedRequest
from metastore.transport.fields import check_fields

OPERATIONS_MAX = 4096  # of one request
NESTING_MAX = 16  # transactions inside transactions

PUT, DELETE_RANGE, RANGE, FILTERED_RANGE, TXN = 1, 2, 3, 4, 5
COMPACT, LEASE_GRANT, LEASE_REVOKE, LEASE_KEEP_ALIVE, LEASE_TIME_TO_LIVE = 6, 7, 8, 9, 10
LEASES, HASH, SESSION, SESSION_OPEN, SESSION_CLOSE, ALARMS = 11, 12, 13, 14, 15, 16
AS, AUTH = auth_ops.AS, auth_ops.AUTH  # the shapes of AUTH are in auth_shapes.py
ALARM_CHANGE = 19
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
    ALARM_CHANGE: (int, int, bool),
    AS: (int, str, int),
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
_HEADERS = (SESSION, AS)
_COMPARE = (int, int, bytes, bytes)  # and the operand
_RESULT_MAX, _TARGET_MAX, _VALUE_TARGET = 3, 4, 3
_ORDER_MAX, _SORT_TARGET_MAX = 2, 4


def check_operations(operations: Sequence[Any]) -> None:
    """Of a whole request. Raises MalformedRequest."""
    if len(operations) > OPERATIONS_MAX:
        raise MalformedRequest(f"{len(operations)} operations, at most {OPERATIONS_MAX}")
    for position, operation in enumerate(operations):
        # The usual cases in few comparisons; everything else may take its time.
        if _is_simple(operation):
            continue
        if not position and len(operations) > 1 and _is_usual_name(operation):
            continue
        check_operation(operation)
        if operation[0] in _HEADERS:
            _check_header(operations, position)
        elif operation[0] == AUTH:
            _check_whose(operations[: min(position, len(_HEADERS))], operation)


def _check_header(operations: Sequence[Any], position: int) -> None:
    """Of the one at `position`; those before it are checked."""
    is_last = position == len(operations) - 1
    if operations[position][0] == SESSION and (position or is_last):
        raise MalformedRequest("a session's header comes first, with operations after it")
    if any(before[0] != SESSION for before in operations[:position]) or is_last:
        raise MalformedRequest("a user's header comes right before operations, once")


def _check_whose(headers: Sequence[Any], operation: Sequence[Any]) -> None:
    """What passwords and tokens are checked with is for the gateway alone, whoever asks it."""
    is_secret = operation[1] == auth_ops.AuthAction.CREDENTIALS
    if is_secret and any(header[0] == AS for header in headers):
        raise MalformedRequest("credentials are not told in a user's name")


def _is_simple(operation: Any) -> bool:
    if type(operation) is not tuple or not operation or type(operation[0]) is not int:
        return False
    return _SIMPLE_SHAPES.get(operation[0]) == tuple(map(type, operation))


def _is_usual_name(operation: Any) -> bool:
    """Whether it is a user's header that may stand first."""
    return (
        type(operation) is tuple
        and tuple(map(type, operation)) == SHAPES[AS]
        and operation[0] == AS
        and len(operation[1]) <= NAME_CHARACTERS_MAX
        and 0 <= operation[2] < 1 << 63
    )


def check_operation(operation: Any, depth: int = 0, shapes: Any = SHAPES) -> None:
    if type(operation) is not tuple or not operation or type(operation[0]) is not int:
        raise MalformedRequest("an operation is an array that starts with its code")
    if operation[0] == AUTH and shapes is SHAPES:
        check_auth(operation)
        return
    shape = shapes.get(operation[0])
    if shape is None:
        raise MalformedRequest(f"unknown operation {operation[0]}")
    check_fields(operation, shape, f"operation {operation[0]}")
    if operation[0] == TXN:
        _check_txn(operation, depth)
    elif operation[0] == FILTERED_RANGE:
        _check_sorting(operation[6], operation[7])
    elif operation[0] == AS:
        check_name(operation[1])


def _check_sorting(order: int, target: int) -> None:
    if not 0 <= order <= _ORDER_MAX or not 0 <= target <= _SORT_TARGET_MAX:
        raise MalformedRequest("unknown sort order or sort target")


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
    check_fields(compare[:-1], _COMPARE, "a comparison")
    if not 0 <= compare[0] <= _RESULT_MAX or not 0 <= compare[1] <= _TARGET_MAX:
        raise MalformedRequest("unknown comparison or target")
    check_fields(compare[-1:], (bytes if compare[1] == _VALUE_TARGET else int,), "a comparison")
