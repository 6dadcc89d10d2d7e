"""The permissions of several roles as one set of keys, and whether it covers a range.

Beside tables.py. etcd's rules: adjacent and overlapping permissions count as one, so a range may
lie across several of them; one key is the range that ends right after it.
"""

from bisect import bisect_right
from collections.abc import Iterable

from metastore.engines.ranges import NO_END


class KeySet:
    """The union of ranges (key, range_end) in the words of a RANGE (schema.py)."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes | None] = []  # exclusive; None: there is none
        for key, range_end in sorted(ranges):
            self._add(key, _end(key, range_end))

    def covers(self, key: bytes, range_end: bytes = b"") -> bool:
        """All of the range; of an empty one, its key."""
        place = bisect_right(self._starts, key) - 1
        if place < 0:
            return False
        has_end = self._ends[place]
        if has_end is None:
            return True
        if key >= has_end:
            return False
        end = _end(key, range_end)
        return end is not None and end <= has_end

    def _add(self, key: bytes, end: bytes | None) -> None:
        """In ascending order of keys."""
        if self._ends:
            last = self._ends[-1]
            if last is None:
                return
            if key <= last:
                self._ends[-1] = None if end is None else max(last, end)
                return
        self._starts.append(key)
        self._ends.append(end)


def _end(key: bytes, range_end: bytes) -> bytes | None:
    if range_end == NO_END:
        return None
    return range_end or key + b"\x00"
