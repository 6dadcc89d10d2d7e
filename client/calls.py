"""One request on its way: what it is, how far it got, and how it ended.

Reading order 4 of the client. Plain state; the driver changes it under its lock.
"""

from collections.abc import Sequence
from typing import Any

from metastore.client.errors import InvalidRequest, MetastoreError
from metastore.transport import schema
from metastore.transport.envelope import ReadLevel

LEVELS = {level.name.lower(): level for level in ReadLevel}


def to_level(name: str) -> ReadLevel:
    """Raises InvalidRequest for a name that is none of the three."""
    level = LEVELS.get(name)
    if level is None:
        raise InvalidRequest(f"read level {name!r} is none of {', '.join(LEVELS)}")
    return level


class Call:
    """A request with its fate. `is_sent` says that a node may have got it and may yet act on it."""

    __slots__ = (
        "deadline",
        "error",
        "is_done",
        "is_read",
        "is_sent",
        "level",
        "operations",
        "reason",
        "request",
        "results",
        "sent_at",
    )

    def __init__(
        self, operations: Sequence[schema.Operation], level: ReadLevel, deadline: float
    ) -> None:
        self.operations = operations
        self.request = schema.encode_request(operations)
        self.is_read = schema.is_read_only(operations)
        self.level = level if self.is_read else ReadLevel.LINEARIZABLE
        self.deadline = deadline  # of time.monotonic(), seconds
        self.sent_at = 0.0
        self.is_sent = False
        self.is_done = False
        self.results: Sequence[Any] = ()
        self.error: MetastoreError | None = None
        self.reason = "no node has been reached yet"  # why it has not been served so far

    def finish(self, results: Sequence[Any]) -> None:
        self.results = results
        self.is_done = True

    def fail(self, error: MetastoreError) -> None:
        self.error = error
        self.is_done = True
