"""A data directory as somebody else's: whose it is, and that nobody uses it while we look.

Reading order 1 of the offline tools. Only looks: creates, repairs and removes nothing. Holds the
lock shared, so that no node starts meanwhile, and two tools may look at once; `alone` for a tool
that changes something.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metastore.node.identity import (
    IDENTITY_FILE,
    LOCK_FILE,
    DataDirectoryForeign,
    DataDirectoryLocked,
    DataDirectoryUnusable,
    Identity,
    read_identity,
)

LOG_FOLDERS = {"memory": "wal", "rocksdb": "rocksdb"}


@contextmanager
def held(path: Path, *, alone: bool = False) -> Iterator[None]:
    """Raises DataDirectoryUnusable for what is no directory of ours, DataDirectoryLocked while a
    node runs in it."""
    if not path.is_dir():
        raise DataDirectoryUnusable(f"{path} is no directory")
    descriptor = _open_lock_or_none(path, create=alone)
    if descriptor is None:  # no process ever started in it; what is there is looked at all the same
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise DataDirectoryLocked(
                f"{path} is in use by process {holder}, and what changes cannot be looked at; "
                "stop that node first (for a copy of a running node's data there is `metastore "
                "backup`)"
            ) from None
        yield
    finally:
        os.close(descriptor)


def identity_of(path: Path) -> Identity:
    """Raises DataDirectoryForeign for a directory without a sound identity or with files of
    another engine than it says."""
    file = path / IDENTITY_FILE
    if not file.is_file():
        raise DataDirectoryForeign(f"{path} has no file {IDENTITY_FILE!r}: not a data directory")
    identity = read_identity(file)
    if identity.engine not in LOG_FOLDERS:
        raise DataDirectoryForeign(f"{file}: unknown engine {identity.engine!r}")
    for engine, folder in LOG_FOLDERS.items():
        if engine != identity.engine and (path / folder).exists():
            raise DataDirectoryForeign(
                f"{file} says engine {identity.engine}, but {path / folder} is of engine {engine}"
            )
    log = path / LOG_FOLDERS[identity.engine]
    if identity.has_log and not (log.is_dir() and any(log.iterdir())):
        raise DataDirectoryForeign(f"{file} promises a log, but {log} is missing or empty")
    return identity


def _open_lock_or_none(path: Path, *, create: bool) -> int | None:
    flags = (os.O_CREAT if create else 0) | os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(path / LOCK_FILE, flags, 0o644)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataDirectoryUnusable(f"{path}: {error.strerror or error}") from None
