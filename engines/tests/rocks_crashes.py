"""Cuts the power before any step a RocksDB store takes, and keeps what the disk holds then."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from metastore.engines.files import Files
from metastore.engines.rocksdb.driver import Driver, Row, Write, open_driver
from metastore.engines.rocksdb.store import RocksStore


class PowerLoss(BaseException):
    """Nothing of ours may catch it, as nothing can."""


class Power:
    """Counts steps. At `cut_at` the directory is copied as it is, and nothing works any more."""

    def __init__(self, directory: Path, copy: Path, cut_at: int | None = None) -> None:
        self.directory, self.copy, self.cut_at = directory, copy, cut_at
        self.steps: list[str] = []
        self.is_cut = False

    def step(self, name: str) -> None:
        if not self.is_cut and len(self.steps) == self.cut_at:
            shutil.copytree(self.directory, self.copy)
            self.is_cut = True
        if self.is_cut:
            raise PowerLoss(name)
        self.steps.append(name)


class CutDriver:
    """A driver under a power that may be cut. `before_checkpoint` runs where others may act."""

    def __init__(self, inner: Driver, power: Power) -> None:
        self.inner = inner
        self.power = power
        self.limits = inner.limits
        self.iterated: list[str] = []
        self.before_checkpoint: Callable[[], object] = lambda: None
        self.get = inner.get
        self.count = inner.count
        self.families = inner.families
        self.size_bytes = inner.size_bytes
        self.close = inner.close

    def iterate(
        self, family: str, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[Row]:
        self.iterated.append(family)
        return self.inner.iterate(family, start, end, reverse=reverse)

    def write(self, batch: Sequence[Write], *, wal: bool = True) -> None:
        self.power.step("write" if wal else "load")
        self.inner.write(batch, wal=wal)

    def delete_range(self, family: str, start: bytes, end: bytes) -> None:
        self.power.step("delete_range")
        self.inner.delete_range(family, start, end)

    def sync(self) -> None:
        self.power.step("sync")
        self.inner.sync()

    def flush(self, families: Sequence[str]) -> None:
        self.power.step("flush")
        self.inner.flush(families)

    def create_family(self, name: str) -> None:
        self.power.step("create_family")
        self.inner.create_family(name)

    def drop_family(self, name: str) -> None:
        self.power.step("drop_family")
        self.inner.drop_family(name)

    def checkpoint(self, path: Path) -> None:
        self.before_checkpoint()
        self.power.step("checkpoint")
        self.inner.checkpoint(path)


class CutFiles(Files):
    """The real files under the same power."""

    def __init__(self, power: Power) -> None:
        self.power = power

    def create(self, path: Path) -> int:
        self.power.step("create")
        return super().create(path)

    def write(self, descriptor: int, data: bytes) -> None:
        self.power.step("write_file")
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self.power.step("sync_file")
        super().sync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self.power.step("rename")
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self.power.step("remove")
        super().remove(path)

    def sync_directory(self, directory: Path) -> None:
        self.power.step("sync_directory")
        super().sync_directory(directory)


def open_cut_store(power: Power) -> tuple[RocksStore, CutDriver]:
    power.directory.mkdir(parents=True, exist_ok=True)
    driver = CutDriver(open_driver(power.directory / "database", cache_bytes=1 << 20), power)
    return RocksStore(power.directory, node_id=7, driver=driver, files=CutFiles(power)), driver


def every_cut(
    tmp_path: Path, prepare: Callable[[Any], object], work: Callable[[Any], object]
) -> Iterator[Path]:
    """Cuts the power before each step of `work` on a store that `prepare` was done with; gives the
    directories that are left, and last the one where the power stayed."""
    cut_at = 0
    while True:
        at = tmp_path / str(cut_at)
        power = Power(at / "data", at / "left")
        store, driver = open_cut_store(power)
        try:
            prepare(store)
            power.cut_at = len(power.steps) + cut_at
            with suppress(PowerLoss):
                work(store)
            is_cut = power.is_cut
        finally:
            power.cut_at, power.is_cut = None, False
            driver.close()
        yield power.copy if is_cut else power.directory
        if not is_cut:
            return
        cut_at += 1
