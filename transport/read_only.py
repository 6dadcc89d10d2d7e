"""Which requests only read, and so need no entry in the log.

Read with schema.py, which hands out `is_read_only`.
"""

from collections.abc import Sequence
from typing import Any

from metastore.transport import shapes
from metastore.transport.auth_ops import AuthAction

# A request in somebody's name reads if the rest of it does, so the header is one of them.
_READS = frozenset(
    (
        shapes.AS,
        shapes.RANGE,
        shapes.FILTERED_RANGE,
        shapes.LEASE_TIME_TO_LIVE,
        shapes.LEASES,
        shapes.HASH,
        shapes.ALARMS,
    )
)
_READING_ACTIONS = frozenset(
    map(
        int,
        (
            *(AuthAction.STATUS, AuthAction.CREDENTIALS, AuthAction.CHECK),
            *(AuthAction.USER_GET, AuthAction.USER_LIST),
            *(AuthAction.ROLE_GET, AuthAction.ROLE_LIST),
        ),
    )
)


def is_read_only(operations: Sequence[Sequence[Any]]) -> bool:
    """Of a whole checked request, or of a branch of a transaction."""
    return all(
        operation[0] in _READS
        or (operation[0] == shapes.TXN and all(map(is_read_only, operation[2:])))
        or (operation[0] == shapes.AUTH and operation[1] in _READING_ACTIONS)
        for operation in operations
    )
