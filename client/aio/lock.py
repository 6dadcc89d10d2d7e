"""Locks for asyncio. What a lock cannot promise is written in metastore/client/lock.py.

Reading order 7 of aio.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from metastore.client.aio.lease import Lease
from metastore.client.aio.steps import AsyncSteps
from metastore.client.contention import Holder
from metastore.client.errors import OutcomeUnknown, Unavailable
from metastore.client.lock import LOCK_TTL_S, Held

if TYPE_CHECKING:
    from metastore.client.aio.client import Client


class Lock(Held):
    """A lock by name; `async with client.lock("name") as lock: ...`. One object stands for one
    holder; it is not reentrant. Cancelling who waits for it takes it out of the line."""

    def __init__(
        self,
        client: "Client",
        name: str | bytes,
        *,
        ttl_s: int = LOCK_TTL_S,
        lease: Lease | None = None,
    ) -> None:
        """As with the threaded one."""
        self._holder = Holder(AsyncSteps(client), name, ttl_s, lease)

    async def acquire(self, timeout_s: float | None = None) -> bool:
        """Waits for its turn, at most `timeout_s` seconds; False if it did not come. Raises
        LeaseLost if our lease ended while we waited."""
        return await self._holder.obtain(b"", timeout_s)

    async def release(self) -> None:
        """Raises LeaseLost if it was lost while it was held: the work done under it may have met
        another's. Unavailable, OutcomeUnknown: the next one gets it when the lease has ended."""
        await self._holder.let_go()

    async def __aenter__(self) -> "Lock":
        await self.acquire()
        return self

    async def __aexit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if not self._holder.is_held:
            return
        if error_type is None:
            with suppress(Unavailable, OutcomeUnknown):  # the lease ends by itself
                await self.release()
        else:
            with suppress(Exception):  # the error of the work done is the one to be seen
                await self.release()
