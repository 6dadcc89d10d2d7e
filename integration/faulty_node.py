"""Runs a node on a disk that fails, forgets, or is cut off at a chosen step: for tests only.

    python faulty_node.py [--synced FILE] [--steps FILE] [--change NAME] ... [FAULT ...] -- ARGS

A fault is ACTION@STEP:NUMBER, e.g. `kill-before@sync:3`: at the third step of that name (`any`:
whatever its name), counted from when the node runs, or from the first received snapshot with
`--from-install`. The node's own code is unchanged; it only gets other Files and another Driver,
unless `--change` names something of node_changes.py.
"""

import errno
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from node_changes import CHANGES

from metastore.engines.contract import RaftLog, StorageFailed, Store
from metastore.engines.files import Files
from metastore.engines.memory.store import MemoryStore
from metastore.engines.memory.wal import WriteAheadLog
from metastore.engines.rocksdb.driver import Driver, Row, Write, open_driver
from metastore.engines.rocksdb.store import RocksStore
from metastore.node import process
from metastore.node.identity import DataDirectory
from metastore.node.loop import NodeLoop
from metastore.node.settings import Settings
from metastore.transport.incoming import IncomingFile

SLOW_S = 0.02
UNFINISHED = ".unfinished"

T = TypeVar("T")


class Faults:
    """What happens at which step. `lie`: from there on no sync does anything, and none says so."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.synced: Path | None = None
        self.steps: Path | None = None
        self.changes: list[str] = []
        self.starts_at_install = False
        self.is_armed = False
        self.lies = False
        self._planned: list[tuple[str, str, int]] = []
        self._counts: Counter[str] = Counter()
        rest = iter(arguments)
        for argument in rest:
            if argument == "--synced":
                self.synced = Path(next(rest))
            elif argument == "--steps":
                self.steps = Path(next(rest))
            elif argument == "--change":
                self.changes.append(next(rest))
            elif argument == "--from-install":
                self.starts_at_install = True
            else:
                action, _, place = argument.partition("@")
                name, _, number = place.partition(":")
                self._planned.append((action, name, int(number or 0)))

    def step(self, name: str, work: Callable[[], T]) -> T:
        if not self.is_armed:
            return work()
        self._counts[name] += 1
        self._counts["any"] += 1
        due = [
            action
            for action, where, number in self._planned
            if where in (name, "any") and number in (0, self._counts[where])
        ]
        if self.steps is not None:
            _add_line(self.steps, name)
        self._before(due, name)
        result = work()
        if "kill-after" in due:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def _before(self, due: list[str], name: str) -> None:
        for action in due:
            if action == "kill-before":
                os.kill(os.getpid(), signal.SIGKILL)
            elif action == "pause":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif action == "slow":
                time.sleep(SLOW_S)  # a slow disk is nothing but time
            elif action == "lie":
                self.lies = True
            elif action in ("eio", "enospc"):
                code = errno.EIO if action == "eio" else errno.ENOSPC
                raise OSError(code, os.strerror(code), name)

    def note_synced(self, path: Path, size_bytes: int) -> None:
        if self.synced is not None and not self.lies:
            _add_line(self.synced, f"{size_bytes} {path.name.removesuffix(UNFINISHED)}")


def _add_line(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


class FaultyFiles(Files):
    """The real files, each step of which may be the last."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def create(self, path: Path) -> int:
        return self._faults.step("create", lambda: Files.create(self, path))

    def write(self, descriptor: int, data: bytes) -> None:
        self._faults.step("write", lambda: Files.write(self, descriptor, data))

    def sync(self, descriptor: int) -> None:
        self._faults.step("sync", lambda: self._sync(descriptor))

    def _sync(self, descriptor: int) -> None:
        size_bytes = os.fstat(descriptor).st_size
        Files.sync(self, descriptor)
        self._faults.note_synced(Path(os.readlink(f"/proc/self/fd/{descriptor}")), size_bytes)

    def rename(self, source: Path, target: Path) -> None:
        self._faults.step("rename", lambda: Files.rename(self, source, target))

    def remove(self, path: Path) -> None:
        self._faults.step("remove", lambda: Files.remove(self, path))

    def sync_directory(self, directory: Path) -> None:
        self._faults.step("sync_directory", lambda: Files.sync_directory(self, directory))


class FaultyDriver:
    """A driver, each step of which may be the last. A failure is a StorageFailed, as any driver's,
    and poisons it."""

    def __init__(self, inner: Driver, path: Path, faults: Faults) -> None:
        self._inner = inner
        self._path = path
        self._faults = faults
        self._failure = ""
        self.limits = inner.limits
        self.get = inner.get
        self.families = inner.families
        self.size_bytes = inner.size_bytes
        self.close = inner.close

    def iterate(
        self, family: str, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[Row]:
        return self._inner.iterate(family, start, end, reverse=reverse)

    def write(self, batch: Sequence[Write], *, wal: bool = True) -> None:
        name = "write" if wal else "load"
        self._step(name, lambda: self._inner.write(batch, wal=wal))

    def delete_range(self, family: str, start: bytes, end: bytes) -> None:
        self._step("delete_range", lambda: self._inner.delete_range(family, start, end))

    def sync(self) -> None:
        self._step("sync", self._sync)

    def _sync(self) -> None:
        # Taken before: what another thread writes meanwhile is not promised.
        sizes = [(path, path.stat().st_size) for path in self._path.glob("*.log")]
        self._inner.sync()
        for path, size_bytes in sizes:
            self._faults.note_synced(path, size_bytes)

    def flush(self, families: Sequence[str]) -> None:
        self._step("flush", lambda: self._inner.flush(families))

    def create_family(self, name: str) -> None:
        self._step("create_family", lambda: self._inner.create_family(name))

    def drop_family(self, name: str) -> None:
        self._step("drop_family", lambda: self._inner.drop_family(name))

    def checkpoint(self, path: Path) -> None:
        self._step("checkpoint", lambda: self._inner.checkpoint(path))

    def _step(self, name: str, work: Callable[[], None]) -> None:
        if self._failure:
            raise StorageFailed(self._failure)
        try:
            self._faults.step(name, work)
        except OSError as error:
            self._failure = f"{name} of {self._path}: {error}"
            raise StorageFailed(self._failure) from error


def opener(faults: Faults) -> Callable[[Settings, DataDirectory], tuple[Store, RaftLog]]:
    """In the place of what process.py opens engines with."""

    def open_engine(settings: Settings, directory: DataDirectory) -> tuple[Store, RaftLog]:
        files, node_id = FaultyFiles(faults), settings.node_id
        if settings.engine == "memory":
            log = directory.path / "wal"
            directory.check_log(log)
            snapshots = directory.path / "snapshots"
            memory = MemoryStore(snapshots, node_id=node_id, files=files)
            return memory, WriteAheadLog(log, files=files)
        path = directory.path / "rocksdb"
        directory.check_log(path)
        path.mkdir(exist_ok=True)
        database = path / "database"
        driver = FaultyDriver(open_driver(database, name=settings.rocksdb_driver), database, faults)
        rocks = RocksStore(path, node_id=node_id, driver=driver, files=files)
        return rocks, rocks.raft_log

    return open_engine


def count_from_run(faults: Faults) -> None:
    run = NodeLoop.run

    def armed(loop: NodeLoop) -> Any:
        faults.is_armed = True
        return run(loop)

    NodeLoop.run = armed  # type: ignore[method-assign]


def count_chunks(faults: Faults) -> None:
    """A received snapshot passes no Files until it is whole."""
    add, finish = IncomingFile.add, IncomingFile.finish_or_none

    def armed_add(file: IncomingFile, data: bytes) -> None:
        faults.is_armed = True
        faults.step("chunk", lambda: add(file, data))

    def counted_finish(file: IncomingFile) -> Path | None:
        return faults.step("received", lambda: finish(file))

    IncomingFile.add = armed_add  # type: ignore[method-assign]
    IncomingFile.finish_or_none = counted_finish  # type: ignore[method-assign]


def main(arguments: Sequence[str]) -> int:
    at = arguments.index("--")
    faults = Faults(arguments[:at])
    if not faults.starts_at_install:
        count_from_run(faults)
    count_chunks(faults)
    process._open_engine = opener(faults)
    for name in faults.changes:
        CHANGES[name]()
    return process.main(arguments[at + 1 :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
