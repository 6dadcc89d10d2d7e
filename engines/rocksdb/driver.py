"""What the RocksDB engine asks of a binding to RocksDB, and how one is found and opened.

Reading order 14 of the engines. There is more than one binding, with different manners; the engine
sees this protocol only. Whatever a binding raises leaves here as one of three exceptions.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import sleep
from typing import Protocol, TypeAlias

from metastore.engines.contract import StorageDamaged, StorageFailed
from metastore.engines.rocksdb.wal_check import find_lost_record_or_none

Row: TypeAlias = tuple[bytes, bytes]
Write: TypeAlias = tuple[str, bytes, bytes | None]
"""(family, key, value; None: the key goes)"""

BINDINGS = ("rocksdict", "rocksdb")
CACHE_BYTES = 64 << 20  # blocks, their indexes and their filters, of all families together
WRITE_BUFFER_BYTES = 16 << 20  # of one family, until it goes to a file
ITERATOR_WAIT_S = 0.001
DEFAULT_FAMILY = "default"  # RocksDB has it always; nothing of ours is in it


class EngineMissing(Exception):
    """No binding to RocksDB is installed, or not the one that was asked for. Says what to do."""


class Driver(Protocol):
    """One open RocksDB database. Any thread may call anything but `close`, which is the last call
    of all. The first write, sync or flush that fails is the last one: every later one raises."""

    limits: Sequence[str]
    """What this binding cannot promise, a sentence each; for the status of the node."""

    def get(self, family: str, key: bytes) -> bytes | None:
        """Raises StorageDamaged for a bad block, StorageFailed else."""
        ...

    def iterate(
        self, family: str, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[Row]:
        """[start, end) as of this call, None: no end. Never ends early: raises StorageDamaged."""
        ...

    def count(self, family: str, start: bytes, end: bytes | None) -> int:
        """The rows that `iterate` would give; faster, and as sure to notice a bad block."""
        ...

    def write(self, batch: Sequence[Write], *, wal: bool = True) -> None:
        """All of it or nothing, over all families; durable after `sync`, in the order of the
        writes; without the WAL after `flush`. Raises StorageFailed."""
        ...

    def delete_range(self, family: str, start: bytes, end: bytes) -> None:
        """Every key in [start, end); as durable as `write`."""
        ...

    def sync(self) -> None:
        """What was written with the WAL before this call survives a loss of power."""
        ...

    def flush(self, families: Sequence[str]) -> None:
        """Everything in these families, written with or without the WAL, becomes durable."""
        ...

    def families(self) -> Sequence[str]:
        """All but RocksDB's own default family, sorted."""
        ...

    def create_family(self, name: str) -> None: ...

    def drop_family(self, name: str) -> None:
        """With everything in it."""
        ...

    def checkpoint(self, path: Path) -> None:
        """A database of its own at `path` (which must not exist): everything as of the call,
        durable and cheap, since the files are hard links."""
        ...

    def size_bytes(self) -> int:
        """Of the files, WAL included."""
        ...

    def close(self) -> None:
        """Ends what iterators there are; may be repeated. Not a sync, though some bindings do."""
        ...


def open_driver(
    path: Path,
    *,
    name: str | None = None,
    read_only: bool = False,
    cache_bytes: int = CACHE_BYTES,
    write_buffer_bytes: int = WRITE_BUFFER_BYTES,
) -> Driver:
    """Opens the database at `path` with all its families; makes it unless it is only read. `name`
    is one of BINDINGS, None: the first that is installed. Raises EngineMissing, StorageDamaged,
    StorageFailed (another process has it open, for one)."""
    chosen = name if name is not None else _installed_binding()
    opener = _opener(chosen)
    path = Path(path)
    if path.is_dir():
        _refuse_what_lost_its_name(path)
        _refuse_what_seems_to_end_early(path)
    try:
        return opener(path, read_only, cache_bytes, write_buffer_bytes)
    except (StorageDamaged, StorageFailed):
        raise
    except Exception as error:
        raise translated(f"opening {path}", error) from error


def _installed_binding() -> str:
    for name in BINDINGS:
        if find_spec(name) is not None:
            return name
    raise EngineMissing("no binding to RocksDB here: pip install metastore-raft[rocksdb]")


def _opener(name: str) -> Callable[[Path, bool, int, int], Driver]:
    """Imported only here: the bindings are an extra, and loading one takes a while."""
    try:
        if name == "rocksdict":
            from metastore.engines.rocksdb.rocksdict_driver import RocksdictDriver

            return RocksdictDriver
        if name == "rocksdb":
            from metastore.engines.rocksdb.rocksdb_module_driver import RocksdbModuleDriver

            return RocksdbModuleDriver
    except ImportError as error:
        raise EngineMissing(f"{error}: pip install metastore-raft[rocksdb]") from error
    raise EngineMissing(f"{name} is no binding to RocksDB known here: {', '.join(BINDINGS)}")


def _refuse_what_lost_its_name(path: Path) -> None:
    """CURRENT names the database's files. Without it RocksDB would quietly begin an empty database
    among the files of the old one, and delete those. Raises StorageDamaged."""
    if not (path / "CURRENT").exists():
        left = sorted(file.name for file in path.iterdir() if file.suffix in (".sst", ".log"))
        if left:
            raise StorageDamaged(f"{path}: CURRENT is missing, but {left[0]} is there")


def _refuse_what_seems_to_end_early(path: Path) -> None:
    """Raises StorageDamaged, StorageFailed."""
    for wal in sorted(path.glob("*.log")):
        try:
            lost = find_lost_record_or_none(wal)
        except OSError as error:
            raise StorageFailed(f"reading {wal}: {error}") from error
        if lost is not None:
            raise StorageDamaged(f"{wal} is damaged at byte {lost[0]}: a record is at {lost[1]}")


def translated(doing: str, error: Exception) -> StorageDamaged | StorageFailed:
    """RocksDB's own words say what it is; the bindings' exception types do not."""
    said = f"{doing}: {error}"
    return StorageDamaged(said) if "Corruption" in str(error) else StorageFailed(said)


class FailStop:
    """For drivers: the first failure to write is remembered and repeated. What is on disk is no
    longer known then, and a second try could succeed over a hole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_closed = False
        self._failure: str | None = None

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise StorageFailed(self._failure)

    def _failed(self, doing: str, error: Exception) -> StorageDamaged | StorageFailed:
        failure = translated(f"{doing} {self.path}", error)
        self._failure = self._failure or str(failure)
        return failure

    def _end(self, close: Callable[[], None], failure: str | None) -> None:
        """The last of `close`. `failure`: the one before it, if any."""
        try:
            close()
        except Exception as error:
            # Closing writes what is still in the WAL's buffer. On a full disk that fails again, and
            # would hide why the node stops; nothing was promised of what is lost.
            if failure is None:
                raise translated(f"closing {self.path}", error) from error

    def _not_read(self, what: str, error: Exception) -> StorageDamaged | StorageFailed:
        if self._is_closed:
            return StorageFailed(f"{self.path} is closed")
        return translated(f"reading {what} of {self.path}", error)


def end_iterators(iterators: Sequence[Generator[Row, None, None]]) -> None:
    """Before a database is closed. One that another thread is inside of is waited for: it comes out
    at its next row or with an error."""
    for iterator in iterators:
        while True:
            try:
                iterator.close()
                break
            except ValueError:  # "generator already executing"
                sleep(ITERATOR_WAIT_S)


def files_bytes(path: Path) -> int:
    """Of the files right in the directory. One that goes meanwhile counts nothing."""
    total = 0
    for file in path.iterdir():
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total


@contextmanager
def closing_if_it_fails(driver: Driver, directory: Path) -> Iterator[None]:
    """For what is opened on top of a driver in `directory`: the driver is closed should that fail.
    Raises StorageFailed in place of an OSError."""
    try:
        yield
    except BaseException as error:
        driver.close()
        if isinstance(error, OSError):
            raise StorageFailed(f"opening the store in {directory}: {error}") from error
        raise
