"""etcd's Lease service: granting, keeping alive, asking, ending.

Keep-alives go to the node together (renewals.py), whoever sends them.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

from metastore.api.calls import ApiError, Caller
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.services.renewals import Outcome, Renewals, ttl_of
from metastore.transport import shapes
from metastore.transport.schema import LEASE_EXISTS, Result

UNANSWERED_MAX = 1024  # keep-alives of one stream; its client waits with more
CHOSEN_MIN, CHOSEN_MAX = 1 << 53, (1 << 63) - 1  # as large as etcd's: JSON has to hold them as text


class Lease:
    """`etcdserverpb.Lease`."""

    def __init__(self, link: NodeLink) -> None:
        self._link = link
        self._renewals = Renewals(link)

    async def lease_grant(self, request: Any, caller: Caller) -> Any:
        """An id of 0 leaves the choice to us: one that nobody can guess, since whoever knows a
        lease may keep it alive."""
        result = await self._grant(request.ID, request.TTL, caller)
        reply = rpc.LeaseGrantResponse(ID=result[2], TTL=result[3])
        self._link.fill_header(reply.header, result[1])
        return reply

    async def _grant(self, lease: int, ttl_s: int, caller: Caller) -> Result:
        if lease:
            return await self._link.ask(caller, (shapes.LEASE_GRANT, lease, ttl_s))
        while True:
            chosen = CHOSEN_MIN + secrets.randbelow(CHOSEN_MAX - CHOSEN_MIN)
            try:
                return await self._link.ask(caller, (shapes.LEASE_GRANT, chosen, ttl_s))
            except ApiError as error:
                if error.message != LEASE_EXISTS:
                    raise

    async def lease_revoke(self, request: Any, caller: Caller) -> Any:
        result = await self._link.ask(caller, (shapes.LEASE_REVOKE, request.ID))
        reply = rpc.LeaseRevokeResponse()
        self._link.fill_header(reply.header, result[1])
        return reply

    async def lease_keep_alive(
        self, requests: AsyncIterator[Any], caller: Caller
    ) -> AsyncIterator[Any]:
        """One answer for each request, in order; a lease that is not there has a TTL of 0. Ends
        with the first keep-alive that fails, as in etcd."""
        renewing = _Renewing(self._renewals)
        reading = asyncio.create_task(renewing.read(requests))
        try:
            async for lease, outcome in renewing.outcomes():
                revision, ttl_s = ttl_of(outcome)
                reply = rpc.LeaseKeepAliveResponse(ID=lease, TTL=ttl_s)
                self._link.fill_header(reply.header, revision)
                yield reply
        finally:
            reading.cancel()
            renewing.give_up()

    async def lease_time_to_live(self, request: Any, caller: Caller) -> Any:
        """An unknown lease is no error: TTL -1, and nothing granted."""
        lease = request.ID
        result = await self._link.ask(caller, (shapes.LEASE_TIME_TO_LIVE, lease, request.keys))
        _, revision, ttl_s, granted_s, keys = result
        reply = rpc.LeaseTimeToLiveResponse(ID=lease, TTL=ttl_s, grantedTTL=granted_s, keys=keys)
        self._link.fill_header(reply.header, revision)
        return reply

    async def lease_leases(self, request: Any, caller: Caller) -> Any:
        result = await self._link.ask(caller, (shapes.LEASES,))
        reply = rpc.LeaseLeasesResponse()
        self._link.fill_header(reply.header, result[1])
        add = reply.leases.add
        for lease in result[2]:
            add().ID = lease
        return reply


class _Renewing:
    """One stream of keep-alives: read on while earlier ones are under way, answered in order."""

    def __init__(self, renewals: Renewals) -> None:
        self._renewals = renewals
        self._room = asyncio.Semaphore(UNANSWERED_MAX)
        # None or an error: the end.
        self._under_way: asyncio.Queue[Any] = asyncio.Queue()

    async def read(self, requests: AsyncIterator[Any]) -> None:
        end: BaseException | None = None
        try:
            async for request in requests:
                await self._room.acquire()
                lease = request.ID
                self._under_way.put_nowait((lease, self._renewals.renew(lease)))
        except Exception as error:  # of the stream: its answers end with it
            end = error
        finally:
            self._under_way.put_nowait(end)

    async def outcomes(self) -> AsyncIterator[tuple[int, Outcome]]:
        while True:
            renewal = await self._under_way.get()
            if not isinstance(renewal, tuple):
                break
            lease, future = renewal
            yield lease, await future
            self._room.release()
        if renewal is not None:
            raise renewal

    def give_up(self) -> None:
        """Nobody waits any more: what has not left need not."""
        while not self._under_way.empty():
            renewal = self._under_way.get_nowait()
            if isinstance(renewal, tuple):
                renewal[1].cancel()
