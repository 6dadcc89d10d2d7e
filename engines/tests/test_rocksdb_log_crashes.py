"""The Raft log in RocksDB after crashes and damage, on real files (A7, A8)."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rocksdb_files import binding_params, copied, damage, newest_wal, opened

from metastore.engines.contract import LogRecord, RecoveredLog, StorageDamaged
from metastore.engines.rocksdb.log import RocksLog


def entries(first: int, last: int) -> list[LogRecord]:
    return [LogRecord(1, index, 0, b"value %d" % index) for index in range(first, last + 1)]


def reopened(path: Path, name: str = "rocksdict") -> RecoveredLog:
    with opened(path, name) as driver:
        return RocksLog(driver).recover()


@pytest.fixture(params=binding_params())
def name(request: pytest.FixtureRequest) -> Any:
    return request.param


def synced_one_by_one(path: Path, name: str, count: int) -> tuple[Path, list[int]]:
    """A copy of the database as a crash leaves it, and where each entry ends in its WAL."""
    with opened(path / "data", name) as driver:
        log = RocksLog(driver)
        log.recover()
        ends = []
        for index in range(1, count + 1):
            log.append(entries(index, index), (1, 1, 0), None)
            ends.append(newest_wal(path / "data").stat().st_size)
            log.sync()
        return copied(path / "data", path / "crashed"), ends


def test_a_wal_cut_anywhere_loses_what_it_cut_and_nothing_else(tmp_path: Path, name: str) -> None:
    """A7: exactly the entries that end before the cut, never a hole."""
    crashed, ends = synced_one_by_one(tmp_path, name, 6)
    whole = newest_wal(crashed).read_bytes()
    # Every byte of the last record, and a stride of places before it.
    for cut in [*range(ends[0], ends[-2], 23), *range(ends[-2], len(whole) + 1, 5)]:
        copy = copied(crashed, tmp_path / "cut")
        newest_wal(copy).write_bytes(whole[:cut])
        survivors = sum(end <= cut for end in ends)
        assert list(reopened(copy, name).entries) == entries(1, survivors), cut


def test_zeros_after_the_last_record_are_its_end(tmp_path: Path, name: str) -> None:
    crashed, _ = synced_one_by_one(tmp_path, name, 4)
    wal = newest_wal(crashed)
    wal.write_bytes(wal.read_bytes() + bytes(100_000))
    assert list(reopened(crashed, name).entries) == entries(1, 4)


def test_damage_before_the_last_record_refuses_the_start(tmp_path: Path) -> None:
    """A8: whichever byte of a record it is, header or contents."""
    crashed, ends = synced_one_by_one(tmp_path, "rocksdict", 6)
    wal_name = newest_wal(crashed).name
    header = range(ends[1], ends[1] + 8)
    for place in [*header, *range(ends[0], ends[-2], 29)]:
        copy = copied(crashed, tmp_path / "damaged")
        damage(copy / wal_name, place)
        with pytest.raises(StorageDamaged):
            reopened(copy)


def test_a_record_of_zeros_before_the_last_one_refuses_the_start(tmp_path: Path) -> None:
    """A8, and what RocksDB itself takes for the end of the log."""
    crashed, ends = synced_one_by_one(tmp_path, "rocksdict", 6)
    damage(newest_wal(crashed), ends[2], bytes(ends[3] - ends[2]))
    with pytest.raises(StorageDamaged):
        reopened(crashed)


WRITER = """
import os
import sys
from pathlib import Path
from metastore.engines.contract import LogRecord
from metastore.engines.rocksdb.driver import open_driver
from metastore.engines.rocksdb.log import RocksLog

driver = open_driver(Path(sys.argv[1]), name=sys.argv[2])
log = RocksLog(driver)
log.recover()
for index in range(1, int(sys.argv[3]) + 1):
    log.append([LogRecord(1, index, 0, b"value %d" % index)], (1, 1, index), None)
    log.sync()
    sys.stdout.write(f"{index}\\n")
    sys.stdout.flush()
os._exit(0)  # closing would write files, and sync them
"""


def test_a_process_killed_while_it_writes_loses_nothing_that_it_synced(
    tmp_path: Path, name: str
) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "data"), name, "1000000"]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            pytest.fail("the process has no output")
        said = 0
        while said < 200:
            said = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        # What it still said before it died; the last line may be torn.
        said = max([said, *map(int, process.stdout.read().split("\n")[:-1])])
    found = reopened(tmp_path / "data", name)
    last = len(found.entries)
    assert last >= said
    assert list(found.entries) == entries(1, last)
    assert found.hard_state == (1, 1, last)


def syncs_of_a_writer(tmp_path: Path, name: str, count: int) -> int:
    trace = tmp_path / f"trace-{count}"
    strace = ["strace", "-f", "-y", "-e", "trace=fdatasync,fsync", "-o", str(trace)]
    writer = [sys.executable, "-c", WRITER, str(tmp_path / f"data-{count}"), name, str(count)]
    ran = subprocess.run(
        [*strace, *writer], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True
    )
    if ran.returncode:
        pytest.skip(f"strace does not work here: {ran.stderr[-200:]}")
    return sum(".log>" in line and "resumed" not in line for line in trace.open())


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_each_sync_is_one_fdatasync_of_the_wal(tmp_path: Path, name: str) -> None:
    """A process that is killed proves nothing about syncs: the kernel keeps its writes."""
    without = syncs_of_a_writer(tmp_path, name, 0)
    assert syncs_of_a_writer(tmp_path, name, 20) - without == 20
