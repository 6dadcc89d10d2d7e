"""Leases for asyncio, kept alive by a task each.

Reading order 5 of aio. What this side believes about a lease is written in metastore/client/
lease.py. A loop that is held up for longer than a time to live loses its leases, and they say so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress

from metastore.client import ops
from metastore.client.calls import Call
from metastore.client.errors import LeaseLost, MetastoreError, OutcomeUnknown, Unavailable
from metastore.client.futures import decode_call, decode_only
from metastore.client.lease import RETRY_S, Belief, may_have_ended
from metastore.client.results import Done
from metastore.transport.schema import Operation

Perform = Callable[[Sequence[Operation], float | None], Awaitable[Call]]


class Lease(Belief):
    """A lease of the cluster's. As a context it is revoked at the end, and its keys are deleted
    with it. Any coroutine of the loop may use it."""

    def __init__(self, perform: Perform, lease_id: int, ttl_s: int, confirmed_at: float) -> None:
        """confirmed_at: see Belief."""
        super().__init__(lease_id, ttl_s, confirmed_at)
        self._perform = perform
        self._task: asyncio.Task[None] | None = None

    async def keep_alive_once(self, timeout_s: float | None = None) -> int:
        """Renews it; the seconds it has from now. Raises LeaseLost, Unavailable."""
        self.check()
        return self._renewed(await self._perform([ops.lease_keep_alive(self.id)], timeout_s))

    def keep_alive(self) -> None:
        """Renews it from now on, in a task of its own, until it is revoked or lost."""
        if self._task is None:
            name = f"metastore-lease-{self.id:x}"
            self._task = asyncio.get_running_loop().create_task(self._keep(), name=name)

    def stop_keep_alive(self) -> None:
        """It then ends by itself."""
        if self._task is not None:
            self._task.cancel()

    async def revoke(self, timeout_s: float | None = None) -> None:
        """Ends it and deletes its keys. It counts as lost from now on, even if this raises
        Unavailable or OutcomeUnknown: then it ends by itself. Revoking what has ended is fine."""
        self.stop_keep_alive()
        self._lose("it was revoked")
        with may_have_ended():
            call = await self._perform([ops.lease_revoke(self.id)], timeout_s)
            decode_only(decode_call(call), Done)

    async def __aenter__(self) -> "Lease":
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(Unavailable, OutcomeUnknown):  # it ends by itself
            await self.revoke()

    async def _keep(self) -> None:
        try:
            pause_s = self._pause_s
            while True:
                await asyncio.sleep(pause_s)
                pause_s = await self._renew()
        except LeaseLost:
            pass
        except MetastoreError as error:
            self._lose(f"it could not be kept alive: {error}")
        except Exception as error:
            self._lose(f"its task died of {error!r}")
            raise

    async def _renew(self) -> float:
        """Seconds until the next time."""
        try:
            await self.keep_alive_once(self._attempt_s)
        except Unavailable:
            return RETRY_S
        return self._pause_s


class Granting:
    """`lease = await client.lease(ttl_s)`, or `async with client.lease(ttl_s) as lease`."""

    def __init__(self, grant: Callable[[], Awaitable[Lease]]) -> None:
        self._grant = grant
        self._lease: Lease | None = None

    def __await__(self) -> Generator[object, None, Lease]:
        return self._grant().__await__()

    async def __aenter__(self) -> Lease:
        self._lease = await self._grant()
        return self._lease

    async def __aexit__(self, *_: object) -> None:
        if self._lease is not None:
            await self._lease.__aexit__()
