"""From a backup to an etcd snapshot: every version that can still be asked for, leases, users.

Reading order 7 of etcd's files. A backup stands in key order, etcd's bucket in the order of the
revisions: what does not fit in memory is sorted in files. Nothing of Raft goes along but index and
term; members and alarms are the new cluster's own.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from metastore.engines.memory.records import MemoryRecords
from metastore.engines.records import KEY as RECORD_KEY
from metastore.engines.records import VALUE, KeyValue, is_tombstone
from metastore.engines.sessions import REPLY_FACT, SESSION_FACT
from metastore.engines.snapshot_format import Fact, Order, SnapshotHeader, SnapshotReader
from metastore.engines.state import State
from metastore.node.offline.etcd import buckets
from metastore.node.offline.etcd.auth import write_auth
from metastore.node.offline.etcd.bolt_writer import BoltWriter
from metastore.node.offline.etcd.messages import encode, encode_key_value, encode_lease
from metastore.node.offline.etcd.snapshot_file import new_snapshot_file
from metastore.node.offline.reading import Progress, ReadingFiles
from metastore.transport.spill import SpillingSorter

_PROGRESS_CHANGES = 1000  # between two signs of progress
_Row = tuple[int, KeyValue]


class Exported(NamedTuple):
    revision: int
    compacted_revision: int
    change_count: int
    size_bytes: int


def export_snapshot(backup: Path, target: Path, progress: Progress) -> Exported:
    """Reads the backup whole and writes `target`, which gets its name when all of it is there.
    Needs the size of the backup beside the target for a while. Raises StorageDamaged, OSError."""
    with (
        SnapshotReader(backup, ReadingFiles(progress)) as reader,
        SpillingSorter(target.parent) as sorter,
    ):
        for versions in reader.versions():
            for record in versions:
                sorter.add((record[3], record), len(record[RECORD_KEY]) + len(record[VALUE]))
        total = reader.footer.version_count
        with new_snapshot_file(target) as file:
            writer = BoltWriter(file)
            writer.bucket(buckets.KEY, _changes(sorter.sorted(), reader.order(), total, progress))
            _write_facts(writer, reader.facts())
            writer.bucket(buckets.META, _meta(reader.header))
            for name in buckets.EMPTY:
                writer.bucket(name, ())
            writer.finish()
        header = reader.header
    size_bytes = target.stat().st_size
    return Exported(header.revision, header.compacted_revision, total, size_bytes)


def _changes(
    rows: Iterable[_Row], order: Iterator[Order], total: int, progress: Progress
) -> Iterator[tuple[bytes, bytes]]:
    """By revision, and within one in the order in which they were made. Both `rows` and `order`
    ascend, so one walk is enough."""
    count = 0
    shared: Order | None = next(order, None)
    for revision, group in groupby(rows, key=itemgetter(0)):
        records = [record for _, record in group]
        while shared is not None and shared[0] < revision:
            shared = next(order, None)
        if len(records) > 1 and shared is not None and shared[0] == revision:
            places = {key: place for place, key in enumerate(shared[1])}
            records.sort(key=lambda record: places.get(record[RECORD_KEY], len(places)))
        for place, record in enumerate(records):
            yield _change(revision, place, record)
            if count % _PROGRESS_CHANGES == 0:
                progress("writing", count, total)
            count += 1
    for _ in order:  # to its end, as the reader wants it
        pass


def _change(revision: int, place: int, record: KeyValue) -> tuple[bytes, bytes]:
    """etcd keeps of a deletion the key alone."""
    if is_tombstone(record):
        name = buckets.encode_revision(revision, place, is_deletion=True)
        return name, encode((1, record[RECORD_KEY]))
    return buckets.encode_revision(revision, place), encode_key_value(record)


def _meta(header: SnapshotHeader) -> Iterator[tuple[bytes, bytes]]:
    found = {
        buckets.CONSISTENT_INDEX: buckets.U64.pack(header.meta.index),
        buckets.TERM: buckets.U64.pack(header.meta.term),
    }
    if header.compacted_revision:
        compacted = buckets.encode_revision(header.compacted_revision, 0)
        found |= {buckets.SCHEDULED_COMPACT: compacted, buckets.FINISHED_COMPACT: compacted}
    yield from sorted(found.items())


def _write_facts(writer: BoltWriter, facts: Iterable[Fact]) -> None:
    # Sessions are ours alone; etcd has no such thing.
    kept = (fact for fact in facts if not fact[0].startswith((SESSION_FACT, REPLY_FACT)))
    state = State(MemoryRecords(), kept)
    writer.bucket(buckets.LEASE, _leases(state))
    write_auth(writer, state.auth)


def _leases(state: State) -> Iterator[tuple[bytes, bytes]]:
    leases = state.leases
    for name, lease in sorted((buckets.LEASE_ID.pack(lease), lease) for lease in leases.ids()):
        found = leases.get(lease)
        if found is not None:
            yield name, encode_lease(lease, found.ttl_s, found.remaining_s)
