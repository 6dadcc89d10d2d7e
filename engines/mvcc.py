"""etcd's key-value semantics, written once for all engines: what an operation does and answers.

Reading order 6 of the engines; ranges.py and transactions.py are its larger halves. Deterministic:
no clock, no chance, no hash order. Does not judge whether there is room (state.py does).
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from metastore.engines import transactions
from metastore.engines.contract import Event
from metastore.engines.ranges import read_range, select
from metastore.engines.records import (
    MOD,
    RECORD_OVERHEAD_BYTES,
    VERSION,
    KeyValue,
    Records,
    record_bytes,
    tombstone,
)
from metastore.engines.refusals import (
    COMPACTED_AWAY,
    IGNORES,
    IN_THE_FUTURE,
    NO_KEY,
    NO_SUCH_KEY,
    NO_SUCH_LEASE,
    put_refusal,
)
from metastore.transport.schema import Flag, Op, Operation, Result

FIRST_REVISION = 1  # of an empty store; the first write is 2
# Of a compaction that is to be complete at once. A longer one goes on in the background: no request
# may hold every node's loop for as long as the history is.
COMPACT_AT_ONCE_CHANGES = 5_000

_RANGE = int(Op.RANGE)
_PREV_KV, _IGNORE_VALUE = int(Flag.PREV_KV), int(Flag.IGNORE_VALUE)
_IGNORE_LEASE = int(Flag.IGNORE_LEASE)


class LeaseKeys(Protocol):
    """What the key space asks the leases, and tells them: which keys hang on which lease."""

    def exists(self, lease: int) -> bool: ...
    def attach(self, lease: int, key: bytes) -> None: ...
    def detach(self, lease: int, key: bytes) -> None: ...


class KeySpace:
    """All versions of all keys under one revision counter. Owned by one thread.

    Methods that take an operation take a checked one (schema.decode_request) and answer with its
    result. `events` None: nobody listens; else every version made is appended to it."""

    __slots__ = (
        *("_get", "_leases", "_physically_compacted", "_put", "compacted_revision"),
        *("compaction_pauses", "events", "records", "revision", "size_bytes"),
    )

    def __init__(
        self,
        records: Records,
        leases: LeaseKeys,
        *,
        revision: int = FIRST_REVISION,
        compacted_revision: int = 0,
        size_bytes: int = 0,
    ) -> None:
        self.records = records
        self.revision = revision
        self.compacted_revision = compacted_revision
        self.size_bytes = size_bytes
        self.events: list[Event] | None = None
        self.compaction_pauses = 0  # how many readers need the old versions to stay where they are
        self._physically_compacted = 0
        self._leases = leases
        self._get = records.get  # the hot path
        self._put = records.put

    def put(self, operation: Operation) -> Result:
        _, key, _, lease, flags = operation
        if flags or lease or not key:
            refusal = put_refusal(operation) or self._put_problem(operation)
            if refusal is not None:
                return refusal
        return self.put_at(operation, self.revision + 1)

    def put_at(self, operation: Operation, revision: int) -> Result:
        """A put with which nothing can be wrong, as part of `revision`: the next one, or the newest
        while its transaction runs."""
        _, key, value, lease, flags = operation
        previous = self._get(key)
        if previous is None:
            record: KeyValue = (key, value, revision, revision, 1, lease)
            if lease:
                self._leases.attach(lease, key)
        else:
            if flags & _IGNORE_VALUE:
                value = previous[1]
            if flags & _IGNORE_LEASE:
                lease = previous[5]
            elif lease != previous[5]:
                self._move(key, previous[5], lease)
            record = (key, value, previous[2], revision, previous[4] + 1, lease)
        self._put(record, previous)
        self.revision = revision
        self.size_bytes += len(key) + len(value) + RECORD_OVERHEAD_BYTES
        if self.events is not None:
            self.events.append((record, previous))
        return (0, revision, previous if flags & _PREV_KV else None)

    def _put_problem(self, operation: Operation) -> Result | None:
        """Why the state does not allow a well made put. (In a transaction etcd asks in the other
        order.)"""
        _, key, _, lease, flags = operation
        if lease and not self._leases.exists(lease):
            return NO_SUCH_LEASE
        if flags & IGNORES and self._get(key) is None:
            return NO_SUCH_KEY
        return None

    def _move(self, key: bytes, old: int, new: int) -> None:
        if old:
            self._leases.detach(old, key)
        if new:
            self._leases.attach(new, key)

    def delete_range(self, operation: Operation) -> Result:
        if not operation[1]:
            return NO_KEY
        return self.delete_range_at(operation, self.revision + 1)

    def delete_range_at(self, operation: Operation, revision: int) -> Result:
        """All keys of one delete go in one revision; a delete of nothing makes none."""
        _, key, range_end, flags = operation
        deleted = select(self.records, key, range_end)
        self._delete(deleted, revision)
        return (0, self.revision, len(deleted), deleted if flags & _PREV_KV else ())

    def delete_keys(self, keys: Iterable[bytes]) -> int:
        """Deletes those that exist, in key order and in one revision; answers how many."""
        found = [self._get(key) for key in sorted(set(keys))]
        deleted = [record for record in found if record is not None]
        self._delete(deleted, self.revision + 1)
        return len(deleted)

    def _delete(self, deleted: list[KeyValue], revision: int) -> None:
        for previous in deleted:
            key, lease = previous[0], previous[5]
            grave = tombstone(key, revision)
            if lease:
                self._leases.detach(lease, key)
            self.records.delete(grave, previous)
            self.size_bytes += record_bytes(grave)
            if self.events is not None:
                self.events.append((grave, previous))
        if deleted:
            self.revision = revision

    def range(self, operation: Operation) -> Result:
        """A RANGE or a FILTERED_RANGE. The records themselves are handed out, not copies."""
        key, range_end, _, revision, flags = operation[1:6]
        if not (range_end or revision or flags) and key and operation[0] == _RANGE:
            record = self._get(key)
            if record is None:
                return (0, self.revision, (), False, 0)
            return (0, self.revision, (record,), False, 1)
        if not key:
            return NO_KEY
        if revision > self.revision:
            return IN_THE_FUTURE
        if 0 < revision < self.compacted_revision:
            return COMPACTED_AWAY
        return read_range(self.records, operation, self.revision)

    def txn(self, operation: Operation) -> Result:
        return transactions.execute(self, operation, self._leases.exists)

    def compact(self, operation: Operation) -> Result:
        """Forbids reading before a revision; what that makes invisible goes later, by compact_step,
        or at once (COMPACT_AT_ONCE_CHANGES of it) if the operation says so."""
        _, revision, is_physical = operation
        if revision <= self.compacted_revision:
            return COMPACTED_AWAY
        if revision > self.revision:
            return IN_THE_FUTURE
        self.compacted_revision = revision
        if is_physical:
            self.compact_step(COMPACT_AT_ONCE_CHANGES)
        return (0, self.revision)

    def compact_step(self, changes_max: int) -> bool:
        """One slice of the physical compaction; whether there is more to do now. Does nothing while
        `compaction_pauses`."""
        if self._physically_compacted == self.compacted_revision or self.compaction_pauses:
            return False
        revision = self.compacted_revision
        is_done, freed = self.records.compact(revision, changes_max)
        self.size_bytes -= freed
        if is_done:
            self._physically_compacted = revision
        return not is_done

    def history(self, first: int, last: int) -> Iterator[Event]:
        """Events with first <= revision <= last, as contract.Store says. What was before the
        compacted revision is None, whether or not it is still there."""
        for record in self.records.changes(first, last):
            previous = None
            if record[MOD] > self.compacted_revision:
                previous = self.records.get_at(record[0], record[MOD] - 1)
            yield record, previous if previous is not None and previous[VERSION] else None
