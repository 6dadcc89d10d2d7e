"""The snapshots of a RocksDB store in their directory: how they are made, written out and removed.

Reading order 20 of the engines. A snapshot is either a folder, with a checkpoint of the database
(hard links, so it is made in no time and shares its space) and what must be known besides, or a
file of snapshot_format.py: one received, or one written from such a folder when somebody asked for
it. Whatever has its name is whole and durable; everything else is removed at the next start.

The database goes on while its checkpoint is made, so a checkpoint may hold more than the snapshot.
Of the versions it is enough to leave out the younger ones; everything else (the facts) is written
into the folder as it was at the moment of the snapshot.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from metastore.engines.contract import SnapshotMeta, StorageDamaged, StorageFailed
from metastore.engines.files import Files
from metastore.engines.rocksdb.driver import Driver, Row
from metastore.engines.rocksdb.records import RocksRecords
from metastore.engines.rocksdb.walks import Walk
from metastore.engines.snapshot_format import (
    UNFINISHED,
    SnapshotHeader,
    SnapshotReader,
    WritingStopped,
    write_snapshot,
)

FILES_KEPT = 2  # the newest, and the one before it that a peer may still be reading

_NAME = re.compile(r"snapshot-([0-9a-f]{16})-([0-9a-f]{16})(\.state)?")
_FILE = ".state"
_DATABASE, _FROZEN = "database", "frozen"  # in a snapshot's folder


class Frozen(NamedTuple):
    """What a snapshot is of. `facts` are those of its moment, still to be read."""

    header: SnapshotHeader
    facts: Iterator[Row]


def snapshot_name(meta: SnapshotMeta) -> str:
    return f"snapshot-{meta.index:016x}-{meta.term:016x}"


class Snapshots:
    """`open_records` opens a checkpoint and gives the records in it and how to close it again. Any
    thread."""

    def __init__(
        self,
        directory: Path,
        files: Files,
        open_records: Callable[[Path], tuple[RocksRecords, Callable[[], None]]],
        stopped: Callable[[], bool],
    ) -> None:
        self._directory = directory
        self._files = files
        self._open_records = open_records
        self._stopped = stopped
        self._lock = Lock()  # names that come and go
        self._exporting = Lock()  # one at a time; held as long as a checkpoint is open
        self._latest: SnapshotMeta | None = None

    @property
    def latest(self) -> SnapshotMeta | None:
        return self._latest

    def start(self, applied: int) -> None:
        """Removes what a crash left: unfinished ones, and those ahead of the state (a received one
        that was not installed, one that the database itself forgot with the power). Raises
        OSError, StorageDamaged."""
        self._files.make_directory(self._directory)
        for path in list(self._directory.iterdir()):
            index = _index(path)
            if path.name.endswith(UNFINISHED) or (index is not None and index > applied):
                self._remove(path)
        if found := self._found():
            with SnapshotReader(_described_in(found[-1]), self._files) as reader:
                self._latest = reader.header.meta
            if not found[-1].name.startswith(snapshot_name(self._latest)):
                raise StorageDamaged(f"{found[-1]}: holds {self._latest}")

    def save(self, driver: Driver, frozen: Frozen, outdated: Callable[[], bool]) -> None:
        """Makes the folder aside, syncs and renames it. `outdated`: the database is about other
        data by now. Raises OSError, StorageFailed, WritingStopped; then nothing is left behind."""
        path = self._directory / snapshot_name(frozen.header.meta)
        aside = path.with_name(path.name + UNFINISHED)
        try:
            if not path.is_dir():
                self._fill(aside, driver, frozen, outdated)
                self._files.rename(aside, path)
                self._files.sync_directory(self._directory)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        self._became_durable(frozen.header.meta)

    def export(self, meta: SnapshotMeta) -> Path:
        """The file of a snapshot, written now if it was not before. Raises FileNotFoundError,
        StorageFailed, StorageDamaged."""
        folder = self._directory / snapshot_name(meta)
        path = folder.with_name(folder.name + _FILE)
        with self._exporting:
            if path.is_file():
                return path
            if not folder.is_dir():
                raise FileNotFoundError(f"no snapshot {meta.index} of term {meta.term}: {path}")
            try:
                self._write_file(folder, path)
            except (OSError, WritingStopped) as error:
                raise StorageFailed(f"writing the snapshot {path}: {error}") from error
        self.remove_old()
        return path

    def make_durable(self, received: Path) -> None:
        """The bytes of a received file, which may take a while. Raises OSError."""
        descriptor = self._files.open_append(received)
        try:
            self._files.sync(descriptor)
        finally:
            self._files.close(descriptor)

    def adopt(self, meta: SnapshotMeta, received: Path) -> None:
        """Moves a verified, durable file of the same file system here. Raises OSError."""
        self._files.rename(received, self._directory / (snapshot_name(meta) + _FILE))
        self._files.sync_directory(self._directory)

    def installed(self, meta: SnapshotMeta) -> None:
        """The adopted file is that of the state now. Raises OSError."""
        self._became_durable(meta)

    def remove_old(self) -> None:
        """Keeps the newest snapshot, in either form, and the newest files. Raises OSError."""
        # A checkpoint that is being read stays; its reader comes by here when it is done.
        if not self._exporting.acquire(blocking=False):
            return
        try:
            with self._lock:
                found = self._found()
                kept = [path for path in found if path.suffix == _FILE][-FILES_KEPT:]
                kept += [path for path in found if _index(path) == _index(found[-1])]
                for path in found:
                    if path not in kept:
                        self._remove(path)
        finally:
            self._exporting.release()

    def close(self) -> None:
        """Once `stopped` says so: waits for an export to notice."""
        with self._exporting:
            pass

    def _fill(
        self, aside: Path, driver: Driver, frozen: Frozen, outdated: Callable[[], bool]
    ) -> None:
        self._files.make_directory(aside)
        described = aside / _FROZEN
        write_snapshot(described, self._files, frozen.header, (), (), frozen.facts, self._stopped)
        driver.checkpoint(aside / _DATABASE)
        self._files.sync_directory(aside)
        # What was applied is durable in the database, too, before anybody forgets its log.
        driver.sync()
        if self._stopped() or outdated():
            raise WritingStopped(f"{aside.name} was overtaken by an install or a close")

    def _write_file(self, folder: Path, path: Path) -> None:
        records, close = self._open_records(folder / _DATABASE)
        try:
            with SnapshotReader(folder / _FROZEN, self._files) as reader:
                for part in (reader.versions(), reader.order()):
                    for _ in part:
                        raise StorageDamaged(f"{folder}: records in its facts")
                header = reader.header
                order = records.shared_revisions(header.compacted_revision, header.revision)
                with closing(Walk(records.versions())) as versions, closing(Walk(order)) as shared:
                    write_snapshot(
                        path, self._files, header, versions, shared, reader.facts(), self._stopped
                    )
        finally:
            close()

    def _became_durable(self, meta: SnapshotMeta) -> None:
        with self._lock:
            if self._latest is None or self._latest.index < meta.index:
                self._latest = meta
        self.remove_old()

    def _found(self) -> list[Path]:
        """Whole snapshots in either form, oldest first; of one index the folder first."""
        return sorted(path for path in self._directory.iterdir() if _NAME.fullmatch(path.name))

    def _remove(self, path: Path) -> None:
        if path.is_dir():
            # Away from its name first, so that half a folder is never taken for a whole one.
            aside = path
            if not path.name.endswith(UNFINISHED):
                aside = path.with_name(path.name + UNFINISHED)
                self._files.rename(path, aside)
            shutil.rmtree(aside)
        else:
            with suppress(FileNotFoundError):
                self._files.remove(path)


def _index(path: Path) -> int | None:
    found = _NAME.fullmatch(path.name)
    return int(found[1], 16) if found else None


def _described_in(path: Path) -> Path:
    return path if path.suffix == _FILE else path / _FROZEN
