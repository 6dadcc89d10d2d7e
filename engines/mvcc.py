"""etcd's key-value semantics, written once for all engines: what an operation does and answers.

Reading order 7 of the engines. Deterministic: no clock, no chance, no hash order. Holds the newest
record of every key only: a range at an older revision is answered as compacted, because this engine
keeps no history; reads of the past and watches from the past need the history to be kept first.

A record is the tuple that schema calls kv: (key, value, create_revision, mod_revision, version,
lease).
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from metastore.transport.schema import (
    COMPACTED,
    FUTURE_REVISION,
    KEY_NOT_PROVIDED,
    Code,
    Op,
    Operation,
    Result,
)

KeyValue: TypeAlias = tuple[bytes, bytes, int, int, int, int]

FIRST_REVISION = 1  # of an empty store; the first write is 2
ALL_KEYS_FROM = b"\x00"  # as range_end: no end

_OK = int(Code.OK)
_PUT = int(Op.PUT)
_NO_KEY: Result = (int(Code.INVALID_ARGUMENT), KEY_NOT_PROVIDED)


class Index(Protocol):
    """Where an engine keeps its newest records, in key order. `get` answers None for an absent
    key."""

    def get(self, key: bytes, /) -> KeyValue | None: ...
    def __len__(self) -> int: ...
    def insert(self, key: bytes, record: KeyValue) -> None: ...
    def replace(self, key: bytes, record: KeyValue) -> None: ...
    def remove(self, key: bytes) -> None: ...
    def count(self, start: bytes, end: bytes | None) -> int: ...
    def select(self, start: bytes, end: bytes | None, limit: int) -> list[KeyValue]: ...


class KeySpace:
    """The records of an index under one revision counter. Owned by one thread."""

    __slots__ = ("index", "revision")

    def __init__(self, index: Index, revision: int = FIRST_REVISION) -> None:
        self.index = index
        self.revision = revision

    def execute(self, operations: Sequence[Operation]) -> list[Result]:
        """Applies checked operations (schema.decode_request) in order, each at its own revision."""
        results: list[Result] = []
        for operation in operations:
            if operation[0] == _PUT:
                results.append(self.put(operation))
            elif operation[0] == Op.DELETE_RANGE:
                results.append(self.delete_range(operation))
            else:
                results.append(self.range(operation))
        return results

    def put(self, operation: Operation) -> Result:
        _, key, value, prev_kv = operation
        if not key:
            return _NO_KEY
        self.revision = revision = self.revision + 1
        previous = self.index.get(key)
        if previous is None:
            self.index.insert(key, (key, value, revision, revision, 1, 0))
            return (_OK, revision, None)
        record = (key, value, previous[2], revision, previous[4] + 1, 0)
        self.index.replace(key, record)
        return (_OK, revision, previous if prev_kv else None)

    def delete_range(self, operation: Operation) -> Result:
        """All keys of one delete go in one revision; a delete of nothing has no revision."""
        _, key, range_end, prev_kv = operation
        if not key:
            return _NO_KEY
        deleted = self._select(key, range_end, 0)
        if deleted:
            self.revision += 1
        for record in deleted:
            self.index.remove(record[0])
        return (_OK, self.revision, len(deleted), deleted if prev_kv else ())

    def range(self, operation: Operation) -> Result:
        _, key, range_end, limit, revision, keys_only, count_only = operation
        if not key:
            return _NO_KEY
        if revision > self.revision:
            return (int(Code.OUT_OF_RANGE), FUTURE_REVISION)
        if 0 < revision < self.revision:
            return (int(Code.OUT_OF_RANGE), COMPACTED)
        count = self._count(key, range_end)
        if count_only:
            return (_OK, self.revision, (), False, count)
        found = self._select(key, range_end, limit)
        if keys_only:
            found = [(kv[0], b"", *kv[2:]) for kv in found]
        return (_OK, self.revision, found, len(found) < count, count)

    def _count(self, key: bytes, range_end: bytes) -> int:
        if not range_end:
            return 0 if self.index.get(key) is None else 1
        return self.index.count(key, None if range_end == ALL_KEYS_FROM else range_end)

    def _select(self, key: bytes, range_end: bytes, limit: int) -> list[KeyValue]:
        if not range_end:
            record = self.index.get(key)
            return [] if record is None else [record]
        return self.index.select(key, None if range_end == ALL_KEYS_FROM else range_end, limit)
