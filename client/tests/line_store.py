"""The little of a cluster that locks and elections ask for, in memory: keys, leases, and a script.

`before_look` lets a test act at the very moment at which a waiter looks at the line.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from metastore.client import Event, KeyValue, Lease, OutcomeUnknown, RangeResult, TxnResult
from metastore.client.calls import Call
from metastore.client.comparisons import Comparison
from metastore.client.results import PutResult
from metastore.transport import schema
from metastore.transport.envelope import ReadLevel


class LineStore:
    def __init__(self) -> None:
        self.revision = 1
        self.data: dict[bytes, KeyValue] = {}
        self.revoked: list[int] = []
        self.watched: list[tuple[bytes, int]] = []
        self.before_look: list[Callable[[], None]] = []
        self.fails_next_txn = False
        self._leases_count = 0

    def lease(self, ttl_s: int) -> Lease:
        self._leases_count += 1
        return Lease(self._perform, 16 * self._leases_count, ttl_s, time.monotonic())

    def _perform(self, operations: Any, timeout_s: float | None, level: Any = None) -> Any:
        """Only ever asked to revoke."""
        self.revoked.append(operations[0][1])
        self.expire(operations[0][1])
        call = Call(operations, ReadLevel.LINEARIZABLE, 0.0)
        call.finish([[0, self.revision]])
        return call

    def expire(self, lease_id: int) -> None:
        for key in [key for key, kv in self.data.items() if kv.lease == lease_id]:
            del self.data[key]
        self.revision += 1

    def txn(
        self,
        compares: Comparison,
        success: Sequence[Any] = (),
        failure: Sequence[Any] = (),
    ) -> TxnResult:
        _, _, key, _, operand = compares.wire
        found = self.data.get(key)
        succeeded = (found.create_revision if found else 0) == operand
        results: list[Any] = []
        for operation in success if succeeded else failure:
            if operation[0] == schema.Op.PUT:
                self.revision += 1
                created = found.create_revision if found else self.revision
                self.data[key] = KeyValue(
                    key, operation[2], created, self.revision, 1, operation[3]
                )
                results.append(PutResult(self.revision, None))
            elif operation[0] == schema.Op.DELETE_RANGE:
                self.delete(key)
            else:
                results.append(RangeResult(self.revision, (self.data[key],), False, 1))
        if self.fails_next_txn:
            self.fails_next_txn = False
            raise OutcomeUnknown("no answer came in time")
        return TxnResult(self.revision, succeeded, tuple(results))

    def delete(self, key: bytes) -> None:
        self.revision += 1
        self.data.pop(key, None)

    def get(self, key: bytes) -> KeyValue | None:
        return self.data.get(key)

    def range(
        self, key: bytes, range_end: bytes, *, max_create_revision: int = 0, **options: Any
    ) -> RangeResult:
        if self.before_look:
            self.before_look.pop(0)()
        found = sorted(
            (
                kv
                for kv in self.data.values()
                if key <= kv.key < range_end
                and (not max_create_revision or kv.create_revision <= max_create_revision)
            ),
            key=lambda kv: kv.create_revision,
            reverse=options["sort_order"] == "descend",
        )
        assert options["sort_target"] == "create"
        return RangeResult(self.revision, tuple(found[:1]), len(found) > 1, len(found))

    def watch(
        self, key: bytes, range_end: bytes = b"", *, start_revision: int, **options: Any
    ) -> "LineWatch":
        self.watched.append((key, start_revision))
        return LineWatch(self, key)


class LineWatch:
    """Tells of the deletion of its key as soon as it is gone."""

    def __init__(self, store: LineStore, key: bytes) -> None:
        self._store = store
        self._key = key

    def get(self, timeout_s: float | None) -> Event | None:
        if self._store.before_look:
            self._store.before_look.pop(0)()
        if self._key in self._store.data:
            return None
        return Event("delete", KeyValue(self._key, b"", 0, self._store.revision, 0, 0), None)

    def __enter__(self) -> "LineWatch":
        return self

    def __exit__(self, *_: object) -> None:
        pass
