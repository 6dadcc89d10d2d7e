"""The answers that say no, ready made, and what a put can be refused for whatever the state.

Reading order 3 of the engines, for mvcc.py, transactions.py and the rest of the semantics.
"""

from metastore.transport.schema import (
    COMPACTED,
    DUPLICATE_KEY,
    FUTURE_REVISION,
    KEY_NOT_FOUND,
    KEY_NOT_PROVIDED,
    LEASE_NOT_FOUND,
    LEASE_PROVIDED,
    TOO_MANY_OPERATIONS,
    VALUE_PROVIDED,
    Code,
    Flag,
    Operation,
    Result,
)


def _invalid(message: str) -> Result:
    return (int(Code.INVALID_ARGUMENT), message)


NO_KEY = _invalid(KEY_NOT_PROVIDED)
NO_SUCH_KEY = _invalid(KEY_NOT_FOUND)
NEEDLESS_VALUE = _invalid(VALUE_PROVIDED)
NEEDLESS_LEASE = _invalid(LEASE_PROVIDED)
KEY_TWICE = _invalid(DUPLICATE_KEY)
TOO_MANY = _invalid(TOO_MANY_OPERATIONS)
NO_SUCH_LEASE: Result = (int(Code.NOT_FOUND), LEASE_NOT_FOUND)
IN_THE_FUTURE: Result = (int(Code.OUT_OF_RANGE), FUTURE_REVISION)
COMPACTED_AWAY: Result = (int(Code.OUT_OF_RANGE), COMPACTED)

IGNORES = int(Flag.IGNORE_VALUE | Flag.IGNORE_LEASE)


def put_refusal(operation: Operation) -> Result | None:
    _, key, value, lease, flags = operation
    if not key:
        return NO_KEY
    if flags & Flag.IGNORE_VALUE and value:
        return NEEDLESS_VALUE
    if flags & Flag.IGNORE_LEASE and lease:
        return NEEDLESS_LEASE
    return None
