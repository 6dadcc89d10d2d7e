"""A node's disk is full (A11): the node stops and says so in one line, the others go on, and room
is all it needs to start again.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses, eventually
from small_disks import DiskRefused, SmallDisk
from test_snapshots import all_hold_the_same
from test_start_failures import last_line

from metastore.client import Client
from metastore.client.errors import MetastoreError
from metastore.node.exit_codes import ExitCode

DISK_BYTES = 32 << 20
LEFT_BYTES = 200 << 10
FULL = 2  # the node whose disk it is

pytestmark = [pytest.mark.timeout(180), BOTH_ENGINES]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        small = SmallDisk(tmp_path / "small", DISK_BYTES)
    except DiskRefused as reason:
        pytest.skip(f"no file system can be mounted here: {reason}")
    yield small
    small.close()


@pytest.fixture
def on_small_disk(
    make_cluster: Callable[..., NodeProcesses], disk: SmallDisk, tmp_path: Path
) -> NodeProcesses:
    """Three nodes, not started; one of them on the small disk."""
    cluster = make_cluster(3, ("--snapshot-entries", "100"))
    cluster.around[FULL] = disk.enter
    cluster.data_dirs[FULL] = tmp_path / "small" / "data"
    return cluster


def write(client: Client, number: int) -> None:
    client.put(f"k/{number % 30}", "x" * 5000)


def write_until_gone(cluster: NodeProcesses) -> None:
    with cluster.client() as client:

        def is_gone() -> bool:
            with contextlib.suppress(MetastoreError):  # it was the leader
                for number in range(50):
                    write(client, number)
            return cluster.has_ended(FULL)

        eventually("the node on the full disk has stopped", is_gone)


def says_that_the_disk_is_full(text: str) -> None:
    last = text.strip().splitlines()[-1]
    assert last.startswith("metastore node stopped, exit code 3 (storage)")
    assert "No space left on device" in last
    assert "Traceback" not in text


def test_a_node_on_a_full_disk_stops_and_starts_again_once_there_is_room(
    on_small_disk: NodeProcesses, disk: SmallDisk
) -> None:
    cluster = on_small_disk
    cluster.start()
    cluster.leader()
    ballast = disk.fill(LEFT_BYTES)
    write_until_gone(cluster)
    assert cluster.wait_gone(FULL) == ExitCode.STORAGE
    says_that_the_disk_is_full(cluster.log(FULL))
    cluster.leader(cluster.others(FULL))
    with cluster.client() as client:
        client.put("k/meanwhile", "served")
    ballast.unlink()
    cluster.start(FULL)
    cluster.leader()
    all_hold_the_same(cluster)


def test_a_node_that_finds_its_disk_full_does_not_start_and_says_so(
    on_small_disk: NodeProcesses, disk: SmallDisk
) -> None:
    cluster = on_small_disk
    cluster.start()
    cluster.leader()
    with cluster.client() as client:
        write(client, 1)
    cluster.kill(FULL)
    ballast = disk.fill(0)
    assert "No space left on device" in last_line(cluster.command(FULL), ExitCode.STORAGE)
    ballast.unlink()
    cluster.start(FULL)
    all_hold_the_same(cluster)


@pytest.mark.parametrize("step", ["write:1", "write:30", "sync:30", "checkpoint:1", "rename:1"])
def test_no_room_at_a_chosen_step_leaves_a_node_that_starts_again(
    make_cluster: Callable[..., NodeProcesses], step: str, engine: str
) -> None:
    """Of the log, of a snapshot, of the compaction after it. A snapshot that fails is no reason to
    stop: the log still holds everything."""
    if engine == "memory" and step == "checkpoint:1":
        pytest.skip("the memory engine has no checkpoints")
    cluster = make_cluster(3, ("--snapshot-entries", "100"))
    cluster.faults[FULL] = [f"enospc@{step}"]
    cluster.start()
    with cluster.client() as client:
        for number in range(150):
            write(client, number)
    in_snapshot = step in ("checkpoint:1", "rename:1")
    text = "snapshot failed" if in_snapshot else "metastore node stopped"
    eventually("the fault shows", lambda: text in cluster.log(FULL))
    assert "No space left on device" in cluster.log(FULL)
    if in_snapshot:
        cluster.kill(FULL)
    else:
        assert cluster.wait_gone(FULL) == ExitCode.STORAGE
        says_that_the_disk_is_full(cluster.log(FULL))
    del cluster.faults[FULL]
    cluster.start(FULL)
    cluster.leader()
    all_hold_the_same(cluster)
