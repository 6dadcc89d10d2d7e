"""A lost quorum: one stopped node that still has its disk becomes the only member of its cluster.

Reading order 10 of the offline tools. Everything is worked out on a copy. The one step that changes
the directory is the one by which a node takes a leader's snapshot: a crash leaves the old state or
the new one.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import NamedTuple

from metastore.engines.contract import Store
from metastore.engines.files import Files
from metastore.engines.snapshot_format import UNFINISHED, SnapshotReader, write_snapshot
from metastore.node.identity import LOCK_FILE, Identity
from metastore.node.members.records import Membership
from metastore.node.offline.directory import held, identity_of
from metastore.node.offline.members import membership_after
from metastore.node.offline.reading import Progress, ReadingFiles
from metastore.node.offline.recovery_plan import Plan, Refused, make_plan
from metastore.node.offline.restore import opened_engine
from metastore.node.raft.model import NO_LIMIT, NO_NODE, Entry, EntryType
from metastore.node.recovery import recover

KEPT = "before-recovery-"  # then the index from which the log goes on
_WORK = "recovery" + UNFINISHED
_RECOVERED = "recovered.state"
_LINKED = (".sst", ".state")  # never written again once they have their name


class Done(NamedTuple):
    kept: Path  # the directory as it was
    revision: int
    key_count: int


class Recovery:
    """Of a directory that is held; `plan` before `carry_out`."""

    def __init__(self, path: Path, plan: Plan, progress: Progress) -> None:
        self.plan = plan
        self._path = path
        self._progress = progress

    def carry_out(self) -> Done:
        """Raises StorageDamaged, StorageFailed, OSError; the directory is as it was then."""
        kept = self._path / f"{KEPT}{self.plan.after.index}"
        work, file = self._path / _WORK, self._path / _RECOVERED
        self._remove_leftovers(kept)
        _copy(self._path, kept.with_name(kept.name + UNFINISHED))
        kept.with_name(kept.name + UNFINISHED).rename(kept)
        try:
            _copy(self._path, work)
            self._work_out(work, file)
            return Done(kept, *self._install(file))
        finally:
            shutil.rmtree(work, ignore_errors=True)
            file.unlink(missing_ok=True)

    def _remove_leftovers(self, kept: Path) -> None:
        """Of a recovery that was interrupted before it changed anything."""
        for left in (kept, self._path / _WORK, *self._path.glob(f"{KEPT}*{UNFINISHED}")):
            if left.exists():
                shutil.rmtree(left)
        for file in (_RECOVERED, _RECOVERED + UNFINISHED):
            (self._path / file).unlink(missing_ok=True)

    def _work_out(self, work: Path, file: Path) -> None:
        """Applies everything to the copy, and writes the state that comes of it."""
        with opened_engine(work, self.plan.identity) as (store, log):
            found = recover(log, store, None)
            mirror, first = found.mirror, found.last_applied + 1
            entries = mirror.entries(first, mirror.last_index() + 1, NO_LIMIT)
            _apply(store, entries, found.membership)
            saved: Queue[Exception | None] = Queue()
            meta = store.save_snapshot(saved.put)
            if (error := saved.get()) is not None:
                raise error
            self._write(store.export_snapshot(meta), file)

    def _write(self, exported: Path, file: Path) -> None:
        with SnapshotReader(exported, ReadingFiles(self._progress)) as reader:
            header = replace(reader.header, meta=self.plan.after)
            write_snapshot(file, Files(), header, reader.versions(), reader.order(), reader.facts())

    def _install(self, file: Path) -> tuple[int, int]:
        meta = self.plan.after
        with opened_engine(self._path, self.plan.identity) as (store, log):
            log.recover()
            store.prepare_snapshot(meta, file)
            store.install_snapshot(meta, file)  # from here on it is the new one
            log.append((), (meta.term, NO_NODE, meta.index), meta)
            log.sync()
            return store.revision, store.key_count


@contextmanager
def open_recovery(
    path: Path, node_id: int, progress: Progress, *, is_forced: bool = False
) -> Iterator[Recovery]:
    """Holds the directory, so that no node starts in it meanwhile. Raises Refused,
    DataDirectoryLocked, DataDirectoryUnusable, DataDirectoryForeign, EngineMissing, StorageDamaged,
    StorageFailed, OSError."""
    with held(path, alone=True):
        identity = identity_of(path)
        _check_node(identity, node_id)
        yield Recovery(path, make_plan(path, identity, progress, is_forced=is_forced), progress)


def _check_node(identity: Identity, node_id: int) -> None:
    if identity.node_id != node_id:
        raise Refused(f"this is the directory of node {identity.node_id}, not of node {node_id}")


def _apply(store: Store, entries: Sequence[Entry], membership: Membership) -> None:
    normal: list[Entry] = []
    for entry in entries:
        if entry.type is EntryType.NORMAL:
            normal.append(entry)
            continue
        store.apply(normal)
        normal = []
        membership = membership_after(membership, entry)
        store.skip(entry.index, entry.term, membership.encode())
    store.apply(normal)


def _copy(path: Path, target: Path) -> None:
    """All that a node has in its directory, durably; what is never written again is linked."""
    target.mkdir()
    for child in sorted(path.iterdir()):
        if child.name in (LOCK_FILE, "lost+found") or child.name.startswith((KEPT, "recover")):
            continue
        if child.is_dir():
            shutil.copytree(child, target / child.name, copy_function=_link_or_copy)
        else:
            shutil.copy2(child, target / child.name)
    for place in [target, *target.rglob("*")]:
        _sync(place)
    _sync(path)


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith(_LINKED):
        with suppress(OSError):  # a file system without links
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
