"""The driver over the module `rocksdb`: python-rocksdb, faust-streaming-rocksdb and their kin.

Reading order 16 of the engines. For whoever has it; `limits` says what it cannot promise. Any call
after its close, an iterator's end too, kills the process: every call is counted here, and none
begins once the driver is closed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition
from typing import Any
from weakref import WeakSet

import rocksdb

from metastore.engines.contract import StorageFailed
from metastore.engines.rocksdb.driver import (
    DEFAULT_FAMILY,
    FailStop,
    Row,
    Write,
    end_iterators,
    files_bytes,
    translated,
)
from metastore.engines.rocksdb.tuning import (
    BACKGROUND_JOBS_MAX,
    BLOCK_BYTES,
    BLOOM_BITS_PER_KEY,
    BYTES_PER_SYNC,
    INFO_LOG_BYTES_MAX,
    INFO_LOGS_KEPT,
    OPEN_FILES_MAX,
    WRITE_BUFFERS_MAX,
)

if not hasattr(rocksdb, "DB"):
    raise ImportError(f"{rocksdb.__file__} is another module than python-rocksdb's")

LIMITS = (
    "damage to the last write in RocksDB's log cannot be told from a write that was cut off",
    "a log of RocksDB's that is missing altogether goes unnoticed",
    "damage in the middle of RocksDB's log ends the log there, without an error",
    "a sync is a small write of its own, since there is no other way to sync",
    "loading a snapshot goes through RocksDB's log",
)
NO_CHECKPOINT = "this module has no checkpoints: no snapshots can be made"
DELETED_AT_ONCE = 10_000
SYNC_KEY = b"synced"  # in the default family


class RocksdbModuleDriver(FailStop):
    """Implements driver.Driver. Raises what rocksdb.DB raises when it cannot open."""

    limits: Sequence[str] = LIMITS

    def __init__(
        self, path: Path, read_only: bool, cache_bytes: int, write_buffer_bytes: int
    ) -> None:
        super().__init__(path)
        if not hasattr(rocksdb, "Checkpoint"):
            self.limits = (*LIMITS, NO_CHECKPOINT)
        self._tables = rocksdb.BlockBasedTableFactory(
            block_cache=rocksdb.LRUCache(cache_bytes),
            cache_index_and_filter_blocks=True,  # else they are outside every limit
            filter_policy=rocksdb.BloomFilterPolicy(BLOOM_BITS_PER_KEY),
            block_size=BLOCK_BYTES,
        )
        self._write_buffer_bytes = write_buffer_bytes
        self._calls = 0
        self._no_calls = Condition()
        self._iterators: WeakSet[Any] = WeakSet()
        options = self._database_options()
        names = []
        if (path / "CURRENT").exists():
            names = [bytes(name) for name in rocksdb.list_column_families(str(path), options)]
        families = {
            name: self._family_options() for name in names if name != DEFAULT_FAMILY.encode()
        }
        self._database = rocksdb.DB(str(path), options, families, read_only=read_only)
        self._handles = {name.decode(): self._database.get_column_family(name) for name in families}

    def get(self, family: str, key: bytes) -> bytes | None:
        with self._call():
            try:
                value: bytes | None = self._database.get((self._handles[family], key))
            except Exception as error:
                raise self._not_read(family, error) from error
        return value

    def iterate(
        self, family: str, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[Row]:
        if end is not None and end <= start:
            return iter(())
        with self._call():
            try:
                # Bounds are kept by hand: the module leaks those that it is given.
                iterator = self._database.iteritems(self._handles[family])
                rows = self._rows([iterator], start, end, reverse)
            except Exception as error:
                raise self._not_read(family, error) from error
            self._iterators.add(rows)
        return rows

    def count(self, family: str, start: bytes, end: bytes | None) -> int:
        return sum(1 for _ in self.iterate(family, start, end))

    def write(self, batch: Sequence[Write], *, wal: bool = True) -> None:
        """Always through the WAL: without it nothing here could make the batch durable."""
        self._refuse_if_failed()
        with self._call():
            try:
                handles, together = self._handles, rocksdb.WriteBatch()
                for family, key, value in batch:
                    if value is None:
                        together.delete((handles[family], key))
                    else:
                        together.put((handles[family], key), value)
                self._database.write(together)
            except Exception as error:
                raise self._failed("writing to", error) from error

    def delete_range(self, family: str, start: bytes, end: bytes) -> None:
        """Key by key, in batches of a bounded size: not all of it or nothing."""
        batch: list[Write] = []
        for key, _ in self.iterate(family, start, end):
            batch.append((family, key, None))
            if len(batch) == DELETED_AT_ONCE:
                self.write(batch)
                batch.clear()
        self.write(batch)

    def sync(self) -> None:
        self._refuse_if_failed()
        with self._call():
            try:
                # Syncing one write syncs what stands before it in the WAL.
                self._database.put(SYNC_KEY, b"", sync=True)
            except Exception as error:
                raise self._failed("syncing", error) from error

    def flush(self, families: Sequence[str]) -> None:
        self.sync()

    def families(self) -> Sequence[str]:
        return sorted(self._handles)

    def create_family(self, name: str) -> None:
        self._refuse_if_failed()
        with self._call():
            try:
                made = self._database.create_column_family(name.encode(), self._family_options())
                self._handles[name] = made
            except Exception as error:
                raise self._failed(f"making the family {name} of", error) from error

    def drop_family(self, name: str) -> None:
        self._refuse_if_failed()
        with self._call():
            try:
                self._database.drop_column_family(self._handles.pop(name))
            except Exception as error:
                raise self._failed(f"dropping the family {name} of", error) from error

    def checkpoint(self, path: Path) -> None:
        self._refuse_if_failed()
        if not hasattr(rocksdb, "Checkpoint"):
            raise StorageFailed(NO_CHECKPOINT)
        with self._call():
            try:
                rocksdb.Checkpoint(self._database).create_checkpoint(str(path))
            except Exception as error:
                raise translated(f"making the checkpoint {path}", error) from error

    def size_bytes(self) -> int:
        return files_bytes(self.path)

    def close(self) -> None:
        with self._no_calls:
            if self._is_closed:
                return
            self._is_closed = True
            failure, self._failure = self._failure, self._failure or f"{self.path} is closed"
            self._no_calls.wait_for(lambda: self._calls == 0)
        end_iterators(list(self._iterators))
        self._handles.clear()
        self._end(self._database.close, failure)

    @contextmanager
    def _call(self) -> Iterator[None]:
        """While one is under way, `close` waits. Raises StorageFailed once it is closed."""
        with self._no_calls:
            if self._is_closed:
                raise StorageFailed(f"{self.path} is closed")
            self._calls += 1
        try:
            yield
        finally:
            with self._no_calls:
                self._calls -= 1
                self._no_calls.notify_all()

    def _rows(
        self, holder: list[Any], start: bytes, end: bytes | None, reverse: bool
    ) -> Iterator[Row]:
        """`holder` has the only reference to the iterator, which must go before the database does;
        the module checks the status at every step."""
        rows = holder.pop()
        try:
            with self._call():
                if not reverse:
                    rows.seek(start)
                elif end is None:
                    rows.seek_to_last()
                else:
                    rows.seek_for_prev(end)  # at `end` itself, if there is such a key
                rows = reversed(rows) if reverse else rows
            while True:
                with self._call():
                    row = next(rows, None)
                if row is None:
                    return
                (_, key), value = row
                if (reverse and key < start) or (end is not None and not reverse and key >= end):
                    return
                if end is None or key < end:
                    yield key, value
        except StorageFailed:
            raise
        except Exception as error:
            raise translated(f"reading {self.path}", error) from error
        finally:
            del rows  # a traceback may hold this frame longer than the database lives

    def _database_options(self) -> Any:
        options = rocksdb.Options()
        self._limit_family(options)
        options.create_if_missing = True
        options.db_write_buffer_size = WRITE_BUFFERS_MAX * self._write_buffer_bytes
        options.max_total_wal_size = 2 * WRITE_BUFFERS_MAX * self._write_buffer_bytes
        options.max_open_files = OPEN_FILES_MAX
        options.max_background_jobs = BACKGROUND_JOBS_MAX
        options.bytes_per_sync = BYTES_PER_SYNC
        options.keep_log_file_num = INFO_LOGS_KEPT
        options.max_log_file_size = INFO_LOG_BYTES_MAX
        options.stats_dump_period_sec = 0
        return options

    def _family_options(self) -> Any:
        """Of its own for every family: the module wants it so."""
        options = rocksdb.ColumnFamilyOptions()
        self._limit_family(options)
        return options

    def _limit_family(self, options: Any) -> None:
        options.table_factory = self._tables
        options.write_buffer_size = self._write_buffer_bytes
        options.max_write_buffer_number = 2
        options.compression = rocksdb.CompressionType.lz4_compression
