"""Whose data directory this is: the lock, the identity file and the count of starts.

Used by process.py before any other file of the directory is touched. A directory serves one node of
one cluster with one engine, and one process at a time. Does not read the log or the data.
"""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from metastore.node.identity_errors import DataDirectoryForeign as DataDirectoryForeign
from metastore.node.identity_errors import DataDirectoryLocked as DataDirectoryLocked
from metastore.node.identity_errors import DataDirectoryUnusable as DataDirectoryUnusable
from metastore.node.identity_errors import DataDirectoryWiped as DataDirectoryWiped
from metastore.node.identity_errors import LostData as LostData
from metastore.node.identity_errors import NotYetJoined as NotYetJoined
from metastore.node.identity_errors import RemovedFromCluster as RemovedFromCluster

IDENTITY_FILE = "identity"
LOCK_FILE = "lock"
DIRECTORY_ID_BITS = 64
FORMAT_VERSION = 2
_NOTHING = {LOCK_FILE, "lost+found"}  # in a directory that counts as empty
_FIELD_TYPES = {"engine": str, "has_log": bool, "joined": bool}  # all others: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is; `incarnation` counts its starts, the first being 1. `has_log`: a start got
    as far as a durable log, so a directory without one has forgotten votes and entries.
    `directory_id` was drawn when the directory was made, so that another one under the same node_id
    is told from it. `joined`: made to join a cluster, so it never founds one."""

    cluster_id: int
    node_id: int
    engine: str
    incarnation: int = 0
    has_log: bool = False
    directory_id: int = 0  # 0: not drawn yet, which no file holds
    joined: bool = False


class DataDirectory:
    """A directory held by this process until `close` (or the process's end)."""

    def __init__(self, path: Path, lock_file: int, identity: Identity) -> None:
        self.path = path
        self.identity = identity
        self._lock_file = lock_file

    def check_log(self, log: Path) -> None:
        """Raises DataDirectoryWiped if the folder `log` is gone or empty but must not be."""
        if self.identity.has_log and not (log.is_dir() and any(log.iterdir())):
            raise DataDirectoryWiped(
                f"data directory {self.path} has lost its log ({log.name} is missing or empty); "
                "its votes are forgotten: restore the log, or run "
                f"`metastore member replace {self.identity.node_id}`, then start it with an empty "
                "data_dir and --join"
            )

    def note_log(self) -> None:
        """Remembers, durably, that there is a log from now on. Raises DataDirectoryUnusable."""
        if not self.identity.has_log:
            self.identity = replace(self.identity, has_log=True)
            try:
                _write(self.path, self.identity)
            except OSError as error:
                raise _unusable(self.path, error) from None

    def close(self) -> None:
        """Gives the lock back; calling it again does nothing."""
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1


def open_data_directory(
    path: Path, cluster_id: int, node_id: int, engine: str, *, joins: bool = False
) -> DataDirectory:
    """Creates or opens the directory, locks it, checks whose it is and counts the start, durably.
    `joins`: the node was told where to find the cluster that it belongs to.

    Raises DataDirectoryLocked, DataDirectoryForeign, DataDirectoryUnusable.
    """
    try:
        _create(path)
        lock_file = _lock(path)
        try:
            identity = _start(path, Identity(cluster_id, node_id, engine, joined=joins))
        except BaseException:
            os.close(lock_file)
            raise
    except OSError as error:
        raise _unusable(path, error) from None
    return DataDirectory(path, lock_file, identity)


@contextmanager
def new_data_directory(path: Path, identity: Identity) -> Iterator[None]:
    """For whoever fills a directory before the node's first start: made, or found empty, and held.
    It gets its identity last, with a directory_id of its own, when the block ended well; after a
    failure it is empty again, and until then no node starts in it. Raises as open_data_directory
    does."""
    try:
        _create(path)
        # Before the lock: what is no empty directory is left as it is.
        _check_nobodys(path)
        lock_file = _lock(path)
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        yield
        _write(path, replace(identity, directory_id=_draw_directory_id()))
    except BaseException:
        _empty(path)
        raise
    finally:
        os.close(lock_file)


def _check_nobodys(path: Path) -> None:
    if (path / IDENTITY_FILE).exists():
        found = read_identity(path / IDENTITY_FILE)
        raise DataDirectoryForeign(
            f"data directory {path} belongs to node {found.node_id} of cluster "
            f"{found.cluster_id}; use an empty directory"
        )
    strange = sorted(entry.name for entry in path.iterdir() if entry.name not in _NOTHING)
    if strange:
        raise DataDirectoryForeign(
            f"data directory {path} is not empty: it holds {strange[0]!r}; use an empty directory"
        )


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and entry.name not in _NOTHING:
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.is_file():
            entry.unlink(missing_ok=True)


def _unusable(path: Path, error: OSError) -> DataDirectoryUnusable:
    return DataDirectoryUnusable(f"data directory {path}: {error.strerror or error}")


def _create(path: Path) -> None:
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync_directory(made.parent)


def _lock(path: Path) -> int:
    # The lock is the kernel's: it ends with the process, so a crash leaves nothing to clean up.
    descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise DataDirectoryLocked(
            f"data directory {path} is in use by process {holder}; stop that node, or give this "
            "one a data_dir of its own"
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _start(path: Path, wanted: Identity) -> Identity:
    file = path / IDENTITY_FILE
    if file.exists():
        found = read_identity(file)
        _check_same(path, found, wanted)
        _check_origin(path, found, joins=wanted.joined)
    else:
        _check_empty(path)
        found = replace(wanted, directory_id=_draw_directory_id())
    # Synced before the first message leaves: peers refuse an incarnation older than one they met.
    started = replace(found, incarnation=found.incarnation + 1)
    _write(path, started)
    return started


def read_identity(file: Path) -> Identity:
    """Raises DataDirectoryForeign for a file that is none of this version, OSError."""
    try:
        record: dict[str, Any] = json.loads(file.read_bytes())
        format_version = record.pop("format")
        if format_version != FORMAT_VERSION:
            raise DataDirectoryForeign(
                f"{file} has format {format_version!r}, this version reads format "
                f"{FORMAT_VERSION}; start the version that wrote it"
            )
        identity = Identity(**record)
        shaped = all(
            type(value) is _FIELD_TYPES.get(name, int) for name, value in asdict(identity).items()
        )
        if not shaped:
            raise ValueError("a field of the wrong type")
        if not 0 < identity.directory_id < 1 << DIRECTORY_ID_BITS:
            raise ValueError("a directory_id that none can have")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataDirectoryForeign(
            f"{file} is not an identity file ({error}); restore it from a backup of this node, or "
            "run `metastore member replace` for this node, then start it with an empty data_dir "
            "and --join"
        ) from None
    return identity


def _check_same(path: Path, found: Identity, wanted: Identity) -> None:
    for name, remedy in (
        ("cluster_id", "set the cluster_id it was made for, or use another data_dir"),
        ("node_id", "set the node_id it was made for, or use another data_dir"),
        ("engine", "set the engine it was made with; engines do not read each other's files"),
    ):
        there, here = getattr(found, name), getattr(wanted, name)
        if there != here:
            raise DataDirectoryForeign(
                f"data directory {path} belongs to {name} {there}, not {here}; {remedy}"
            )


def _check_origin(path: Path, found: Identity, *, joins: bool) -> None:
    """Until there is a log, the start that made the directory is only being repeated: a founder's
    does not become another's, nor the other way round."""
    if found.has_log or found.joined == joins:
        return
    if found.joined:
        raise NotYetJoined(path)
    raise DataDirectoryForeign(
        f"data directory {path} was made to found a cluster, not to join one; use an empty "
        "directory, or start it without --join"
    )


def _draw_directory_id() -> int:
    return 1 + secrets.randbelow((1 << DIRECTORY_ID_BITS) - 1)


def _check_empty(path: Path) -> None:
    """Files without an identity are someone else's, or ours with the identity lost."""
    ours = {LOCK_FILE, IDENTITY_FILE + ".new", "lost+found"}
    strange = sorted(entry.name for entry in path.iterdir() if entry.name not in ours)
    if strange:
        raise DataDirectoryForeign(
            f"data directory {path} has no identity file but holds {strange[0]!r}; use an empty "
            "directory, or restore the identity file from a backup of this node"
        )


def _write(path: Path, identity: Identity) -> None:
    """Aside, synced, renamed, directory synced: after a crash there is the old file or the new."""
    aside = path / (IDENTITY_FILE + ".new")
    text = json.dumps({"format": FORMAT_VERSION, **asdict(identity)}, indent=2) + "\n"
    with aside.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path / IDENTITY_FILE)
    _sync_directory(path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
