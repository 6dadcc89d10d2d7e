"""Which watched ranges a key is in, without looking at every watch.

Reading order 11 of the engines, below watches.py. Pure. Watches of one key are found by a dict, and
equal ranges share one entry, however many watch them. Distinct ranges are looked through once per
*gap*, the keys between two neighbouring bounds of any ranges: all keys of a gap are in the same
ranges, so the answer is kept until the ranges change.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
Range: TypeAlias = tuple[bytes, bytes]
"""(key, range_end) in the words of a RANGE, see schema.py."""

NO_END = b"\x00"
# Kept answers are lists of ranges; ranges nested in each other make their sum quadratic.
KEPT_RANGES_MAX = 1 << 20


def normal_range_or_none(key: bytes, range_end: bytes) -> Range | None:
    """The range in one spelling, None if no key can be in it. An empty key is the first one."""
    key = key or b"\x00"
    if range_end and range_end != NO_END and range_end <= key:
        return None
    return (key, range_end)


def is_in_range(key: bytes, watched: Range) -> bool:
    start, range_end = watched
    if not range_end:
        return key == start
    return start <= key and (range_end == NO_END or key < range_end)


class WatchedRanges(Generic[T]):
    """One T per range, made by the caller."""

    __slots__ = ("_bounds", "_kept", "_kept_count", "_keys", "_ranges")

    def __init__(self) -> None:
        self._keys: dict[bytes, T] = {}
        self._ranges: dict[Range, T] = {}
        self._bounds: list[bytes] | None = []  # ascending; None: to be worked out again
        self._kept: dict[int, Sequence[T]] = {}  # by the number of bounds at or below the key
        self._kept_count = 0

    def __iter__(self) -> Iterator[T]:
        yield from self._keys.values()
        yield from self._ranges.values()

    def get(self, watched: Range) -> T | None:
        return self._ranges.get(watched) if watched[1] else self._keys.get(watched[0])

    def put(self, watched: Range, value: T) -> None:
        if not watched[1]:
            self._keys[watched[0]] = value
            return
        self._ranges[watched] = value
        self._forget()

    def remove(self, watched: Range) -> None:
        if not watched[1]:
            del self._keys[watched[0]]
            return
        del self._ranges[watched]
        self._forget()

    def find(self, key: bytes) -> Sequence[T]:
        """What is kept for every range that the key is in."""
        found = self._find_ranges(key) if self._ranges else ()
        exact = self._keys.get(key)
        return found if exact is None else (*found, exact)

    def _find_ranges(self, key: bytes) -> Sequence[T]:
        if self._bounds is None:
            ends = {end for _, end in self._ranges if end != NO_END}
            self._bounds = sorted(ends.union(start for start, _ in self._ranges))
        gap = bisect_right(self._bounds, key)
        found = self._kept.get(gap)
        if found is None:
            found = tuple(value for it, value in self._ranges.items() if is_in_range(key, it))
            if self._kept_count > KEPT_RANGES_MAX:
                self._kept, self._kept_count = {}, 0
            self._kept[gap] = found
            self._kept_count += len(found)
        return found

    def _forget(self) -> None:
        self._bounds, self._kept, self._kept_count = None, {}, 0
