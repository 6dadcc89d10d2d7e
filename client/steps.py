"""The steps that locks and elections are made of, so that threads and asyncio share the recipes.

Reading order 17 of the client. The recipes (contention.py, election.py) are coroutines over such
steps; these are the threaded client's, which never suspend (see running.py). The asyncio client's
are in aio/steps.py.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from metastore.client.comparisons import Comparison
from metastore.client.lease import Belief, Lease
from metastore.client.results import KeyValue, RangeResult, TxnResult
from metastore.client.watch import Event, Watch
from metastore.transport.schema import Operation

if TYPE_CHECKING:
    from metastore.client.coordination import Coordination


class WatchSteps(Protocol):
    async def get(self, timeout_s: float | None = None) -> Event | None: ...


class Steps(Protocol):
    """What a recipe may do to the cluster; as the client's methods of these names do it."""

    async def txn(
        self,
        compares: Comparison,
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
    ) -> TxnResult: ...

    async def get(self, key: bytes) -> KeyValue | None: ...

    async def range(self, key: bytes, range_end: bytes, **options: Any) -> RangeResult: ...

    async def delete(self, key: bytes) -> None: ...

    async def lease(self, ttl_s: int) -> Belief: ...

    async def revoke(self, lease: Belief) -> None: ...

    def watch(
        self, key: bytes, range_end: bytes, start_revision: int, filters: Sequence[str] = ()
    ) -> AbstractAsyncContextManager[WatchSteps]: ...


class BlockingSteps:
    """The steps of the threaded client. Nothing here suspends."""

    def __init__(self, client: "Coordination") -> None:
        self._client = client

    async def txn(
        self,
        compares: Comparison,
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
    ) -> TxnResult:
        return self._client.txn(compares, success, failure)

    async def get(self, key: bytes) -> KeyValue | None:
        return self._client.get(key)

    async def range(self, key: bytes, range_end: bytes, **options: Any) -> RangeResult:
        return self._client.range(key, range_end, **options)

    async def delete(self, key: bytes) -> None:
        self._client.delete(key)

    async def lease(self, ttl_s: int) -> Belief:
        return self._client.lease(ttl_s)

    async def revoke(self, lease: Belief) -> None:
        if isinstance(lease, Lease):
            lease.revoke()

    @asynccontextmanager
    async def watch(
        self, key: bytes, range_end: bytes, start_revision: int, filters: Sequence[str] = ()
    ) -> "AsyncGenerator[BlockingWatch, None]":
        with self._client.watch(
            key, range_end, start_revision=start_revision, filters=filters
        ) as watch:
            yield BlockingWatch(watch)


class BlockingWatch:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def get(self, timeout_s: float | None = None) -> Event | None:
        return self._watch.get(timeout_s)
