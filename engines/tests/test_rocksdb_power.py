"""A RocksDB store and its log after a kill at any step, and after a loss of power that takes what
was not synced (A3, A13). The twins leave a sync out, or write the applied index apart from the
data, and are seen.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rocks_crashes import CutDriver, CutFiles, Power, PowerLoss
from rocksdb_files import newest_wal
from test_rocksdb_crashes import counted, counter_of, entry

from metastore.engines.rocksdb.driver import Write, open_driver
from metastore.engines.rocksdb.store import RocksStore

LAST = 9


class ForgettingDriver(CutDriver):
    """Knows how much of the WAL the last sync covered; the rest is gone with the power."""

    synced_bytes = 0

    def sync(self) -> None:
        super().sync()
        self.synced_bytes = newest_wal(self.power.directory / "database").stat().st_size


class LazyDriver(ForgettingDriver):
    """Twin: says that it synced."""

    def sync(self) -> None:
        self.power.step("sync")


class TornDriver(ForgettingDriver):
    """Twin: what a batch has for `meta`, the applied index with it, is a write of its own."""

    def write(self, batch: Sequence[Write], *, wal: bool = True) -> None:
        data = [write for write in batch if write[0] != "meta"]
        if data and len(data) < len(batch):
            super().write(data, wal=wal)
        super().write([write for write in batch if write[0] == "meta"] or data, wal=wal)


def append_sync_apply(store: Any, acknowledged: list[int]) -> None:
    """As a node of its own does: what is acknowledged is in the log and synced."""
    for index in range(1, LAST + 1):
        store.raft_log.append([entry(index)], (2, 7, index), None)
        store.raft_log.sync()
        acknowledged.append(index)
        store.apply([entry(index)])


def problem_after_cut(at: Path, kind: type[ForgettingDriver], cut_at: int) -> tuple[str, bool]:
    """What is wrong after power went before that step, if anything; whether it went at all."""
    power = Power(at / "data", at / "left")
    power.directory.mkdir(parents=True)
    driver = kind(open_driver(power.directory / "database", cache_bytes=1 << 20), power)
    store = RocksStore(power.directory, node_id=7, driver=driver, files=CutFiles(power))
    store.raft_log.recover()
    acknowledged: list[int] = []
    driver.synced_bytes = newest_wal(power.directory / "database").stat().st_size
    power.cut_at = len(power.steps) + cut_at
    with suppress(PowerLoss):
        append_sync_apply(store, acknowledged)
    is_cut, power.is_cut, power.cut_at = power.is_cut, False, None
    if not is_cut:
        shutil.copytree(power.directory, power.copy)
    store.close()
    killed = shutil.copytree(power.copy, at / "killed")  # the kernel still has what was written
    wal = newest_wal(power.copy / "database")
    wal.write_bytes(wal.read_bytes()[: driver.synced_bytes])
    return problem(killed, acknowledged) or problem(power.copy, acknowledged), is_cut


def problem(left: Path, acknowledged: list[int]) -> str:
    store = RocksStore(left, node_id=7)
    try:
        logged = [found.index for found in store.raft_log.recover().entries]
        if logged[: len(acknowledged)] != acknowledged:
            return f"acknowledged {acknowledged}, in the log {logged}"
        store.apply([entry(index) for index in range(store.last_applied + 1, LAST + 1)])
        found = counter_of(store)
        return "" if found == counted(LAST) else f"counted {found} for {counted(LAST)}"
    finally:
        store.close()


def problems(tmp_path: Path, kind: type[ForgettingDriver]) -> set[str]:
    found, cut_at, is_cut = set(), 0, True
    while is_cut:
        text, is_cut = problem_after_cut(tmp_path / str(cut_at), kind, cut_at)
        found.add(text)
        cut_at += 1
    return found - {""}


def test_nothing_acknowledged_is_lost_and_nothing_is_done_twice(tmp_path: Path) -> None:
    assert not problems(tmp_path, ForgettingDriver)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        (LazyDriver, lambda text: text.startswith("acknowledged")),
        (TornDriver, lambda text: text.startswith("counted")),
    ],
)
def test_a_sync_left_out_or_an_index_written_apart_is_seen(
    tmp_path: Path, kind: type[ForgettingDriver], seen: Callable[[str], bool]
) -> None:
    assert any(map(seen, problems(tmp_path, kind)))
