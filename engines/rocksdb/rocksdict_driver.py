"""The driver over rocksdict, the binding that the engine is made for (the extra `rocksdb`).

Reading order 15 of the engines. tests/test_rocksdb_traps.py has what the binding does that one
would not expect; what is odd here is there, by name.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakSet

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

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

# Nothing in RocksDB's log says how far it was synced.
LIMITS = (
    "damage to the last write in RocksDB's log cannot be told from a write that was cut off",
    "a log of RocksDB's that is missing altogether goes unnoticed",
)


class RocksdictDriver(FailStop):
    """Implements driver.Driver. Raises whatever Rdict raises when it cannot open."""

    limits: Sequence[str] = LIMITS

    def __init__(
        self, path: Path, read_only: bool, cache_bytes: int, write_buffer_bytes: int
    ) -> None:
        super().__init__(path)
        self._options = _options(Cache(cache_bytes), write_buffer_bytes)
        # The order of what happens to families and iterators is the caller's; this only keeps the
        # set of live iterators whole.
        self._lock = Lock()
        self._iterators: WeakSet[Any] = WeakSet()
        names = Rdict.list_cf(str(path)) if (path / "CURRENT").exists() else []
        families = {name: self._options for name in names if name != DEFAULT_FAMILY}
        access = AccessType.read_only(False) if read_only else AccessType.read_write()
        self._database = Rdict(str(path), self._options, families, access)
        self._tables = {name: self._database.get_column_family(name) for name in families}
        self._handles = {name: self._database.get_column_family_handle(name) for name in families}
        self._with_wal = WriteOptions()
        without_wal: Any = WriteOptions()
        without_wal.disable_wal = True  # an attribute, whatever the binding's stubs say
        self._without_wal = without_wal

    def get(self, family: str, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._tables[family].get(key)
        except Exception as error:
            raise self._not_read(family, error) from error
        return value

    def iterate(
        self, family: str, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[Row]:
        if end is not None and end <= start:
            return iter(())
        options = ReadOptions()
        if end is not None:
            options.set_iterate_upper_bound(end)
        try:
            rows = _rows(self._tables[family].iter(options), options, start, reverse, self.path)
        except Exception as error:
            raise self._not_read(family, error) from error
        with self._lock:
            self._iterators.add(rows)
        return rows

    def count(self, family: str, start: bytes, end: bytes | None) -> int:
        if end is not None and end <= start:
            return 0
        options = ReadOptions()
        if end is not None:
            options.set_iterate_upper_bound(end)
        try:
            table = self._tables[family]
            # Three times as fast as `iter`, but it ends at a bad block as if nothing followed.
            counted: Any = deque(
                enumerate(table.keys(from_key=start, read_opt=options), 1), maxlen=1
            )
            count, last = counted[0] if counted else (0, start)
            _check_end(table.iter(options), last)
        except Exception as error:
            raise self._not_read(family, error) from error
        return count

    def write(self, batch: Sequence[Write], *, wal: bool = True) -> None:
        self._refuse_if_failed()
        try:
            handles, together = self._handles, WriteBatch(raw_mode=True)
            for family, key, value in batch:
                if value is None:
                    together.delete(key, handles[family])
                else:
                    together.put(key, value, handles[family])
            # Never with WriteOptions.sync, which holds the GIL through the fdatasync.
            self._database.write(together, self._with_wal if wal else self._without_wal)
        except Exception as error:
            raise self._failed("writing to", error) from error

    def delete_range(self, family: str, start: bytes, end: bytes) -> None:
        self._refuse_if_failed()
        try:
            self._tables[family].delete_range(start, end)
        except Exception as error:
            raise self._failed("writing to", error) from error

    def sync(self) -> None:
        self._refuse_if_failed()
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise self._failed("syncing", error) from error

    def flush(self, families: Sequence[str]) -> None:
        self._refuse_if_failed()
        try:
            for family in families:
                self._tables[family].flush(True)
        except Exception as error:
            raise self._failed("flushing", error) from error

    def families(self) -> Sequence[str]:
        return sorted(self._tables)

    def create_family(self, name: str) -> None:
        self._refuse_if_failed()
        try:
            self._tables[name] = self._database.create_column_family(name, self._options)
            self._handles[name] = self._database.get_column_family_handle(name)
        except Exception as error:
            raise self._failed(f"making the family {name} of", error) from error

    def drop_family(self, name: str) -> None:
        self._refuse_if_failed()
        try:
            # The files go once nobody holds the family any more.
            del self._tables[name], self._handles[name]
            self._database.drop_column_family(name)
        except Exception as error:
            raise self._failed(f"dropping the family {name} of", error) from error

    def checkpoint(self, path: Path) -> None:
        self._refuse_if_failed()
        try:
            Checkpoint(self._database).create_checkpoint(str(path))
        except Exception as error:
            raise translated(f"making the checkpoint {path}", error) from error

    def size_bytes(self) -> int:
        return files_bytes(self.path)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        failure, self._failure = self._failure, self._failure or f"{self.path} is closed"
        # A living iterator or handle would keep the lock of the database in this process.
        with self._lock:
            rows = list(self._iterators)
        end_iterators(rows)
        self._tables.clear()
        self._handles.clear()
        self._end(self._database.close, failure)


def _check_end(iterator: Any, last: bytes) -> None:
    """Raises the error that stands behind the row `last`, if it only seems to be the last one."""
    iterator.seek(last)
    if iterator.valid():
        iterator.next()
    iterator.status()


def _rows(iterator: Any, _options: Any, start: bytes, reverse: bool, path: Path) -> Iterator[Row]:
    """The lower bound is kept by hand: the binding's own sets the upper one. The options have to
    live as long as the iterator: the upper bound that it compares with is in them."""
    try:
        if reverse:
            iterator.seek_to_last()
        else:
            iterator.seek(start)
        while iterator.valid():
            key = iterator.key()
            if reverse and key < start:
                break
            yield key, iterator.value()
            if reverse:
                iterator.prev()
            else:
                iterator.next()
        iterator.status()  # not valid any more may also mean that a block is bad
    except Exception as error:
        raise translated(f"reading {path}", error) from error
    finally:
        del iterator  # a traceback may hold this frame longer than the database lives


def _options(cache: Any, write_buffer_bytes: int) -> Any:
    """The same for every family, sharing one cache: memory is bounded however many there are."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    # The default mode ends at damage in the middle of the WAL as if it were its end.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_write_buffer_size(write_buffer_bytes)
    options.set_max_write_buffer_number(2)
    options.set_db_write_buffer_size(WRITE_BUFFERS_MAX * write_buffer_bytes)
    options.set_max_total_wal_size(2 * WRITE_BUFFERS_MAX * write_buffer_bytes)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_max_background_jobs(BACKGROUND_JOBS_MAX)
    options.set_max_file_opening_threads(1)
    options.set_level_compaction_dynamic_level_bytes(True)
    options.set_bytes_per_sync(BYTES_PER_SYNC)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_bottommost_compression_type(DBCompressionType.zstd())
    options.set_block_based_table_factory(_table_options(cache))
    options.set_keep_log_file_num(INFO_LOGS_KEPT)
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options


def _table_options(cache: Any) -> Any:
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_cache_index_and_filter_blocks(True)  # else they are outside every limit
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    table.set_block_size(BLOCK_BYTES)
    table.set_format_version(5)
    return table
