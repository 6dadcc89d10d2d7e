"""Snapshot files of the memory engine for tests: two to tell apart, and stores that open them."""

import queue
from pathlib import Path
from typing import Any

from metastore.engines.contract import SnapshotMeta
from metastore.engines.files import Files
from metastore.engines.memory.loading import empty_state
from metastore.engines.memory.snapshot_files import snapshot_name
from metastore.engines.memory.store import MemoryStore
from metastore.engines.snapshot_format import SnapshotHeader, write_snapshot

DIRECTORY = Path("/state")
RECEIVED = Path("/received/snapshot")
OLD, NEW = SnapshotMeta(5, 1, b"members"), SnapshotMeta(9, 2, b"others")
REVISION = 77
Answers = queue.Queue[Any]


def write(
    disk: Files, meta: SnapshotMeta, count: int, path: Path | None = None, **changes: Any
) -> Path:
    """A snapshot of so many keys."""
    path = path or DIRECTORY / snapshot_name(meta)
    state = empty_state().state
    state.keys.revision = REVISION
    parts = {
        "versions": [[(b"k%05d" % place, b"v", 2, 3, 1, 0)] for place in range(count)],
        "order": (),
        "facts": state.all_facts(),
    }
    write_snapshot(path, disk, SnapshotHeader(meta, REVISION, 0), **(parts | changes))
    return path


def opened(disk: Files, directory: Path = DIRECTORY) -> MemoryStore:
    return MemoryStore(directory, node_id=1, files=disk)
