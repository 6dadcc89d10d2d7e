"""The calls about keys, for asyncio: names, results and errors of the threaded client.

Reading order 3 of aio. Operations are made by ops.py and results decoded by futures.py, as for
threads; what the arguments mean is written in metastore/client/key_calls.py.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence

from metastore.client import ops
from metastore.client.calls import to_level
from metastore.client.comparisons import Comparison
from metastore.client.futures import (
    decode_delete,
    decode_get,
    decode_only,
    decode_put,
    decode_range,
    decode_txn,
)
from metastore.client.keys import to_bytes
from metastore.client.paging import scan_pages
from metastore.client.results import (
    AlarmList,
    BatchResult,
    DeleteResult,
    Done,
    HashResult,
    KeyValue,
    PutResult,
    RangeResult,
    TxnResult,
)
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import Operation


class KeyCalls(ABC):
    """Keys and values: text (as UTF-8) or bytes. What the store refuses is InvalidRequest."""

    @abstractmethod
    async def _do(
        self,
        operations: Sequence[Operation],
        timeout_s: float | None,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
    ) -> list[BatchResult]:
        """The results of a request, waited for at most `timeout_s` seconds."""

    async def put(
        self,
        key: str | bytes,
        value: str | bytes = b"",
        *,
        lease: ops.LeaseLike = None,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        timeout_s: float | None = None,
    ) -> PutResult:
        operation = ops.put(
            key,
            value,
            lease=lease,
            prev_kv=prev_kv,
            ignore_value=ignore_value,
            ignore_lease=ignore_lease,
        )
        return decode_put(await self._do([operation], timeout_s))

    async def get(
        self,
        key: str | bytes,
        *,
        revision: int = 0,
        level: str = "linearizable",
        timeout_s: float | None = None,
    ) -> KeyValue | None:
        operation = ops.get(key, revision=revision)
        return decode_get(await self._do([operation], timeout_s, to_level(level)))

    async def range(
        self,
        key: str | bytes,
        range_end: str | bytes = b"",
        *,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
        no_count: bool = False,
        sort_order: str = "none",
        sort_target: str = "key",
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        level: str = "linearizable",
        timeout_s: float | None = None,
    ) -> RangeResult:
        operation = ops.range(
            key,
            range_end,
            limit=limit,
            revision=revision,
            keys_only=keys_only,
            count_only=count_only,
            no_count=no_count,
            sort_order=sort_order,
            sort_target=sort_target,
            min_mod_revision=min_mod_revision,
            max_mod_revision=max_mod_revision,
            min_create_revision=min_create_revision,
            max_create_revision=max_create_revision,
        )
        return decode_range(await self._do([operation], timeout_s, to_level(level)))

    async def scan(
        self,
        key: str | bytes,
        range_end: str | bytes,
        *,
        revision: int = 0,
        keys_only: bool = False,
        level: str = "linearizable",
    ) -> AsyncGenerator[KeyValue, None]:
        start, end = to_bytes(key, "key"), to_bytes(range_end, "range end")
        pages = scan_pages(
            self.range, start, end, revision=revision, keys_only=keys_only, level=level
        )
        async for page in pages:
            for item in page:
                yield item

    async def delete(
        self, key: str | bytes, *, prev_kv: bool = False, timeout_s: float | None = None
    ) -> DeleteResult:
        return await self.delete_range(key, prev_kv=prev_kv, timeout_s=timeout_s)

    async def delete_range(
        self,
        key: str | bytes,
        range_end: str | bytes = b"",
        *,
        prev_kv: bool = False,
        timeout_s: float | None = None,
    ) -> DeleteResult:
        operation = ops.delete(key, range_end, prev_kv=prev_kv)
        return decode_delete(await self._do([operation], timeout_s))

    async def txn(
        self,
        compares: Comparison | Sequence[Comparison],
        success: Sequence[Operation] = (),
        failure: Sequence[Operation] = (),
        *,
        timeout_s: float | None = None,
    ) -> TxnResult:
        return decode_txn(await self._do([ops.txn(compares, success, failure)], timeout_s))

    async def batch(
        self,
        operations: Sequence[Operation],
        *,
        level: str = "linearizable",
        timeout_s: float | None = None,
    ) -> list[BatchResult]:
        return await self._do(operations, timeout_s, to_level(level))

    async def compact(
        self, revision: int, *, physical: bool = False, timeout_s: float | None = None
    ) -> int:
        operation = ops.compact(revision, physical=physical)
        return decode_only(await self._do([operation], timeout_s), Done).revision

    async def hash(
        self, revision: int = 0, *, level: str = "linearizable", timeout_s: float | None = None
    ) -> HashResult:
        results = await self._do([ops.hash(revision)], timeout_s, to_level(level))
        return decode_only(results, HashResult)

    async def alarms(
        self, *, level: str = "linearizable", timeout_s: float | None = None
    ) -> tuple[int, ...]:
        results = await self._do([ops.alarms()], timeout_s, to_level(level))
        return decode_only(results, AlarmList).alarms
