"""The RocksDB engine's durable Raft log: one family of entries by index, and two values of meta.

Reading order 17 of the engines. Shares the database, and with it the WAL and its syncs, with the
store. Every value carries a checksum of its own over its key: RocksDB's hold blocks together, not
what we put into them. Never retries a failed write or sync.

    log   index 8         -> crc 4 | term 8 | type 4 | data                     all big-endian
    meta  log.hard_state  -> crc 4 | term 8 | voted_for 8 | commit_index 8
    meta  log.snapshot    -> crc 4 | index 8 | term 8 | configuration
"""

import struct
import zlib
from array import array
from collections.abc import Sequence

from metastore.engines.contract import (
    LogEntry,
    LogRecord,
    RecoveredLog,
    SnapshotMeta,
    StorageDamaged,
    StorageFailed,
)
from metastore.engines.log_order import TermRuns, check_order
from metastore.engines.rocksdb.driver import Driver, Write

LOG_FAMILY = "log"
META_FAMILY = "meta"
HARD_STATE_KEY = b"log.hard_state"
SNAPSHOT_KEY = b"log.snapshot"
ENTRY_BYTES_MAX = 256 << 20
INDEX_MAX = (1 << 64) - 1

_INDEX = struct.Struct(">Q")
_CRC = struct.Struct(">I")
_ENTRY = struct.Struct(">QI")
_HARD_STATE = struct.Struct(">QQQ")
_SNAPSHOT = struct.Struct(">QQ")


class RocksLog:
    """Implements contract.RaftLog. The driver is the caller's and stays open after `close`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._snapshot = SnapshotMeta()
        self._terms = TermRuns(0, 0)
        self._sizes = array("Q")  # bytes of the entries after the snapshot
        self._size_bytes = 0
        self._failure: str | None = "the log is not recovered yet"

    def recover(self) -> RecoveredLog:
        """Also removes what a crash between the steps of `compact` left, and syncs: what it returns
        is durable. Raises StorageDamaged, StorageFailed."""
        driver = self._driver
        for family in {LOG_FAMILY, META_FAMILY} - set(driver.families()):
            driver.create_family(family)
        hard_state = self._read_hard_state()
        self._snapshot = self._read_snapshot()
        self._terms = TermRuns(self._snapshot.index, self._snapshot.term)
        self._sizes, self._size_bytes = array("Q"), 0
        self._delete_covered()
        entries = self._read_entries()
        driver.sync()
        self._failure = None
        warnings = []
        last_index = self._terms.last_index
        term, voted_for, commit_index = hard_state
        if commit_index > last_index:
            warnings.append(
                f"commit index {commit_index} is past the log, taken back to {last_index}"
            )
        # What a snapshot holds is committed, whatever the last hard state knew.
        clamped = max(min(commit_index, last_index), self._snapshot.index)
        hard_state = (term, voted_for, clamped)
        return RecoveredLog(
            hard_state, self._snapshot, tuple(entries), tuple(warnings), commit_index
        )

    def append(
        self,
        entries: Sequence[LogEntry],
        hard_state: tuple[int, int, int] | None,
        snapshot: SnapshotMeta | None,
    ) -> None:
        """One batch: no entry without its term, none of the overwritten ones beside the new."""
        self._refuse_if_failed()
        check_order(entries, snapshot, self._snapshot.index, self._terms, ENTRY_BYTES_MAX)
        try:
            batch: list[Write] = []
            if hard_state is not None:
                value = _checked(HARD_STATE_KEY, _HARD_STATE.pack(*hard_state))
                batch.append((META_FAMILY, HARD_STATE_KEY, value))
            moved = snapshot is not None and self._take_snapshot(snapshot, batch)
            self._take_entries(entries, batch)
            if batch:
                self._driver.write(batch)
            if moved:
                self._delete_covered()
        except Exception as error:
            raise self._failed("appending to", error) from error

    def sync(self) -> None:
        self._refuse_if_failed()
        try:
            self._driver.sync()
        except Exception as error:
            raise self._failed("syncing", error) from error

    def compact(self, snapshot: SnapshotMeta) -> None:
        """Durable on return. A snapshot at or under the one we have changes nothing."""
        self._refuse_if_failed()
        if snapshot.index <= self._snapshot.index:
            return
        try:
            batch: list[Write] = []
            self._take_snapshot(snapshot, batch)
            self._driver.write(batch)
            self._delete_covered()
            self._driver.sync()
        except Exception as error:
            raise self._failed("compacting", error) from error

    def size_bytes(self) -> int:
        """Of the entries; the files are shared with the store."""
        return self._size_bytes

    def close(self) -> None:
        """Makes nothing durable that was not."""
        self._failure = self._failure or "the log is closed"

    def _take_snapshot(self, snapshot: SnapshotMeta, batch: list[Write]) -> bool:
        if snapshot.index <= self._snapshot.index:
            return False
        payload = _SNAPSHOT.pack(snapshot.index, snapshot.term) + snapshot.configuration
        batch.append((META_FAMILY, SNAPSHOT_KEY, _checked(SNAPSHOT_KEY, payload)))
        if self._terms.term_or_none(snapshot.index) == snapshot.term:
            covered = snapshot.index - self._snapshot.index
            self._size_bytes -= sum(self._sizes[:covered])
            del self._sizes[:covered]
            self._terms.start_at(snapshot.index, snapshot.term)
        else:
            # In the batch: an entry of another history must not outlive it by a moment.
            self._delete_after(snapshot.index, batch)
            self._sizes, self._size_bytes = array("Q"), 0
            self._terms = TermRuns(snapshot.index, snapshot.term)
        self._snapshot = snapshot
        return True

    def _take_entries(self, entries: Sequence[LogEntry], batch: list[Write]) -> None:
        if not entries:
            return
        first_index = entries[0].index
        # An overwritten entry takes everything after it along; one that stayed would be a ghost
        # that wins elections with a log nobody has (etcd#22442).
        self._delete_after(entries[-1].index, batch)
        kept = first_index - self._snapshot.index - 1
        self._size_bytes -= sum(self._sizes[kept:])
        del self._sizes[kept:]
        for entry in entries:
            key = _INDEX.pack(entry.index)
            payload = _ENTRY.pack(entry.term, entry.type) + entry.data
            batch.append((LOG_FAMILY, key, _checked(key, payload)))
            self._remember(entry.index, entry.term, len(payload))

    def _remember(self, index: int, term: int, payload_bytes: int) -> None:
        size = _INDEX.size + _CRC.size + payload_bytes
        self._terms.append(index, term)
        self._sizes.append(size)
        self._size_bytes += size

    def _delete_after(self, index: int, batch: list[Write]) -> None:
        for ghost in range(index + 1, self._terms.last_index + 1):
            batch.append((LOG_FAMILY, _INDEX.pack(ghost), None))

    def _delete_covered(self) -> None:
        """After the batch with the snapshot: a crash in between leaves entries that `recover`
        knows to be covered, never a gap."""
        start, end = _INDEX.pack(0), _INDEX.pack(self._snapshot.index + 1)
        if any(True for _ in self._driver.iterate(LOG_FAMILY, start, end)):
            self._driver.delete_range(LOG_FAMILY, start, end)

    def _read_hard_state(self) -> tuple[int, int, int]:
        payload = self._read_meta(HARD_STATE_KEY, _HARD_STATE.size)
        return _HARD_STATE.unpack_from(payload) if payload else (0, 0, 0)

    def _read_snapshot(self) -> SnapshotMeta:
        payload = self._read_meta(SNAPSHOT_KEY, _SNAPSHOT.size)
        if not payload:
            return SnapshotMeta()
        index, term = _SNAPSHOT.unpack_from(payload)
        if index == INDEX_MAX:
            raise StorageDamaged(f"no entry can follow a snapshot at {index}")
        return SnapshotMeta(index, term, payload[_SNAPSHOT.size :])

    def _read_meta(self, key: bytes, bytes_min: int) -> bytes:
        """b"" if it was never written."""
        value = self._driver.get(META_FAMILY, key)
        return b"" if value is None else _verified(key, value, bytes_min, key.decode())

    def _read_entries(self) -> list[LogRecord]:
        entries: list[LogRecord] = []
        for key, value in self._driver.iterate(LOG_FAMILY, b"", None):
            what = f"the entry after {self._terms.last_index}"
            payload = _verified(key, value, _ENTRY.size, what)
            (index,) = _INDEX.unpack(key)  # the checksum's, too
            term, type_ = _ENTRY.unpack_from(payload)
            last_index = self._terms.last_index
            if index != last_index + 1:
                raise StorageDamaged(f"entry {index} of the log follows entry {last_index}")
            last_term = self._terms.term_or_none(last_index) or 0
            if term < last_term:
                raise StorageDamaged(f"entry {index} has term {term} after {last_term}")
            entries.append(LogRecord(term, index, type_, payload[_ENTRY.size :]))
            self._remember(index, term, len(payload))
        return entries

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise StorageFailed(self._failure)

    def _failed(self, doing: str, error: Exception) -> StorageFailed:
        """The first failure is the last thing this log does: what is on disk is no longer known."""
        self._failure = f"{doing} the log: {error}"
        return StorageFailed(self._failure)


def _checked(key: bytes, payload: bytes) -> bytes:
    return _CRC.pack(zlib.crc32(payload, zlib.crc32(key))) + payload


def _verified(key: bytes, value: bytes, bytes_min: int, what: str) -> bytes:
    payload = value[_CRC.size :]
    if len(payload) < bytes_min or value != _checked(key, payload):
        raise StorageDamaged(f"the checksum of {what} is wrong")
    return payload
