"""Iterations over the database that others hold, so that closing it can end them first.

Reading order 15 of the engines. A database that is closed under a live iterator stays locked for
the rest of the process, and the iterator fails in ways of its own. Any thread may walk, one at a
time each; the owner closes.
"""

from collections.abc import Iterator
from threading import Lock
from typing import TypeVar
from weakref import WeakSet

from metastore.engines.contract import StorageFailed

T = TypeVar("T")


class Walk(Iterator[T]):
    """Gives what `source` gives, and lets go of it at its end, at an error, or when closed."""

    def __init__(self, source: Iterator[T]) -> None:
        self._source: Iterator[T] | None = source
        self._is_at_end = False
        self._lock = Lock()

    def __next__(self) -> T:
        """Raises StorageFailed once closed, and what the source raises."""
        with self._lock:
            if self._source is None:
                if self._is_at_end:
                    raise StopIteration
                raise StorageFailed("the store was closed while it was being read")
            try:
                return next(self._source)
            except BaseException as error:
                self._source = None
                self._is_at_end = isinstance(error, StopIteration)
                raise

    def close(self) -> None:
        """Waits for a step that another thread is taking."""
        with self._lock:
            self._source = None


class Walks:
    """All the walks somebody still holds."""

    def __init__(self) -> None:
        self._open: WeakSet[Walk[object]] = WeakSet()

    def start(self, source: Iterator[T]) -> Walk[T]:
        walk = Walk(source)
        self._open.add(walk)  # type: ignore[arg-type]  # a set of any walks
        return walk

    def close(self) -> None:
        for walk in list(self._open):
            walk.close()
