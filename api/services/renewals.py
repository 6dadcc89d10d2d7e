"""The keep-alives of all streams of the gateway, sent together.

Below lease.py. A keep-alive is a write of the cluster's: a client with a thousand leases on one
stream, or a thousand clients with one each, must not cost a question apiece. While some are under
way the next ones gather, and then leave as one request.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from metastore.api.calls import ApiError, Status
from metastore.transport import shapes
from metastore.transport.schema import Operation, Result

TOGETHER_MAX = 1000  # of one request
REQUESTS_MAX = 2  # under way at once; more would only be smaller

Outcome = Result | Exception  # an exception is a value here: nobody may be left to take it


class Asked(Protocol):
    """What is needed of the link."""

    async def ask_together(self, operations: Sequence[Operation], /) -> Sequence[Result]: ...


class Renewals:
    """For one event loop. etcd lets everybody keep a lease alive, with whatever token, so nobody's
    name is asked for."""

    def __init__(self, link: Asked) -> None:
        self._link = link
        self._waiting: list[tuple[int, asyncio.Future[Outcome]]] = []
        self._requests: set[asyncio.Task[None]] = set()
        self._is_due = False

    def renew(self, lease: int) -> "asyncio.Future[Outcome]":
        """Becomes the result of the keep-alive, or what it failed with."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((lease, outcome))
        if not self._is_due and len(self._requests) < REQUESTS_MAX:
            self._is_due = True
            loop.call_soon(self._send)
        return outcome

    def _send(self) -> None:
        self._is_due = False
        while self._waiting and len(self._requests) < REQUESTS_MAX:
            batch, self._waiting = self._waiting[:TOGETHER_MAX], self._waiting[TOGETHER_MAX:]
            request = asyncio.get_running_loop().create_task(self._ask(batch))
            self._requests.add(request)
            request.add_done_callback(self._on_done)

    def _on_done(self, request: "asyncio.Task[None]") -> None:
        self._requests.discard(request)
        self._send()

    async def _ask(self, batch: list[tuple[int, "asyncio.Future[Outcome]"]]) -> None:
        wanted = [renewal for renewal in batch if not renewal[1].done()]
        outcomes: Sequence[Any] = ()
        try:
            if wanted:
                operations = [(shapes.LEASE_KEEP_ALIVE, lease) for lease, _ in wanted]
                outcomes = await self._link.ask_together(operations)
        except Exception as error:  # whatever it is, it is theirs who wait
            outcomes = [error] * len(wanted)
        for (_, future), outcome in zip(wanted, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)


def ttl_of(outcome: Outcome) -> tuple[int, int]:
    """(revision, time to live in seconds, 0: there is no such lease). Raises what it failed
    with."""
    if isinstance(outcome, Exception):
        raise outcome
    if outcome[0] != Status.OK:
        raise ApiError(Status(outcome[0]), outcome[1])
    return outcome[1], outcome[2]
