"""Elections for asyncio. What they cannot promise is written in metastore/client/election.py.

Reading order 8 of aio.
"""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from metastore.client.aio.lease import Lease
from metastore.client.aio.steps import AsyncSteps
from metastore.client.contention import Holder
from metastore.client.election import ELECTION_TTL_S, Standing
from metastore.client.keys import to_bytes
from metastore.client.results import KeyValue

if TYPE_CHECKING:
    from metastore.client.aio.client import Client


class Election(Standing):
    """One candidate of the election `name`, or a mere spectator."""

    def __init__(
        self,
        client: "Client",
        name: str | bytes,
        *,
        ttl_s: int = ELECTION_TTL_S,
        lease: Lease | None = None,
    ) -> None:
        """As with the threaded one."""
        self._steps = AsyncSteps(client)
        self._holder = Holder(self._steps, name, ttl_s, lease)

    async def campaign(self, value: str | bytes, timeout_s: float | None = None) -> bool:
        """Stands for election with a value for all to see, and waits until elected, at most
        `timeout_s` seconds; False if not. Raises LeaseLost if our lease ended meanwhile."""
        return await self._holder.obtain(to_bytes(value, "value"), timeout_s)

    async def proclaim(self, value: str | bytes) -> None:
        """Changes the value while leading. Raises LeaseLost if we do not lead any more."""
        await self._proclaim(value)

    async def resign(self) -> None:
        """Lets the next one lead. Raises LeaseLost if we were leading no more; Unavailable,
        OutcomeUnknown: the next one leads when the lease has ended."""
        await self._holder.let_go()

    async def leader(self) -> KeyValue | None:
        """The leader's key and value; None if nobody leads."""
        return await self._leader()

    def observe(self, timeout_s: float | None = None) -> AsyncGenerator[KeyValue, None]:
        """The leader now and every leader to come, again whenever its value changes. Ends after
        `timeout_s` seconds without news; None: never."""
        return self._observe(timeout_s)
