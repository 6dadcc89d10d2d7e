"""The Records of the RocksDB engine: four kinds of rows in three column families.

Reading order 14 of the engines. Nothing is written here: what a batch changes is laid over the
families until the store takes it (`take_writes`) and writes it together with everything else. Holds
no records in memory, and no iterator longer than the one who asked for it does.
"""

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import groupby, islice
from operator import itemgetter
from typing import NamedTuple

from metastore.engines.contract import StorageDamaged
from metastore.engines.records import (
    KEY,
    MOD,
    VALUE,
    KeyValue,
    is_tombstone,
    record_bytes,
)
from metastore.engines.rocksdb.driver import Driver, Row, Write
from metastore.engines.rocksdb.encoding import (
    change_key,
    change_revision,
    decode_record,
    encode_record,
    past_key,
    past_start,
    split_past_key,
)
from metastore.engines.rocksdb.overlay import OverlaidFamily


class FamilyNames(NamedTuple):
    """The families of one generation of the data."""

    current: str  # newest versions of live keys
    past: str  # superseded versions and tombstones
    changes: str
    facts: str  # everything of the state but the records


def family_names(generation: int) -> FamilyNames:
    return FamilyNames(*(f"{kind}.{generation}" for kind in FamilyNames._fields))


class RocksRecords:
    """Implements records.Records over one generation. `live_keys`: how many it holds."""

    def __init__(self, driver: Driver, names: FamilyNames, live_keys: int = 0) -> None:
        self._current = OverlaidFamily(driver, names.current)
        self._past = OverlaidFamily(driver, names.past)
        self._changes = OverlaidFamily(driver, names.changes)
        self._live_keys = live_keys
        self._revision = 0  # of the last change
        self._place = 0  # of the last change in its revision
        # Where the next slice of a compaction at `_compacting` goes on. Lost at a restart: then the
        # first slice looks again at changes that have nothing left to remove.
        self._compacting = 0
        self._compact_from = b""

    def take_writes(self) -> list[Write]:
        """What the batch has to write; from here on reads expect to find it in the database."""
        return [*self._current.take(), *self._past.take(), *self._changes.take()]

    def get(self, key: bytes, /) -> KeyValue | None:
        data = self._current.get(key)
        return None if data is None else decode_record(data)

    def __len__(self) -> int:
        return self._live_keys

    def put(self, record: KeyValue, previous: KeyValue | None) -> None:
        self._current.set(record[KEY], encode_record(record))
        if previous is None:
            self._live_keys += 1
        else:
            self._supersede(previous)
        self._note_change(record)

    def delete(self, grave: KeyValue, previous: KeyValue) -> None:
        self._current.set(grave[KEY], None)
        self._live_keys -= 1
        self._supersede(previous)
        self._supersede(grave)
        self._note_change(grave)

    def get_at(self, key: bytes, revision: int) -> KeyValue | None:
        newest = self.get(key)
        if newest is not None and newest[MOD] <= revision:
            return newest
        return self._newest_past(key, revision + 1)

    def count(self, start: bytes, end: bytes | None) -> int:
        if end is None and start <= b"\x00":
            return self._live_keys
        return self._current.count(start, end)

    def select(self, start: bytes, end: bytes | None, limit: int) -> list[KeyValue]:
        rows = self._current.rows(start, end)
        return [decode_record(data) for _, data in islice(rows, limit if limit > 0 else None)]

    def select_at(
        self, start: bytes, end: bytes | None, revision: int, limit: int
    ) -> list[KeyValue]:
        found: list[KeyValue] = []
        for versions in self._versions_between(start, end):
            seen = [version for version in versions if version[MOD] <= revision]
            if seen and not is_tombstone(seen[-1]):
                found.append(seen[-1])
                if len(found) == limit:
                    break
        return found

    def changes(self, first: int, last: int) -> Iterator[KeyValue]:
        """Raises StorageDamaged where a version is missing."""
        rows = self._changes.rows(change_key(first), change_key(last + 1))
        return (self._version(key, change_revision(stored)) for stored, key in rows)

    def shared_revisions(self, first: int, last: int) -> Iterator[tuple[int, Sequence[bytes]]]:
        """The revisions of first..last with several changes, and their keys in order; what
        snapshot_format.py wants to know, without a look at the records."""
        rows = self._changes.rows(change_key(first), change_key(last + 1))
        for revision, changes in groupby(rows, lambda row: change_revision(row[0])):
            keys = [key for _, key in changes]
            if len(keys) > 1:
                yield revision, keys

    def versions(self) -> Iterator[Sequence[KeyValue]]:
        """As of the call, if called between two batches; may then be walked by another thread."""
        return self._versions_between(b"", None)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Live keys and their values, as `versions` gives them."""
        rows = self._current.rows(b"", None)
        return ((key, decode_record(data)[VALUE]) for key, data in rows)

    def compact(self, revision: int, changes_max: int) -> tuple[bool, int]:
        """Relies on the order: when a change's turn comes, its key has at most one older version
        left, since the turn of every other one has been before."""
        self._aim_compaction(revision)
        rows = self._changes.rows(self._compact_from, change_key(revision + 1))
        oldest = list(islice(rows, changes_max + 1))
        freed = 0
        for stored, key in oldest[:changes_max]:
            freed += self._compact_change(stored, key, revision)
        is_done = len(oldest) <= changes_max
        self._compact_from = change_key(revision + 1) if is_done else oldest[-1][0]
        return is_done, freed

    def _supersede(self, record: KeyValue) -> None:
        self._past.set(past_key(record[KEY], record[MOD]), encode_record(record))

    def _note_change(self, record: KeyValue) -> None:
        revision = record[MOD]
        self._place = self._place + 1 if revision == self._revision else 0
        self._revision = revision
        self._changes.set(change_key(revision, self._place), record[KEY])

    def _newest_past(self, key: bytes, before: int) -> KeyValue | None:
        """Seeks from behind: what lies in front may be many rows that are gone but not yet
        merged away."""
        rows = self._past.rows(past_start(key), past_key(key, before), reverse=True)
        for _, data in rows:
            return decode_record(data)
        return None

    def _version(self, key: bytes, revision: int) -> KeyValue:
        record = self.get(key)
        if record is not None and record[MOD] == revision:
            return record
        data = self._past.get(past_key(key, revision))
        if data is None:
            raise StorageDamaged(f"the database lost version {revision} of the key {key!r}")
        return decode_record(data)

    def _versions_between(self, start: bytes, end: bytes | None) -> Iterator[Sequence[KeyValue]]:
        past_end = None if end is None else past_start(end)
        # Both are made in this call, so that both are of the same moment.
        current = self._current.rows(start, end)
        return _by_key(current, self._past.rows(past_start(start) if start else b"", past_end))

    def _aim_compaction(self, revision: int) -> None:
        if revision != self._compacting:
            # The changes of the revision before stayed, and have to go now.
            self._compact_from = min(self._compact_from, change_key(self._compacting))
            self._compacting = revision

    def _compact_change(self, stored: bytes, key: bytes, revision: int) -> int:
        """Answers the bytes freed."""
        changed = change_revision(stored)
        gone: list[KeyValue] = []
        older = self._newest_past(key, changed)
        if older is not None:
            gone.append(older)
        if changed < revision:
            own = self._past.get(past_key(key, changed))
            if own is not None and is_tombstone(decode_record(own)):
                gone.append(decode_record(own))
            self._changes.set(stored, None)
        for record in gone:
            self._past.set(past_key(key, record[MOD]), None)
        return sum(map(record_bytes, gone))


def _by_key(current: Iterator[Row], past: Iterator[Row]) -> Iterator[Sequence[KeyValue]]:
    older = ((split_past_key(stored)[0], 0, data) for stored, data in past)
    newest = ((key, 1, data) for key, data in current)
    together = merge(older, newest, key=itemgetter(0, 1))
    for _, rows in groupby(together, itemgetter(0)):
        yield [decode_record(data) for _, _, data in rows]
