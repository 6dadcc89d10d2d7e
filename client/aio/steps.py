"""The steps of locks and elections for asyncio: they suspend where they wait.

Reading order 6 of aio; the threaded ones are in metastore/client/steps.py.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from metastore.client.aio.lease import Lease
from metastore.client.aio.watch import Watch
from metastore.client.comparisons import Comparison
from metastore.client.lease import Belief
from metastore.client.results import KeyValue, RangeResult, TxnResult
from metastore.transport.schema import Operation

if TYPE_CHECKING:
    from metastore.client.aio.client import Client


class AsyncSteps:
    """Steps of an asyncio client."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    async def txn(
        self,
        compares: Comparison,
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
    ) -> TxnResult:
        return await self._client.txn(compares, success, failure)

    async def get(self, key: bytes) -> KeyValue | None:
        return await self._client.get(key)

    async def range(self, key: bytes, range_end: bytes, **options: Any) -> RangeResult:
        return await self._client.range(key, range_end, **options)

    async def delete(self, key: bytes) -> None:
        await self._client.delete(key)

    async def lease(self, ttl_s: int) -> Belief:
        return await self._client.lease(ttl_s)

    async def revoke(self, lease: Belief) -> None:
        if isinstance(lease, Lease):
            await lease.revoke()

    def watch(
        self, key: bytes, range_end: bytes, start_revision: int, filters: Sequence[str] = ()
    ) -> Watch:
        return self._client.watch(key, range_end, start_revision=start_revision, filters=filters)
