"""What was read of the source, in files: given back in the order in which it was written there.

Second of importing/. An etcd is read in key order, since it sorts anew for every page otherwise;
what does not fit in memory is sorted in files without a name.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, Self

from metastore.client.client import REQUEST_BYTES_MAX
from metastore.client.errors import InvalidRequest
from metastore.transport.spill import SpillingSorter

BATCH_KEYS_MAX = 512
BATCH_BYTES_MAX = 256 << 10  # of keys and values; a single change may be larger
KEY_OVERHEAD_BYTES = 64  # of a put in a request
TRANSACTION_KEYS_MAX = 128  # of one revision
_REQUEST_ROOM_BYTES = REQUEST_BYTES_MAX - 64  # what is around the puts


class Put(NamedTuple):
    key: bytes
    value: bytes
    lease: int


Change = Sequence[Put]
"""What one revision of the source wrote last: one key, or several of one transaction."""

Batch = Sequence[Change]
"""Of one request, in order."""


class Plan:
    """Filled once, then given back once. A context manager: its files are gone afterwards."""

    def __init__(self, folder: Path) -> None:
        self._sorter = SpillingSorter(folder)
        self.leases: set[int] = set()
        self.keys_count = 0
        self.size_bytes = 0

    def __enter__(self) -> Self:
        self._sorter.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._sorter.__exit__()

    def add(self, mod_revision: int, put: Put) -> None:
        """Raises InvalidRequest for what no request can hold, OSError."""
        size_bytes = len(put.key) + len(put.value)
        if size_bytes + KEY_OVERHEAD_BYTES > _REQUEST_ROOM_BYTES:
            raise InvalidRequest(
                f"the key {put.key[:80]!r} has {size_bytes} bytes with its value; at most "
                f"{_REQUEST_ROOM_BYTES - KEY_OVERHEAD_BYTES} can be stored"
            )
        self._sorter.add((mod_revision, *put), size_bytes)
        self.keys_count += 1
        self.size_bytes += size_bytes
        if put.lease:
            self.leases.add(put.lease)

    def batches(self, left_out: frozenset[int]) -> Iterator[Batch]:
        """By ascending revision; without the keys of these leases."""
        rows = (row for row in self._sorter.sorted() if row[3] not in left_out)
        batch: list[Change] = []
        count = size_bytes = 0
        for change in _changes(rows):
            change_bytes = sum(map(_size_bytes, change))
            is_full = count + len(change) > BATCH_KEYS_MAX
            if batch and (is_full or size_bytes + change_bytes > BATCH_BYTES_MAX):
                yield batch
                batch, count, size_bytes = [], 0, 0
            batch.append(change)
            count += len(change)
            size_bytes += change_bytes
        if batch:
            yield batch


def _changes(rows: Iterable[tuple[int, bytes, bytes, int]]) -> Iterator[Change]:
    """One per revision, unless it is more than one request can hold."""
    for _, group in groupby(rows, key=itemgetter(0)):
        change: list[Put] = []
        size_bytes = 0
        for row in group:
            put = Put(*row[1:])
            size = _size_bytes(put)
            is_full = len(change) >= TRANSACTION_KEYS_MAX
            if change and (is_full or size_bytes + size > _REQUEST_ROOM_BYTES):
                yield change
                change, size_bytes = [], 0
            change.append(put)
            size_bytes += size
        yield change


def _size_bytes(put: Put) -> int:
    return len(put.key) + len(put.value) + KEY_OVERHEAD_BYTES
