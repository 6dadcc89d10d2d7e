"""From an etcd snapshot to a backup of ours: keys with their revisions and history, leases, users.

Reading order 8 of etcd's files. What comes out is an ordinary backup, of a cluster without members,
and goes the way of every other one from there. etcd's bucket stands in the order of the revisions,
a backup in key order: what does not fit in memory is sorted in files.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.files import Files
from metastore.engines.leases import LEASE_TTL_MAX_S, LEASE_TTL_MIN_S, LEASES_MAX
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.mvcc import FIRST_REVISION
from metastore.engines.records import (
    CREATE,
    KEY,
    LEASE,
    MOD,
    VALUE,
    VERSION,
    KeyValue,
    is_tombstone,
    tombstone,
)
from metastore.engines.snapshot_format import Order, SnapshotHeader, write_snapshot
from metastore.engines.state import State
from metastore.node.members.records import Membership
from metastore.node.offline.etcd import buckets
from metastore.node.offline.etcd.auth import read_auth
from metastore.node.offline.etcd.bolt_reader import BoltReader
from metastore.node.offline.etcd.messages import BadMessage, decode_key_value, decode_lease
from metastore.node.offline.reading import Progress
from metastore.transport.spill import SpillingSorter

_PROGRESS_CHANGES = 1000
_META = {buckets.CONSISTENT_INDEX, buckets.TERM, buckets.FINISHED_COMPACT}
_META.add(buckets.SCHEDULED_COMPACT)
_I64_MAX = (1 << 63) - 1


class Adopted(NamedTuple):
    header: SnapshotHeader
    keys_without_lease: int  # they name a lease that is not in the file, as after its end


def adopt_snapshot(snapshot: Path, target: Path, progress: Progress) -> Adopted:
    """Writes what the etcd snapshot holds to `target` as a backup. Its hash is the caller's to
    check. Needs the size of it all once more beside the target for a while. Raises StorageDamaged,
    OSError; then there is no target."""
    with (
        BoltReader(snapshot) as reader,
        SpillingSorter(target.parent) as by_key,
        SpillingSorter(target.parent) as shared,
    ):
        adopting = _Adopting(reader, snapshot, progress)
        for revision, records in adopting.revisions():
            for record in records:
                size_bytes = len(record[KEY]) + len(record[VALUE])
                by_key.add((record[KEY], revision, record), size_bytes)
            if len(records) > 1 and revision >= adopting.compacted_revision:
                for place, record in enumerate(records):
                    shared.add((revision, place, record[KEY]), len(record[KEY]))
        header = adopting.header()
        versions = adopting.versions(by_key.sorted())
        facts = adopting.state.all_facts()
        write_snapshot(target, Files(), header, versions, _order(shared.sorted()), facts)
    return Adopted(header, adopting.keys_without_lease)


def check_snapshot(snapshot: Path, progress: Progress) -> SnapshotHeader:
    """Reads what `adopt_snapshot` would take, and keeps nothing of it. Raises as it does."""
    with BoltReader(snapshot) as reader:
        adopting = _Adopting(reader, snapshot, progress)
        for _ in adopting.revisions():
            pass
        return adopting.header()


class _Adopting:
    """One database. `revisions` is used up first, then `header` and `versions`, then the state
    holds the leases with their keys."""

    def __init__(self, reader: BoltReader, snapshot: Path, progress: Progress) -> None:
        if buckets.KEY not in reader.buckets:
            raise StorageDamaged(f"{snapshot}: a database without a bucket of keys is not etcd's")
        self._reader = reader
        self._snapshot = snapshot
        self._progress = progress
        self._meta = {key: value for key, value in reader.items(buckets.META) if key in _META}
        self._newest = FIRST_REVISION
        self.compacted_revision = self._find_compacted()
        self.keys_without_lease = 0
        self.state = State(MemoryRecords())
        self._take_leases()
        try:
            read_auth(reader, self.state.auth)
        except BadMessage as error:
            raise StorageDamaged(f"{snapshot}: {error}") from None

    def revisions(self) -> Iterator[tuple[int, Sequence[KeyValue]]]:
        """Every revision with its changes in order; of a key that it changes twice, the last."""
        for revision, group in groupby(self._changes(), key=itemgetter(MOD)):
            by_key: dict[bytes, KeyValue] = {}
            for record in group:
                by_key.pop(record[KEY], None)
                by_key[record[KEY]] = record
            self._newest = revision
            yield revision, list(by_key.values())

    def header(self) -> SnapshotHeader:
        index = self._number(buckets.CONSISTENT_INDEX)
        meta = SnapshotMeta(index, max(1, self._number(buckets.TERM)), Membership().encode())
        revision = max(self._newest, self.compacted_revision)
        self.state.keys.revision = revision
        self.state.keys.compacted_revision = self.compacted_revision
        return SnapshotHeader(meta, revision, self.compacted_revision)

    def versions(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[Sequence[KeyValue]]:
        """Per key; hangs the live ones on their leases."""
        leases = self.state.leases
        for key, group in groupby(rows, key=itemgetter(0)):
            versions = [row[2] for row in group]
            newest = versions[-1]
            if not is_tombstone(newest) and newest[LEASE]:
                if leases.exists(newest[LEASE]):
                    leases.attach(newest[LEASE], key)
                else:
                    versions[-1] = (*newest[:LEASE], 0)
                    self.keys_without_lease += 1
            yield versions

    def _changes(self) -> Iterator[KeyValue]:
        reader = self._reader
        for count, (name, value) in enumerate(reader.items(buckets.KEY)):
            try:
                revision, _, is_deletion = buckets.decode_revision(name)
                record = decode_key_value(value)
            except (BadMessage, ValueError) as error:
                raise self._damaged(name, str(error)) from None
            if is_deletion:
                record = tombstone(record[KEY], revision)
            elif record[MOD] != revision or not 0 < record[CREATE] <= revision:
                raise self._damaged(name, f"its value is of revision {record[MOD]}")
            elif record[VERSION] < 1:
                raise self._damaged(name, f"version {record[VERSION]} of a key")
            if count % _PROGRESS_CHANGES == 0:
                self._progress("reading", reader.pages_read, reader.page_count)
            yield record

    def _take_leases(self) -> None:
        """With their whole time to live, as an etcd gives it to them after a restore."""
        for name, value in self._reader.items(buckets.LEASE):
            try:
                lease, ttl_s = decode_lease(value)
            except BadMessage as error:
                raise self._damaged(name, str(error)) from None
            if buckets.LEASE_ID.pack(lease) != name or not lease:
                raise self._damaged(name, f"a lease {lease:x} of another name")
            if len(self.state.leases) >= LEASES_MAX:
                raise self._damaged(name, f"more than {LEASES_MAX} leases")
            self.state.leases.add(lease, min(max(ttl_s, LEASE_TTL_MIN_S), LEASE_TTL_MAX_S))

    def _find_compacted(self) -> int:
        """What was asked for counts, be it done or not: nobody may read below it any more."""
        found = [0]
        for name in (buckets.FINISHED_COMPACT, buckets.SCHEDULED_COMPACT):
            if name in self._meta:
                try:
                    found.append(buckets.decode_revision(self._meta[name])[0])
                except ValueError as error:
                    raise self._damaged(name, str(error)) from None
        return max(found)

    def _number(self, name: bytes) -> int:
        """0 if it is not there: an etcd of before 3.5 writes no term."""
        value = self._meta.get(name)
        if value is None:
            return 0
        if len(value) != buckets.U64.size or value[0] & 0x80:
            raise self._damaged(name, "no number")
        number: int = buckets.U64.unpack(value)[0]
        return number

    def _damaged(self, name: bytes, problem: str) -> StorageDamaged:
        return StorageDamaged(f"{self._snapshot}: entry {name!r}: {problem}")


def _order(rows: Iterable[tuple[Any, ...]]) -> Iterator[Order]:
    for revision, group in groupby(rows, key=itemgetter(0)):
        yield revision, [key for _, _, key in group]
