"""A set of keys that knows its order, as late as it can.

Reading order 7 of the engines, for memory/records.py. Knows nothing of records.
"""

from collections.abc import Iterable, Iterator

from sortedcontainers import SortedList

# New keys wait here until somebody asks for the order, or until there are this many: a put need not
# pay for an order that nobody reads, and no read pays for more than these at once.
UNSORTED_KEYS_MAX = 4096


class KeyOrder:
    """Keys in byte order, each once. Whoever adds and removes knows what is in it."""

    __slots__ = ("_sorted", "_unsorted")

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._sorted = SortedList(keys)
        self._unsorted: list[bytes] = []

    def add(self, key: bytes) -> None:
        """A key that is not in it."""
        self._unsorted.append(key)
        if len(self._unsorted) >= UNSORTED_KEYS_MAX:
            self._sort()

    def remove(self, key: bytes) -> None:
        """A key that is in it. Raises ValueError otherwise."""
        self._sort()
        self._sorted.remove(key)

    def count(self, start: bytes, end: bytes | None) -> int:
        low, high = self._bounds(start, end)
        return high - low

    def select(self, start: bytes, end: bytes | None, limit: int = 0) -> Iterator[bytes]:
        """Keys in [start, end) in order (None: no end), at most `limit` (0 or less: all). Nothing
        may change meanwhile."""
        low, high = self._bounds(start, end)
        if limit > 0:
            high = min(high, low + limit)
        keys: Iterator[bytes] = self._sorted.islice(low, high)
        return keys

    def remove_last(self, count: int) -> bool:
        """So many, or as many as there are; whether there are more."""
        self._sort()
        keys = self._sorted
        for _ in range(min(count, len(keys))):
            keys.pop()
        return bool(keys)

    def _bounds(self, start: bytes, end: bytes | None) -> tuple[int, int]:
        self._sort()
        low = self._sorted.bisect_left(start)
        high = len(self._sorted) if end is None else self._sorted.bisect_left(end)
        return low, max(low, high)

    def _sort(self) -> None:
        if self._unsorted:
            # Neighbours first: each then lands in a part that is still cached.
            self._unsorted.sort()
            self._sorted.update(self._unsorted)
            self._unsorted.clear()
