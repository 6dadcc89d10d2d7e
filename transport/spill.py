"""Sorting more than memory holds: sorted pieces in files of no name, merged when they are read.

Reading order 2 of the transport, apart from the sockets: here because both the node's offline tools
and the gateway sort, and this is the ground that they share. Knows nothing of what it sorts.
"""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeAlias

import msgpack

RUN_BYTES = 32 << 20  # of the items that are sorted in memory at a time
ITEM_OVERHEAD_BYTES = 300  # of a small tuple and its elements, beside their bytes
RUNS_MAX = 768  # each is an open file; 24 GB
_READ_BYTES = 64 << 10

Item: TypeAlias = tuple[Any, ...]


class TooMuchToSort(OSError):
    """There are more items than so many files can hold."""


class SpillingSorter:
    """Takes tuples of numbers and bytes (their order is Python's, so what orders them stands first)
    and gives them back sorted, once. Files lie in `folder` and have no names there: they are gone
    with the process, however it ends. A context manager. Raises OSError."""

    def __init__(self, folder: Path, *, run_bytes: int = RUN_BYTES) -> None:
        self._folder = folder
        self._run_bytes = run_bytes
        self._items: list[Item] = []
        self._size_bytes = 0
        self._runs: list[BinaryIO] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._items.clear()
        for file in self._runs:
            file.close()

    @property
    def runs_count(self) -> int:
        """How many files there are."""
        return len(self._runs)

    def add(self, item: Item, size_bytes: int) -> None:
        """`size_bytes`: of the bytes in it."""
        self._items.append(item)
        self._size_bytes += size_bytes + ITEM_OVERHEAD_BYTES
        if self._size_bytes >= self._run_bytes:
            self._spill()

    def sorted(self) -> Iterator[Item]:
        """All items in order. Nothing may be added any more."""
        self._items.sort()
        if not self._runs:
            return iter(self._items)
        return heapq.merge(*map(_read, self._runs), self._items)

    def _spill(self) -> None:
        if len(self._runs) >= RUNS_MAX:
            raise TooMuchToSort(f"more than {RUNS_MAX * self._run_bytes} bytes to sort")
        self._items.sort()
        file: BinaryIO = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._runs.append(file)
        pack = msgpack.Packer().pack
        file.writelines(_packed(self._items, pack))
        file.seek(0)
        self._items.clear()
        self._size_bytes = 0


def _packed(items: Iterable[Item], pack: Any) -> Iterator[bytes]:
    for item in items:
        yield pack(item)


def _read(file: BinaryIO) -> Iterator[Item]:
    # A size of our own: by default it refuses more than 100 MB, of one value too.
    yield from msgpack.Unpacker(
        file, use_list=False, read_size=_READ_BYTES, max_buffer_size=(1 << 31) - 1
    )
