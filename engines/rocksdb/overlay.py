"""One column family with what the running batch wrote to it laid over it.

Reading order 13 of the engines. The batch becomes durable as a whole, at its end; until then its
own reads must see its writes, and nobody else may. Knows bytes only, nothing of records.
"""

from collections.abc import Iterator
from heapq import merge
from itertools import repeat
from operator import itemgetter

from sortedcontainers import SortedList

from metastore.engines.rocksdb.driver import Driver, Row, Write


class OverlaidFamily:
    """Reads see `set` at once; the database sees it when the writes of `take` are written."""

    __slots__ = ("_driver", "_order", "_written", "name")

    def __init__(self, driver: Driver, name: str) -> None:
        self.name = name
        self._driver = driver
        self._written: dict[bytes, bytes | None] = {}
        self._order: SortedList | None = None  # of the keys written; made when first needed

    def get(self, key: bytes) -> bytes | None:
        if key in self._written:
            return self._written[key]
        return self._driver.get(self.name, key)

    def set(self, key: bytes, value: bytes | None) -> None:
        """None: the key goes."""
        if self._order is not None and key not in self._written:
            self._order.add(key)
        self._written[key] = value

    def rows(self, start: bytes, end: bytes | None, *, reverse: bool = False) -> Iterator[Row]:
        """[start, end) in order of the keys, as of this call. No `set` while it is used."""
        stored = self._driver.iterate(self.name, start, end, reverse=reverse)
        written = self._written_between(start, end, reverse)
        return _laid_over(stored, written, reverse) if written else stored

    def count(self, start: bytes, end: bytes | None) -> int:
        """How many rows there are."""
        if self._written_between(start, end, False):
            return sum(1 for _ in self.rows(start, end))
        return self._driver.count(self.name, start, end)

    def take(self) -> list[Write]:
        """What the batch has to write to this family; the overlay is empty from here on."""
        writes = list(zip(repeat(self.name), self._written, self._written.values()))
        self._written.clear()
        self._order = None
        return writes

    def _written_between(
        self, start: bytes, end: bytes | None, reverse: bool
    ) -> list[tuple[bytes, bytes | None]]:
        if not self._written:
            return []
        if self._order is None:
            self._order = SortedList(self._written)
        keys = self._order.irange(start, end, (True, False), reverse)
        return [(key, self._written[key]) for key in keys]


def _laid_over(
    stored: Iterator[Row], written: list[tuple[bytes, bytes | None]], reverse: bool
) -> Iterator[Row]:
    last: bytes | None = None
    # Of two rows with one key the written one comes first.
    for key, value in merge(written, stored, key=itemgetter(0), reverse=reverse):
        if key != last and value is not None:
            yield key, value
        last = key
