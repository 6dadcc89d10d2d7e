"""The data directory of the memory engine, read and left as it is.

Reading order 4 of the offline tools. The engine's own recovery and loading do the reading.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from metastore.engines.contract import RecoveredLog, StorageDamaged
from metastore.engines.memory.loading import empty_state, load_state
from metastore.engines.memory.recovery import read_segments
from metastore.engines.memory.snapshot_files import find_snapshots, snapshot_name
from metastore.engines.snapshot_format import SnapshotHeader, verify
from metastore.node.offline.contents import Held, KeptSnapshot
from metastore.node.offline.reading import Progress, ReadingFiles, WouldWrite


@contextmanager
def open_memory(path: Path, progress: Progress) -> Iterator["MemoryContents"]:
    yield MemoryContents(path, progress)


class MemoryContents:
    """Implements Contents. The state is that of the newest snapshot: the rest is in the log."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._log = path / "wal"
        self._snapshots = path / "snapshots"
        self._files = ReadingFiles(progress)

    def log(self) -> RecoveredLog:
        try:
            return read_segments(self._log, self._files).log
        except WouldWrite:
            return RecoveredLog()

    def stored(self) -> Held:
        found = self._found()
        if not found:
            empty = empty_state()
            return Held(empty.meta, empty.state)
        loaded = load_state(found[-1], self._files)
        return Held(loaded.meta, loaded.state)

    def snapshots(self) -> Iterator[KeptSnapshot]:
        for path in self._found():
            yield KeptSnapshot(path, partial(_check, path, self._files))

    def _found(self) -> list[Path]:
        return find_snapshots(self._snapshots, self._files) if self._snapshots.is_dir() else []


def _check(path: Path, files: ReadingFiles) -> SnapshotHeader:
    header = verify(path, files)
    if path.name != snapshot_name(header.meta):
        index = header.meta.index
        raise StorageDamaged(f"{path}: holds the snapshot {index} of term {header.meta.term}")
    return header
