"""etcd's Lock service (v3lock): locks that are taken and given back by calls.

The line that callers wait in is line.py's. A call that is cancelled while it waits leaves the line;
the lock itself lives as long as the lease, whatever becomes of the call or of this gateway.
"""

import asyncio
from typing import Any

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import lock
from metastore.api.services import line
from metastore.transport.schema import KEY_NOT_PROVIDED, delete_range

SESSION_EXPIRED = "mutex: session is expired"


class Lock:
    """For one event loop."""

    def __init__(self, link: NodeLink) -> None:
        self._link = link
        self._leaving: set[asyncio.Task[None]] = set()

    async def lock(self, request: Any, caller: Caller) -> Any:
        """Answers when the lock is the lease's. Raises ApiError: Unknown, as etcd's, also when the
        lease ends while the call waits, which etcd notices only at the front of the line."""
        try:
            return await self._lock(request.name, request.lease, caller)
        except ApiError as error:
            raise line.as_concurrency_error(error) from None

    async def unlock(self, request: Any, caller: Caller) -> Any:
        """Deletes the key, whoever's it is, as etcd does."""
        if not request.key:
            raise ApiError(Status.UNKNOWN, KEY_NOT_PROVIDED)
        try:
            result = await self._link.ask(caller, delete_range(request.key))
        except ApiError as error:
            raise line.as_concurrency_error(error) from None
        return lock.UnlockResponse(header=self._link.header(result[1]))

    async def _lock(self, name: bytes, asked_lease: int, caller: Caller) -> Any:
        lease = await line.lease_of(self._link, caller, asked_lease)
        taking = asyncio.ensure_future(line.take_place(self._link, caller, name, lease, b""))
        try:
            place = await asyncio.shield(taking)
            revision: int | None = place.store_revision
            if not place.is_first:
                revision = await line.wait_for_turn(self._link, caller, name, place)
        except BaseException:
            leaving = asyncio.ensure_future(self._leave(taking, caller))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            raise
        if revision is None:
            raise ApiError(Status.UNKNOWN, SESSION_EXPIRED)
        return lock.LockResponse(header=self._link.header(revision), key=place.key)

    async def _leave(self, taking: "asyncio.Future[line.Place]", caller: Caller) -> None:
        """What the lease held before this call stays, unless it waited with it, as in etcd."""
        try:
            place = await taking
            if place.is_new or not place.is_first:
                await line.leave(self._link, caller, place.key, place.revision)
        except ApiError:
            return  # not in line, or the lease's end will take it out
