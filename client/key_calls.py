"""The calls about keys: put, get, range, delete, transactions, and the store's history.

Reading order 21 of the client: a part of Client. Words become operations in ops.py.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from metastore.client import ops
from metastore.client.caller import Caller
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
from metastore.client.running import run_each
from metastore.transport.schema import Operation


class KeyCalls(Caller):
    """Keys and values: text (as UTF-8) or bytes. What the store refuses is InvalidRequest."""

    def put(
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
        """The key lives as long as the lease, a Lease or its id. ignore_value, ignore_lease: the
        key, which must exist, keeps what it has."""
        operation = ops.put(
            key,
            value,
            lease=lease,
            prev_kv=prev_kv,
            ignore_value=ignore_value,
            ignore_lease=ignore_lease,
        )
        return decode_put(self._do([operation], timeout_s))

    def get(
        self,
        key: str | bytes,
        *,
        revision: int = 0,
        level: str = "linearizable",
        timeout_s: float | None = None,
    ) -> KeyValue | None:
        """None if there is no such key. revision 0: the newest."""
        operation = ops.get(key, revision=revision)
        return decode_get(self._do([operation], timeout_s, to_level(level)))

    def range(
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
        """Keys of [key, range_end); keys.prefix_range gives the range of a prefix. `limit` 0: all
        of them, `revision` 0: the newest, bounds 0: none. Raises Compacted for a revision that is
        gone. `sort_order` is none, ascend or descend, `sort_target` key, version, create, mod or
        value. Large ranges: see scan."""
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
        return decode_range(self._do([operation], timeout_s, to_level(level)))

    def scan(
        self,
        key: str | bytes,
        range_end: str | bytes,
        *,
        revision: int = 0,
        keys_only: bool = False,
        level: str = "linearizable",
    ) -> Iterator[KeyValue]:
        """The keys of [key, range_end) in order, in pages, all as of one revision: the given one,
        or the newest as of the first page. Raises Compacted if it is compacted meanwhile."""
        start, end = to_bytes(key, "key"), to_bytes(range_end, "range end")

        async def read(*arguments: bytes, **options: Any) -> RangeResult:
            return self.range(*arguments, **options)

        pages = scan_pages(read, start, end, revision=revision, keys_only=keys_only, level=level)
        return itertools.chain.from_iterable(run_each(pages))

    def delete(
        self, key: str | bytes, *, prev_kv: bool = False, timeout_s: float | None = None
    ) -> DeleteResult:
        return self.delete_range(key, prev_kv=prev_kv, timeout_s=timeout_s)

    def delete_range(
        self,
        key: str | bytes,
        range_end: str | bytes = b"",
        *,
        prev_kv: bool = False,
        timeout_s: float | None = None,
    ) -> DeleteResult:
        return decode_delete(self._do([ops.delete(key, range_end, prev_kv=prev_kv)], timeout_s))

    def txn(
        self,
        compares: Comparison | Sequence[Comparison],
        success: Sequence[Operation] = (),
        failure: Sequence[Operation] = (),
        *,
        timeout_s: float | None = None,
    ) -> TxnResult:
        """Carries out `success` if all comparisons hold, else `failure`: all at one revision, with
        nothing in between. Operations are made by `ops`, comparisons by `value`, `version`,
        `create_revision`, `mod_revision` and `lease_of`:

            client.txn(version("k") == 0, [ops.put("k", "v")], [ops.get("k")])
        """
        return decode_txn(self._do([ops.txn(compares, success, failure)], timeout_s))

    def batch(
        self,
        operations: Sequence[Operation],
        *,
        level: str = "linearizable",
        timeout_s: float | None = None,
    ) -> list[BatchResult]:
        """Operations made by `ops`, applied in order, each at its own revision; not a transaction.
        A refused one appears as Refused in its place."""
        return self._do(operations, timeout_s, to_level(level))

    def compact(
        self, revision: int, *, physical: bool = False, timeout_s: float | None = None
    ) -> int:
        """Forgets what was superseded before `revision`. The store's revision."""
        operation = ops.compact(revision, physical=physical)
        return decode_only(self._do([operation], timeout_s), Done).revision

    def hash(
        self, revision: int = 0, *, level: str = "linearizable", timeout_s: float | None = None
    ) -> HashResult:
        """A checksum of what is visible at the revision (0: the newest); with level="local" of
        what the node asked has."""
        return decode_only(self._do([ops.hash(revision)], timeout_s, to_level(level)), HashResult)

    def alarms(
        self, *, level: str = "linearizable", timeout_s: float | None = None
    ) -> tuple[int, ...]:
        """Numbers of transport.schema.Alarm; empty when all is well."""
        return decode_only(self._do([ops.alarms()], timeout_s, to_level(level)), AlarmList).alarms
