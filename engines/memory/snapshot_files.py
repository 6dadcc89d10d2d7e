"""The snapshot files of the memory engine: which there are, which stay, and how one comes in.

Reading order 13 of the engines. A file has its name only when it is whole and durable; what is in
it is snapshot_format.py's. Knows no store; one directory, several files.
"""

import re
from pathlib import Path

from metastore.engines.contract import SnapshotMeta
from metastore.engines.files import Files
from metastore.engines.snapshot_format import UNFINISHED

SNAPSHOTS_KEPT = 2  # the newest, and the one before it that a peer may still be reading

_NAME = re.compile(r"snapshot-([0-9a-f]{16})-([0-9a-f]{16})\.state")


def snapshot_name(meta: SnapshotMeta) -> str:
    """Names in the order of their indexes."""
    return f"snapshot-{meta.index:016x}-{meta.term:016x}.state"


def find_snapshots(directory: Path, files: Files) -> list[Path]:
    """Whole snapshot files, oldest first."""
    return [directory / name for name in files.names(directory) if _NAME.fullmatch(name)]


def remove_unfinished_snapshots(directory: Path, files: Files) -> None:
    """What a crash left behind; only while nothing is being written."""
    for name in files.names(directory):
        if name.endswith(UNFINISHED) and _NAME.match(name):
            files.remove(directory / name)


def remove_old_snapshots(directory: Path, files: Files) -> None:
    """Keeps the newest SNAPSHOTS_KEPT. The newest has to be durable before."""
    for path in find_snapshots(directory, files)[:-SNAPSHOTS_KEPT]:
        files.remove(path)


def make_durable(files: Files, received: Path) -> None:
    """Whoever received a file may not have synced it. Raises OSError."""
    descriptor = files.open_append(received)
    try:
        files.sync(descriptor)
    finally:
        files.close(descriptor)


def adopt_snapshot(directory: Path, files: Files, meta: SnapshotMeta, received: Path) -> None:
    """Gives a verified and durable file of the same file system its name here, durably, in one
    step. Raises OSError."""
    files.rename(received, directory / snapshot_name(meta))
    files.sync_directory(directory)
