"""The data directory of the RocksDB engine, read and left as it is.

Reading order 5 of the offline tools. Opening a database writes beside it even when it is only read
(an info log, the binding's own options), so it is opened in a folder of links elsewhere.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from metastore.engines.contract import RecoveredLog, SnapshotMeta, StorageDamaged
from metastore.engines.rocksdb.driver import open_driver
from metastore.engines.rocksdb.generations import META, Generations, stored_generation
from metastore.engines.rocksdb.log import RocksLog
from metastore.engines.rocksdb.records import RocksRecords, family_names
from metastore.engines.rocksdb.snapshots import snapshot_name
from metastore.engines.snapshot_format import UNFINISHED, SnapshotHeader, verify
from metastore.engines.state import State
from metastore.node.offline.contents import Held, KeptSnapshot
from metastore.node.offline.reading import Progress, ReadingFiles
from metastore.node.offline.unwritten import UnwrittenDriver, real_names

_BUFFERS_BYTES = 8 << 20
_LINKED_SUFFIXES = (".sst", ".log")
_COPIED = ("CURRENT", "IDENTITY", "rocksdict-config.json")


@contextmanager
def open_rocksdb(path: Path, progress: Progress) -> Iterator["RocksContents"]:
    with _opened(path / "database") as driver:
        yield RocksContents(path, driver, progress)


class RocksContents:
    """Implements Contents."""

    def __init__(self, path: Path, driver: UnwrittenDriver, progress: Progress) -> None:
        self._snapshots = path / "snapshots"
        self._driver = driver
        self._files = ReadingFiles(progress)

    def log(self) -> RecoveredLog:
        return RocksLog(self._driver).recover()

    def stored(self) -> Held:
        return _held(self._driver)

    def snapshots(self) -> Iterator[KeptSnapshot]:
        found = self._snapshots.iterdir() if self._snapshots.is_dir() else ()
        for path in sorted(found):
            if path.name.startswith("snapshot-") and not path.name.endswith(UNFINISHED):
                yield KeptSnapshot(path, partial(self._check, path))

    def _check(self, path: Path) -> SnapshotHeader:
        # A folder holds a database, and what must be known besides as a file without records.
        is_folder = path.is_dir()
        header = verify(path / "frozen" if is_folder else path, self._files)
        if path.name.removesuffix(".state") != snapshot_name(header.meta):
            index = header.meta.index
            raise StorageDamaged(f"{path}: holds the snapshot {index} of term {header.meta.term}")
        if is_folder:
            with _opened(path / "database") as driver:
                for _ in _held(driver).state.keys.records.versions():
                    pass
        return header


def _held(driver: UnwrittenDriver) -> Held:
    number = stored_generation(driver) if META in driver.families() else None
    if number is None:  # a start that came to nothing; the next one begins anew
        return Held(SnapshotMeta(), State(RocksRecords(driver, family_names(1))))
    meta = Generations(driver).meta()
    names = family_names(number)
    records = RocksRecords(driver, names, meta.live_keys)
    return Held(meta.applied, State(records, driver.iterate(names.facts, b"", None)))


@contextmanager
def _opened(database: Path) -> Iterator[UnwrittenDriver]:
    if not database.is_dir():
        raise StorageDamaged(f"{database} is missing")
    with TemporaryDirectory(prefix="metastore-") as folder:
        _link(database, Path(folder))
        shown = (folder, str(database))
        with real_names(shown):
            driver = open_driver(
                Path(folder),
                read_only=True,
                cache_bytes=_BUFFERS_BYTES,
                write_buffer_bytes=_BUFFERS_BYTES,
            )
        try:
            yield UnwrittenDriver(driver, shown)
        finally:
            driver.close()


def _link(database: Path, folder: Path) -> None:
    """What RocksDB only reads is linked, what it may write or replace is copied; its info log and
    the lock are left out."""
    for file in sorted(database.iterdir()):
        if file.suffix in _LINKED_SUFFIXES or file.name.startswith("MANIFEST-"):
            (folder / file.name).symlink_to(file.resolve())
        elif file.name in _COPIED or file.name.startswith("OPTIONS-"):
            shutil.copyfile(file, folder / file.name)
