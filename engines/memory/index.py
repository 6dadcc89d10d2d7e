"""The ordered index of live keys, in memory: a dict for the records, a sorted list for their order.

Reading order 8 of the engines. Implements mvcc.Index; knows nothing of revisions.
"""

from collections.abc import Iterable, Iterator

from sortedcontainers import SortedList

from metastore.engines.mvcc import KeyValue

# New keys wait here until somebody asks for the order, or until there are this many: a put need not
# pay for an order that nobody reads, and no read pays for more than these at once.
UNSORTED_KEYS_MAX = 4096


class MemoryIndex:
    """Keys in byte order. Records are immutable tuples, so a shallow copy is a snapshot."""

    __slots__ = ("_records", "_sorted", "_unsorted", "get")

    def __init__(self, records: Iterable[KeyValue] = ()) -> None:
        self._records: dict[bytes, KeyValue] = {record[0]: record for record in records}
        self._sorted = SortedList(self._records)
        self._unsorted: list[bytes] = []
        self.get = self._records.get  # the hot path: no call in between

    def __len__(self) -> int:
        return len(self._records)

    def insert(self, key: bytes, record: KeyValue) -> None:
        """A key that is not there yet."""
        self._records[key] = record
        self._unsorted.append(key)
        if len(self._unsorted) >= UNSORTED_KEYS_MAX:
            self._sort()

    def replace(self, key: bytes, record: KeyValue) -> None:
        """A key that is there."""
        self._records[key] = record

    def remove(self, key: bytes) -> None:
        self._sort()
        del self._records[key]
        self._sorted.remove(key)

    def count(self, start: bytes, end: bytes | None) -> int:
        low, high = self._bounds(start, end)
        return max(0, high - low)

    def select(self, start: bytes, end: bytes | None, limit: int) -> list[KeyValue]:
        """Records of keys in [start, end) in key order (None: no end), at most `limit` (0: all)."""
        low, high = self._bounds(start, end)
        if limit > 0:
            high = min(high, low + limit)
        records = self._records
        return [records[key] for key in self._sorted.islice(low, max(low, high))]

    def copy(self) -> tuple[dict[bytes, KeyValue], list[bytes]]:
        """The records as they are now, and their keys in order."""
        self._sort()
        return self._records.copy(), list(self._sorted)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in order, of the state at the time of the call."""
        records, keys = self.copy()
        return ((key, records[key][1]) for key in keys)

    def _bounds(self, start: bytes, end: bytes | None) -> tuple[int, int]:
        self._sort()
        low = self._sorted.bisect_left(start)
        high = len(self._sorted) if end is None else self._sorted.bisect_left(end)
        return low, high

    def _sort(self) -> None:
        if self._unsorted:
            # Neighbours first: each then lands in a part that is still cached.
            self._unsorted.sort()
            self._sorted.update(self._unsorted)
            self._unsorted.clear()
