"""What the engines' tests share: a file system in memory that forgets, fails and fills up; stores
of every engine; and this folder on sys.path, for `engines_under_test`."""

import errno
import io
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from metastore.engines.files import Files

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)
from engines_under_test import ENGINES, OPEN  # noqa: E402  (needs the line above)

PAGE_BYTES = 512


class PowerLoss(BaseException):
    """Nothing of ours may catch it, as nothing can."""


@dataclass
class Content:
    now: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


class LossyFiles(Files):
    """A file system whose power can be cut before any step. Then only synced bytes and synced names
    are left, or, with `chance`, any mixture of old and new pages of what was not synced."""

    def __init__(self) -> None:
        self.names_now: dict[Path, Content] = {}
        self.names_durable: dict[Path, Content] = {}
        self.open_files: dict[int, Content] = {}
        self.steps = 0
        self.cut_at: int | None = None
        self.failures: dict[str, OSError] = {}
        self.free_bytes: int | None = None

    def fail(self, operation: str, code: int) -> None:
        self.failures[operation] = OSError(code, errno.errorcode[code])

    def power_loss(self, chance: random.Random | None = None) -> None:
        """What a reboot finds; the descriptors are gone."""
        contents = [*self.names_now.values(), *self.names_durable.values()]
        for content in {id(c): c for c in contents}.values():
            content.now = bytearray(_survivors(content, chance))
            content.durable = bytes(content.now)
        self.names_now = self._surviving_names(chance)
        self.names_durable = dict(self.names_now)
        self.open_files.clear()
        self.cut_at = None

    def _surviving_names(self, chance: random.Random | None) -> dict[Path, Content]:
        """With `chance`, each name made or removed since the last sync may be on disk."""
        if chance is None:
            return dict(self.names_durable)
        everything = self.names_durable | self.names_now
        changed = self.names_durable.keys() ^ self.names_now.keys()
        lost = {path for path in sorted(changed) if chance.random() < 0.5}
        return {path: content for path, content in everything.items() if path not in lost}

    def _step(self, operation: str) -> None:
        if self.cut_at is not None and self.steps >= self.cut_at:
            raise PowerLoss
        self.steps += 1
        if operation in self.failures:
            raise self.failures.pop(operation)

    def make_directory(self, directory: Path) -> None: ...

    def names(self, directory: Path) -> list[str]:
        return sorted(path.name for path in self.names_now if path.parent == directory)

    def create(self, path: Path) -> int:
        self._step("create")
        self.names_now[path] = Content()
        return self._open(path)

    def open_append(self, path: Path) -> int:
        return self._open(path)

    def _open(self, path: Path) -> int:
        if path not in self.names_now:
            raise FileNotFoundError(path)
        descriptor = max(self.open_files, default=2) + 1
        self.open_files[descriptor] = self.names_now[path]
        return descriptor

    def open_read(self, path: Path) -> BinaryIO:
        if path not in self.names_now:
            raise FileNotFoundError(path)
        return io.BytesIO(bytes(self.names_now[path].now))

    def write(self, descriptor: int, data: bytes) -> None:
        self._step("write")
        content = self.open_files[descriptor]
        if self.free_bytes is not None and len(data) > self.free_bytes:
            content.now += data[: self.free_bytes]
            self.free_bytes = 0
            raise OSError(errno.ENOSPC, "No space left on device")
        content.now += data

    def sync(self, descriptor: int) -> None:
        content = self.open_files[descriptor]
        try:
            self._step("sync")
        except OSError:
            content.now = bytearray(
                content.durable
            )  # the kernel drops the pages it could not write
            raise
        content.durable = bytes(content.now)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        self._step("truncate")
        del self.open_files[descriptor].now[size_bytes:]

    def close(self, descriptor: int) -> None:
        self.open_files.pop(descriptor, None)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename")
        self.names_now[target] = self.names_now.pop(source)

    def remove(self, path: Path) -> None:
        self._step("remove")
        if self.names_now.pop(path, None) is None:
            raise FileNotFoundError(path)

    def sync_directory(self, directory: Path) -> None:
        self._step("sync_directory")
        others = {p: c for p, c in self.names_durable.items() if p.parent != directory}
        here = {p: c for p, c in self.names_now.items() if p.parent == directory}
        self.names_durable = others | here


def _survivors(content: Content, chance: random.Random | None) -> bytes:
    if chance is None:
        return content.durable
    size = chance.choice((len(content.durable), len(content.now)))
    pages = bytearray(size)
    for start in range(0, size, PAGE_BYTES):
        source = content.now if chance.random() < 0.5 else content.durable
        page = bytes(source[start : min(start + PAGE_BYTES, size)])
        pages[start : start + len(page)] = page
    return bytes(pages)


@pytest.fixture
def disk() -> LossyFiles:
    return LossyFiles()


@pytest.fixture
def power_cuts() -> Callable[[LossyFiles, Callable[[], object]], bool]:
    """Runs something until the power goes; says whether it went."""

    def run(disk: LossyFiles, work: Callable[[], object]) -> bool:
        try:
            work()
        except PowerLoss:
            return True
        return False

    return run


@pytest.fixture(params=ENGINES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OPEN]:
    """Opens a store of the engine under a name; one that was open under it is closed before."""
    opened: dict[str, Any] = {}

    def open_(name: str = "data", engine: str = request.param, **arguments: Any) -> Any:
        if name in opened:
            opened.pop(name).close()
        opened[name] = ENGINES[engine](tmp_path / name, node_id=7, **arguments)
        return opened[name]

    yield open_
    for store in opened.values():
        store.close()


@pytest.fixture
def store(open_store: OPEN) -> Any:
    return open_store()
