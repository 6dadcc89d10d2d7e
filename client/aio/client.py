"""The asyncio client: one object for any number of coroutines of one event loop.

Reading order 9 of aio, and the door to it. All coroutines share the connections and the session.
Cancelling one leaves nothing behind: what has not left does not leave any more, and nobody waits
for the answer to what has. (A cancelled write may have happened, as one that timed out.)
"""

import asyncio
import os
import secrets
import time
import weakref
from collections.abc import Sequence
from typing import Any

import zmq

from metastore.client import ops
from metastore.client.aio.bridge import Bridge
from metastore.client.aio.election import Election
from metastore.client.aio.key_calls import KeyCalls
from metastore.client.aio.lease import Granting, Lease
from metastore.client.aio.lock import Lock
from metastore.client.aio.member_calls import MemberCalls
from metastore.client.aio.watch import Watch
from metastore.client.calls import Call, to_level
from metastore.client.client import TIMEOUT_S, make_call, parse_endpoints
from metastore.client.discovery import Discovery
from metastore.client.driver import Driver
from metastore.client.election import ELECTION_TTL_S
from metastore.client.errors import Unavailable
from metastore.client.futures import decode_call, decode_only
from metastore.client.lock import LOCK_TTL_S
from metastore.client.results import BatchResult, LeaseGrant, LeaseList, TimeToLive
from metastore.client.security import read_security
from metastore.client.statuses import ask_statuses
from metastore.client.watch import make_stream
from metastore.transport.envelope import MemberAddresses, ReadLevel
from metastore.transport.schema import Operation

LEASE_ID_MAX = (1 << 63) - 1


class Client(KeyCalls, MemberCalls):
    """Talks to one cluster; the arguments are those of the threaded client. It belongs to the event
    loop that first uses it until that is closed; another loop then may have it.

    Raises InvalidRequest for what is no address or no key, ClientMisused when it is used from
    another loop. Nothing is sent before the first call.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        timeout_s: float = TIMEOUT_S,
        is_pinned: bool = False,
        use_sessions: bool = True,
        key_file: str | os.PathLike[str] | None = None,
        server_keys: str | Sequence[str] = (),
        context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._use_sessions = use_sessions
        self._context = context if context is not None else zmq.Context.instance()
        self._security = read_security(key_file, server_keys)
        self._discovery = Discovery(parse_endpoints(endpoints), is_pinned)
        self._bridge = Bridge(Driver(self._context, self._discovery, self._security))
        self._leases: weakref.WeakSet[Lease] = weakref.WeakSet()

    async def known_nodes(self, *, timeout_s: float | None = None) -> tuple[MemberAddresses, ...]:
        """As with the threaded client: needs no leader, and may be old."""
        discovery = self._discovery
        limit_s = self._limit(timeout_s)
        if not await self._bridge.wait(lambda: bool(discovery.members), limit_s, asks=True):
            raise Unavailable(f"no node answered; {discovery.reason}")
        return tuple(discovery.members[node_id] for node_id in sorted(discovery.members))

    @property
    def cluster_id(self) -> int:
        """0: no node has been reached yet."""
        return self._discovery.cluster_id

    async def status(self, *, timeout_s: float | None = None) -> dict[int, dict[str, Any]]:
        """What the status socket of every member says, by node id. A node that does not answer has
        {"error": {"code", "message"}}."""
        nodes = await self.known_nodes(timeout_s=timeout_s)
        addresses = [node.status for node in nodes]
        answers = await asyncio.to_thread(
            ask_statuses, self._context, addresses, self._limit(timeout_s), self._security
        )
        return {node.node_id: answers[node.status] for node in nodes}

    def lease(
        self,
        ttl_s: int,
        lease_id: int = 0,
        *,
        keep_alive: bool = True,
        timeout_s: float | None = None,
    ) -> Granting:
        """A new lease, kept alive by a task of its own until it is revoked or the client is closed:
        to be awaited, or for `async with`. lease_id 0: any."""
        return Granting(lambda: self._grant(ttl_s, lease_id, keep_alive, timeout_s))

    async def leases(
        self, *, level: str = "linearizable", timeout_s: float | None = None
    ) -> tuple[int, ...]:
        """The ids of all leases."""
        results = await self._do([ops.leases()], timeout_s, to_level(level))
        return decode_only(results, LeaseList).leases

    async def time_to_live(
        self, lease: ops.LeaseLike, *, keys: bool = False, timeout_s: float | None = None
    ) -> TimeToLive:
        """What the cluster thinks that the lease has left; with `keys`, what hangs on it."""
        operation = ops.lease_time_to_live(lease, keys=keys)
        return decode_only(await self._do([operation], timeout_s), TimeToLive)

    def watch(
        self,
        key: str | bytes,
        range_end: str | bytes = b"",
        *,
        prefix: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: str | Sequence[str] = (),
        progress: bool = False,
        timeout_s: float | None = None,
    ) -> Watch:
        """As with the threaded client; begins when it is first used or entered."""
        stream = make_stream(
            key,
            range_end,
            prefix=prefix,
            start_revision=start_revision,
            prev_kv=prev_kv,
            filters=filters,
            progress=progress,
        )
        return Watch(self._bridge, stream, self._limit(timeout_s))

    def lock(
        self, name: str | bytes, *, ttl_s: int = LOCK_TTL_S, lease: Lease | None = None
    ) -> Lock:
        """A lock by name, not acquired yet. Read in metastore/client/lock.py what it cannot do."""
        return Lock(self, name, ttl_s=ttl_s, lease=lease)

    def election(
        self, name: str | bytes, *, ttl_s: int = ELECTION_TTL_S, lease: Lease | None = None
    ) -> Election:
        """An election by name: to stand in, or to look on."""
        return Election(self, name, ttl_s=ttl_s, lease=lease)

    async def close(self) -> None:
        """Ends calls under way with an error. The client is of no use afterwards."""
        for lease in self._leases:
            lease.stop_keep_alive()
        await self._bridge.close()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _do(
        self,
        operations: Sequence[Operation],
        timeout_s: float | None,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
    ) -> list[BatchResult]:
        return decode_call(await self._perform(operations, timeout_s, level))

    async def _perform(
        self,
        operations: Sequence[Operation],
        timeout_s: float | None,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
    ) -> Call:
        return await self._bridge.perform(self._make_call(operations, timeout_s, level))

    async def _grant(
        self, ttl_s: int, lease_id: int, keep_alive: bool, timeout_s: float | None
    ) -> Lease:
        asked_at = time.monotonic()  # it may be granted at the first of several sendings
        # Chosen here, so that a lease can be revoked whose grant was never heard of.
        chosen_id = lease_id or 1 + secrets.randbelow(LEASE_ID_MAX)
        try:
            results = await self._do([ops.lease_grant(ttl_s, chosen_id)], timeout_s)
        except asyncio.CancelledError:
            if not lease_id:
                revoke = [ops.lease_revoke(chosen_id)]
                self._bridge.send(self._make_call(revoke, None, ReadLevel.LINEARIZABLE))
            raise
        granted = decode_only(results, LeaseGrant)
        lease = Lease(self._perform, granted.lease, granted.ttl_s, asked_at)
        self._leases.add(lease)
        if keep_alive:
            lease.keep_alive()
        return lease

    def _make_call(
        self, operations: Sequence[Operation], timeout_s: float | None, level: ReadLevel
    ) -> Call:
        return make_call(operations, self._limit(timeout_s), level, use_sessions=self._use_sessions)

    def _limit(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else timeout_s
