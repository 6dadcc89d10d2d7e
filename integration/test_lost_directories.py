"""A data directory that was emptied, or put back from an older copy: refused, or the node stops as
soon as it hears what it must have acknowledged (A14, E3); never a quiet half.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses, eventually
from replicas import details
from test_snapshots import a_follower, log_of, write
from test_start_failures import last_line

from metastore.node.exit_codes import ExitCode

LOG_FOLDER = {"memory": "wal", "rocksdb": "rocksdb"}

pytestmark = [pytest.mark.timeout(120), BOTH_ENGINES]


@pytest.fixture
def alone(make_cluster: Callable[..., NodeProcesses]) -> NodeProcesses:
    """A single node that has taken snapshots and compacted its log twice, and was killed."""
    cluster = make_cluster(1, ("--snapshot-entries", "100", "--snapshot-trailing-entries", "10"))
    cluster.start()
    cluster.leader()
    write_until_compacted(cluster, 100)
    return cluster


def write_until_compacted(cluster: NodeProcesses, index: int) -> None:
    with cluster.client() as client:

        def is_compacted() -> bool:
            write(client, "k", 20)
            return log_of(cluster, cluster.leader()).get("first_index", 0) > index

        eventually(f"the log begins after {index}", is_compacted)


def test_a_directory_without_its_log_is_refused_with_what_to_do(alone: NodeProcesses) -> None:
    alone.kill(1)
    shutil.rmtree(alone.data_dir(1) / LOG_FOLDER[alone.engine])
    line = last_line(alone.command(1), ExitCode.STORAGE)
    assert str(alone.data_dir(1)) in line
    assert "run `metastore member replace 1`" in line


def test_older_snapshots_under_a_log_that_begins_later_are_refused(
    alone: NodeProcesses, tmp_path: Path
) -> None:
    if alone.engine == "rocksdb":
        pytest.skip("its state is in one database with the log")
    snapshots = alone.data_dir(1) / "snapshots"
    shutil.copytree(snapshots, tmp_path / "older")
    write_until_compacted(alone, 400)
    alone.kill(1)
    shutil.rmtree(snapshots)
    shutil.copytree(tmp_path / "older", snapshots)
    assert "a snapshot file is missing" in last_line(alone.command(1), ExitCode.STORAGE)


def replace_directory(data_dir: Path, older: Path | None) -> None:
    shutil.rmtree(data_dir)
    if older is not None:
        shutil.copytree(older, data_dir)


def has_registered(cluster: NodeProcesses, node_id: int) -> bool:
    """From then on the record names the node's data directory."""
    members = details(cluster, cluster.leader()).get("members", [])
    return any(m["node_id"] == node_id and m["directory_id"] for m in members)


@pytest.mark.parametrize("is_copy", [False, True], ids=["wiped", "older copy"])
def test_a_node_that_lost_what_it_acknowledged_stops_when_the_leader_counts_on_it(
    cluster: NodeProcesses, tmp_path: Path, is_copy: bool
) -> None:
    follower = a_follower(cluster)
    eventually("the follower is known", lambda: has_registered(cluster, follower))
    with cluster.client() as client:
        write(client, "k", 10)
        cluster.kill(follower)
        older = shutil.copytree(cluster.data_dir(follower), tmp_path / "older")
        cluster.start(follower)
        write(client, "k", 20)
        target = cluster.status(cluster.leader())["commit"]
        eventually(
            "the follower acknowledged it all",
            lambda: cluster.status(follower).get("applied", 0) >= target,
        )
        cluster.kill(follower)
        replace_directory(cluster.data_dir(follower), older if is_copy else None)
        cluster.start(follower)
        # An older copy is still the directory of the record; only the leader's log tells.
        expected = ExitCode.STORAGE if is_copy else ExitCode.IDENTITY
        assert cluster.wait_gone(follower) == expected
        last = cluster.log(follower).strip().splitlines()[-1]
        reason = "lost entries that it had acknowledged" if is_copy else "has lost its data"
        assert reason in last
        assert "metastore member replace" in last
        client.put("k/after", "the others go on")
