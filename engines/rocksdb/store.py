"""The RocksDB engine's Store: the state machine over records in a database, one batch per apply.

Reading order 21 of the engines. Everything that applying some entries changed goes into the
database in one atomic write, the applied index with it: a crash leaves all of it or none, so no
entry is applied twice and none is left out. That write is not synced; the log's own sync, of the
same write-ahead log, comes before anybody relies on it. Only what a clock or a session needs is in
memory.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock

from metastore.engines.background import BackgroundWork
from metastore.engines.contract import (
    Applied,
    Event,
    LogEntry,
    RaftNode,
    SnapshotMeta,
    StorageDamaged,
    StorageFailed,
)
from metastore.engines.files import Files
from metastore.engines.hash_replies import hash_reply
from metastore.engines.rocksdb.driver import (
    CACHE_BYTES,
    WRITE_BUFFER_BYTES,
    Driver,
    Write,
    closing_if_it_fails,
    open_driver,
)
from metastore.engines.rocksdb.encoding import StoreMeta
from metastore.engines.rocksdb.generations import Generations, stored_generation
from metastore.engines.rocksdb.loading import Prepared, load_snapshot, open_state
from metastore.engines.rocksdb.log import RocksLog
from metastore.engines.rocksdb.records import RocksRecords, family_names
from metastore.engines.rocksdb.snapshots import Frozen, Snapshots
from metastore.engines.rocksdb.walks import Walks
from metastore.engines.snapshot_format import SnapshotHeader, WritingStopped
from metastore.engines.state import State
from metastore.engines.state_store import StateStore
from metastore.transport.schema import Code, encode_results

_DATABASE, _SNAPSHOTS = "database", "snapshots"  # in the store's directory
_CHECKPOINT_BUFFERS_BYTES = 8 << 20  # of a database that is open for one pass over it
_WRITER, _HASHER = "snapshot-writer", "hasher"


class RocksStore(StateStore):
    """Implements contract.Store. Opening costs what the leases and the sessions cost, however much
    data there is; raises StorageDamaged, StorageFailed, EngineMissing. `raft_log` is in the same
    database: nothing may use it once the store is closed. `driver`: one that is open already, for
    tests; it is closed with the store all the same."""

    def __init__(
        self,
        directory: Path,
        *,
        node_id: int,
        raft: RaftNode | None = None,
        driver: Driver | None = None,
        driver_name: str | None = None,
        files: Files | None = None,
        cache_bytes: int = CACHE_BYTES,
        write_buffer_bytes: int = WRITE_BUFFER_BYTES,
    ) -> None:
        self._directory = Path(directory)
        self._files = files if files is not None else Files()
        self._driver_name = driver_name
        self._work = BackgroundWork()
        self._walks = Walks()
        self._loading = Lock()  # held by whoever prepares a received snapshot
        self._prepared: Prepared | None = None
        self._installs = 0  # begun
        self._failure: str | None = None
        if driver is None:
            driver = self._open_driver(cache_bytes, write_buffer_bytes)
        self._driver = driver
        self.limits = driver.limits
        self._snapshots = Snapshots(
            self._directory / _SNAPSHOTS, self._files, self._open_checkpoint, self._work.is_closing
        )
        with closing_if_it_fails(driver, directory):
            self._generations = Generations(driver)
            stored = self._generations.meta()
            self._records, state = open_state(driver, self._generations.names, stored.live_keys)
            super().__init__(node_id, raft, state)
            self._applied = stored.applied
            self._snapshots.start(stored.applied.index)
            self.raft_log = RocksLog(driver)

    def apply(self, entries: Sequence[LogEntry]) -> Sequence[Applied]:
        """Raises StorageFailed on an entry that is not the next one, before anything is applied:
        applying it, or applying one twice, would make this replica another than the rest. After
        any other failure the state in memory is ahead of the database; nothing is done any more."""
        self._refuse_if_failed()
        for before, entry in enumerate(entries, self._applied.index):
            self._check_next(entry.index, before)
        if not entries:
            return ()
        state = self._state
        # What is physically gone would be missing from a checkpoint that is being made.
        state.keys.compaction_pauses = self._work.count(_WRITER)
        try:
            applied = [Applied(entry.index, state.apply(entry)) for entry in entries]
            last = entries[-1]
            self._write(SnapshotMeta(last.index, last.term, self._applied.configuration))
        except Exception as error:
            raise self._failed(error) from error
        return applied

    def skip(self, index: int, term: int, configuration: bytes) -> None:
        """Raises StorageFailed as `apply` does. An empty configuration changes none."""
        self._refuse_if_failed()
        self._check_next(index, self._applied.index)
        try:
            self._write(SnapshotMeta(index, term, configuration or self._applied.configuration))
        except StorageFailed as error:
            raise self._failed(error) from error

    def read(self, request: bytes) -> bytes:
        self._refuse_if_failed()
        return super().read(request)

    def hash_at(self, revision: int, done: Callable[[bytes], None]) -> None:
        keys = self._state.keys
        versions = self._walks.start(self._records.versions())
        known = (keys.compacted_revision, keys.revision)
        work = partial(hash_reply, versions, revision, *known, self._work.is_closing)
        self._work.start(_HASHER, partial(_or_refusal, work), done)

    def history(self, first: int, last: int) -> Iterator[Event]:
        return self._walks.start(super().history(first, last))

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        return self._walks.start(self._records.scan())

    def compact_step(self, changes_max: int) -> bool:
        self._refuse_if_failed()
        keys = self._state.keys
        keys.compaction_pauses = self._work.count(_WRITER)
        try:
            has_more = keys.compact_step(changes_max)
            self._write(self._applied)
        except Exception as error:
            raise self._failed(error) from error
        return has_more

    # Snapshots

    def save_snapshot(self, done: Callable[[Exception | None], None]) -> SnapshotMeta:
        """A checkpoint: costs the caller nothing that grows with the data. A failed one leaves the
        store as usable as before."""
        if self._work.count(_WRITER):
            raise ValueError("a snapshot is already being written")
        keys, names = self._state.keys, self._generations.names
        header = SnapshotHeader(self._applied, keys.revision, keys.compacted_revision)
        facts = self._walks.start(self._driver.iterate(names.facts, b"", None))
        save = partial(self._save, Frozen(header, facts), self._installs)
        self._work.start(_WRITER, save, done)
        return self._applied

    def latest_snapshot(self) -> SnapshotMeta | None:
        return self._snapshots.latest

    def export_snapshot(self, meta: SnapshotMeta) -> Path:
        """Written at the first call."""
        return self._snapshots.export(meta)

    def prepare_snapshot(self, meta: SnapshotMeta, received: Path) -> None:
        """Reads the file once. What was prepared before and not installed is dropped."""
        with self._loading:
            before, self._prepared = self._prepared, None
            if before is not None:
                self._generations.drop(before.generation)
            generation = self._generations.new()
            try:
                self._snapshots.make_durable(received)
                self._prepared = load_snapshot(
                    self._driver, generation, meta, received, self._files, self._work.is_closing
                )
            except BaseException as error:
                with suppress(StorageFailed):
                    self._generations.drop(generation)
                if isinstance(error, OSError | WritingStopped):
                    raise StorageFailed(f"preparing {received}: {error}") from error
                raise

    def install_snapshot(self, meta: SnapshotMeta, received: Path) -> None:
        """Prepares what is not the prepared one."""
        self._refuse_if_failed()
        if meta.index < self._applied.index:
            raise ValueError(f"snapshot {meta.index} is behind the state at {self._applied.index}")
        prepared = self._prepared
        if prepared is None or (prepared.meta, prepared.received) != (meta, received):
            self.prepare_snapshot(meta, received)
            prepared = self._prepared
        if prepared is None:
            raise StorageFailed(f"{received} was prepared and replaced by another one at once")
        self._installs += 1
        replaced = self._generations.current
        try:
            self._snapshots.adopt(meta, received)
            self._flip(prepared)
            self._generations.drop(replaced)
            self._snapshots.installed(meta)
        except (OSError, StorageFailed) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Ends everything that reads the database or writes beside it, then the database."""
        self._work.close()
        with self._loading:
            self._snapshots.close()
        self._walks.close()
        self._driver.close()

    def _open_driver(self, cache_bytes: int, write_buffer_bytes: int) -> Driver:
        try:
            self._files.make_directory(self._directory)
        except OSError as error:
            raise StorageFailed(f"making {self._directory}: {error}") from error
        return open_driver(
            self._directory / _DATABASE,
            name=self._driver_name,
            cache_bytes=cache_bytes,
            write_buffer_bytes=write_buffer_bytes,
        )

    def _open_checkpoint(self, path: Path) -> tuple[RocksRecords, Callable[[], None]]:
        size = _CHECKPOINT_BUFFERS_BYTES
        driver = open_driver(
            path, name=self._driver_name, read_only=True, cache_bytes=size, write_buffer_bytes=size
        )
        number = stored_generation(driver)
        if number is None:
            driver.close()
            raise StorageDamaged(f"{path} is no checkpoint of a store")
        return RocksRecords(driver, family_names(number)), driver.close

    def _flip(self, prepared: Prepared) -> None:
        """The one step of an install; a crash before it leaves the old state, after it the new."""
        writes = _fact_writes(family_names(prepared.generation).facts, prepared.state)
        meta = StoreMeta(prepared.meta, len(prepared.records))
        self._driver.write([*writes, *self._generations.flip(prepared.generation, meta)])
        self._driver.sync()
        self._generations.current = prepared.generation
        self._records = prepared.records
        self._prepared = None
        self._become(prepared.meta, prepared.state)

    def _write(self, applied: SnapshotMeta) -> None:
        """The batch: everything that changed since the last one, and how far that is."""
        writes = self._records.take_writes()
        writes += _fact_writes(self._generations.names.facts, self._state)
        writes.append(self._generations.applied(StoreMeta(applied, len(self._records))))
        self._driver.write(writes)
        self._applied = applied

    def _save(self, frozen: Frozen, installs: int) -> Exception | None:
        try:
            self._snapshots.save(self._driver, frozen, lambda: self._installs != installs)
        except Exception as error:
            return error
        return None

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise StorageFailed(self._failure)

    def _failed(self, error: Exception) -> StorageFailed | StorageDamaged:
        """The state in memory may be ahead of the database from here on: nothing more is done."""
        if isinstance(error, StorageDamaged):
            failure: StorageFailed | StorageDamaged = error
        else:
            failure = StorageFailed(f"{self._directory}: {type(error).__name__}: {error}")
        self._failure = str(failure)
        return failure


def _or_refusal(work: Callable[[], bytes]) -> bytes:
    """The database may turn out to be damaged, or be closed, under a reader."""
    try:
        return work()
    except (StorageDamaged, StorageFailed) as error:
        return encode_results(((int(Code.FAILED_PRECONDITION), str(error)),))


def _fact_writes(family: str, state: State) -> list[Write]:
    return [(family, name, value) for name, value in state.take_changed_facts().items()]
