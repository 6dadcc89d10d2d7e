"""What a data directory holds, whichever the engine: the log, the snapshots, the state.

Reading order 3 of the offline tools; the two engines follow in memory_contents.py and
rocksdb_contents.py. Protocols and plain values only.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from metastore.engines.contract import RecoveredLog, SnapshotMeta
from metastore.engines.snapshot_format import SnapshotHeader
from metastore.engines.state import State
from metastore.node.offline.reading import Progress


class Held(NamedTuple):
    """A state, and the last entry applied to it."""

    applied: SnapshotMeta
    state: State


class KeptSnapshot(NamedTuple):
    """`check` reads all of it; raises StorageDamaged, StorageFailed, OSError."""

    path: Path
    check: Callable[[], SnapshotHeader]


class Contents(Protocol):
    """Each method reads; raises StorageDamaged, StorageFailed, OSError."""

    def log(self) -> RecoveredLog:
        """As a start would recover it."""
        ...

    def stored(self) -> Held:
        """The state as it is stored, however far the log goes on."""
        ...

    def snapshots(self) -> Iterator[KeptSnapshot]:
        """Oldest first."""
        ...


def open_contents(path: Path, engine: str, progress: Progress) -> AbstractContextManager[Contents]:
    """Of a data directory that nobody uses. Raises what the methods of Contents do, EngineMissing
    for RocksDB without its binding."""
    if engine == "rocksdb":
        from metastore.node.offline.rocksdb_contents import open_rocksdb

        return open_rocksdb(path / "rocksdb", progress)
    from metastore.node.offline.memory_contents import open_memory

    return open_memory(path, progress)
