"""What the groups of calls have in common: a way to have a request carried out.

Reading order 20 of the client. Client (client.py) implements it and is put together from the
groups: key_calls.py, coordination.py and member_calls.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from metastore.client.calls import Call
from metastore.client.driver import Driver
from metastore.client.futures import decode_call
from metastore.client.results import BatchResult
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import Operation


class Caller(ABC):
    """Waits for each request, at most `timeout_s` seconds; None: the client's own limit."""

    _driver: Driver
    _timeout_s: float

    @abstractmethod
    def _perform(
        self,
        operations: Sequence[Operation],
        timeout_s: float | None = None,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
    ) -> Call:
        """The call, ended one way or another."""

    def _do(
        self,
        operations: Sequence[Operation],
        timeout_s: float | None,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
    ) -> list[BatchResult]:
        return decode_call(self._perform(operations, timeout_s, level))
