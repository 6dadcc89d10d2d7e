"""Loads a received snapshot file into column families of its own, beside the data in use.

Reading order 17 of the engines. Streams: neither the file nor what it holds is ever in memory as a
whole. Nothing goes through the write-ahead log, since a load cut short is worth nothing; its end is
a flush, after which the families are on disk.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.files import Files
from metastore.engines.records import KEY, MOD, KeyValue, is_tombstone
from metastore.engines.rocksdb.driver import Driver, Write
from metastore.engines.rocksdb.encoding import change_key, encode_record, past_key
from metastore.engines.rocksdb.records import FamilyNames, RocksRecords, family_names
from metastore.engines.snapshot_format import SnapshotReader, WritingStopped
from metastore.engines.state import State

LOAD_BYTES = 1 << 20  # of one write, about


class Prepared(NamedTuple):
    """A received snapshot in a generation that is not in use yet."""

    meta: SnapshotMeta
    received: Path
    generation: int
    records: RocksRecords
    state: State


def open_state(driver: Driver, names: FamilyNames, live_keys: int) -> tuple[RocksRecords, State]:
    """What is in these families. Raises StorageDamaged, StorageFailed."""
    records = RocksRecords(driver, names, live_keys)
    state = State(records, driver.iterate(names.facts, b"", None))
    state.collects_facts = True
    return records, state


def load_snapshot(
    driver: Driver,
    generation: int,
    meta: SnapshotMeta,
    received: Path,
    files: Files,
    stopped: Callable[[], bool],
) -> Prepared:
    """Into new families of this generation; they stay, half loaded, if it raises: StorageDamaged
    (not whole, or not `meta`), OSError, StorageFailed, WritingStopped."""
    names = family_names(generation)
    with SnapshotReader(received, files) as reader:
        if reader.header.meta != meta:
            raise StorageDamaged(f"{received}: holds {reader.header.meta}, not {meta}")
        for name in names:
            driver.create_family(name)
        loader = _Loader(driver, names, reader.header.compacted_revision, stopped)
        for versions in reader.versions():
            loader.add_versions(versions)
        for revision, changed in reader.order():
            for place, key in enumerate(changed):
                loader.write(names.changes, change_key(revision, place), key)
        for fact, value in reader.facts():
            loader.write(names.facts, fact, value)
        loader.finish()
        records, state = open_state(driver, names, loader.live_keys)
        keys, header = state.keys, reader.header
        if (keys.revision, keys.compacted_revision) != (header.revision, header.compacted_revision):
            raise StorageDamaged(f"{received}: its facts are of revision {keys.revision}: {header}")
        # What was hidden by compaction but not yet gone is counted in the facts, not in the file.
        keys.size_bytes = reader.footer.version_bytes
        return Prepared(meta, received, generation, records, state)


class _Loader:
    def __init__(
        self, driver: Driver, names: FamilyNames, compacted: int, stopped: Callable[[], bool]
    ) -> None:
        self.live_keys = 0
        self._driver = driver
        self._names = names
        self._compacted = compacted
        self._stopped = stopped
        self._writes: list[Write] = []
        self._writes_bytes = 0

    def add_versions(self, versions: Sequence[KeyValue]) -> None:
        """All of one key, ascending."""
        newest = versions[-1]
        for record in versions:
            if record is newest and not is_tombstone(record):
                self.live_keys += 1
                self.write(self._names.current, record[KEY], encode_record(record))
            else:
                place = past_key(record[KEY], record[MOD])
                self.write(self._names.past, place, encode_record(record))
            if record[MOD] >= self._compacted:
                # Right where the revision has one change. The changes of the others write over each
                # other here, and the order, which comes later in the file, puts all in their place.
                self.write(self._names.changes, change_key(record[MOD]), record[KEY])

    def write(self, family: str, key: bytes, value: bytes) -> None:
        self._writes.append((family, key, value))
        self._writes_bytes += len(key) + len(value)
        if self._writes_bytes >= LOAD_BYTES:
            self._write_out()

    def finish(self) -> None:
        self._write_out()
        self._driver.flush(self._names)

    def _write_out(self) -> None:
        if self._stopped():
            raise WritingStopped("loading a snapshot was stopped")
        self._driver.write(self._writes, wal=False)
        self._writes = []
        self._writes_bytes = 0
