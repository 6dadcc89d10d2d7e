"""A cluster is backed up while it runs, goes on, is lost, and comes back as another one from the
file: the data of that moment, under revisions that nobody has seen before."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from node_processes import NodeProcesses, eventually
from replicas import wait_applied

from metastore.client import Client, Compacted

pytestmark = pytest.mark.timeout(180)

ENGINES = ("memory", "rocksdb")
BUMP = 1_000_000


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metastore.client.command.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def make(make_cluster: Callable[..., NodeProcesses], engine: str) -> NodeProcesses:
    if engine == "rocksdb":
        pytest.importorskip("rocksdict")
    return make_cluster(3, ("--engine", engine))


def fill(client: Client) -> int:
    """Some revisions, a history, a lease with a key; the newest revision."""
    for number in range(95):
        client.put(f"key/{number % 40:02}", f"value {number}")
    client.delete("key/07")
    lease = client.lease(3600, lease_id=77)
    return client.put("leased", "by 77", lease=lease).revision


def back_up(cluster: NodeProcesses, file: Path) -> None:
    done = run("--endpoints", ",".join(cluster.endpoints), "backup", file)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in file.parent.iterdir() if "unfinished" in path.name] == []


def restore_everywhere(cluster: NodeProcesses, file: Path, engine: str) -> None:
    for node_id in cluster.node_ids:
        done = run(
            "restore", file, "--data-dir", cluster.data_dir(node_id),
            "--cluster-id", cluster.folder.name, "--node-id", node_id, "--engine", engine,
            *(option for other in cluster.node_ids for option in ("--member", other)),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def contents(endpoints: str | Sequence[str], **options: bool) -> list[tuple[bytes, bytes, int]]:
    level = "local" if options else "linearizable"
    with Client(endpoints, **options) as client:
        items = client.scan(b"\0", b"\0", level=level)
        return [(kv.key, kv.value, kv.mod_revision) for kv in items]


def the_past_is_compacted(client: Client, *revisions: int) -> None:
    for revision in revisions:
        watch = client.watch("key/", prefix=True, start_revision=revision)
        with pytest.raises(Compacted):
            watch.get(timeout_s=10)
        with pytest.raises(Compacted):
            client.get("key/00", revision=revision)


@pytest.mark.parametrize(
    ("engine", "other"),
    [(a, b) for a in ENGINES for b in ENGINES],
    ids=[f"{a}-into-{b}" for a in ENGINES for b in ENGINES],
)
def test_a_restored_cluster_has_the_data_of_the_backup_and_revisions_of_its_own(
    make_cluster: Callable[..., NodeProcesses], tmp_path: Path, engine: str, other: str
) -> None:
    old = make(make_cluster, engine)
    old.start()
    old.leader()
    file = tmp_path / "backups" / "one"
    file.parent.mkdir()
    with old.client() as client:
        at_backup = fill(client)
        expected = contents(old.endpoints)
        back_up(old, file)
        for number in range(50):
            client.put(f"after/{number}", "lost")
        newest_of_old = client.put("key/00", "lost, too").revision
    old.stop()

    new = make(make_cluster, other)
    restore_everywhere(new, file, other)
    new.start()
    new.leader()
    assert contents(new.endpoints) == expected
    with new.client() as client:
        the_past_is_compacted(client, 1, at_backup, newest_of_old)
        left = client.time_to_live(77, keys=True)
        assert left.keys == (b"leased",)
        assert 3500 < left.ttl_s <= 3600
        written = client.put("key/00", "new").revision
        assert written == at_backup + BUMP + 1 > newest_of_old
        event = client.watch("key/00", start_revision=written).get(timeout_s=10)
        assert event is not None
        assert event.item.value == b"new"

    def all_have_the_same() -> bool:
        local = [contents(endpoint, is_pinned=True) for endpoint in new.endpoints]
        return local[0] == local[1] == local[2] and (b"key/00", b"new", written) in local[0]

    eventually("every member holds the same", all_have_the_same)


def test_a_member_that_was_started_empty_by_mistake_gets_the_data_from_the_others(
    make_cluster: Callable[..., NodeProcesses], tmp_path: Path
) -> None:
    old = make(make_cluster, "memory")
    old.start()
    old.leader()
    with old.client() as client:
        fill(client)
    expected = contents(old.endpoints)
    back_up(old, tmp_path / "file")
    old.stop()
    new = make(make_cluster, "memory")
    restore_everywhere(new, tmp_path / "file", "memory")
    for path in sorted(new.data_dir(3).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    new.start(1, 2)
    new.leader([1, 2])
    new.start(3)
    eventually(
        "the empty member has everything",
        lambda: contents(new.address(3, "client"), is_pinned=True) == expected,
    )


def test_a_running_node_is_not_verified_and_a_stopped_one_is_sound(cluster: NodeProcesses) -> None:
    with cluster.client() as client:
        fill(client)
        # Only a majority need have it; and how far it was committed a follower writes down with its
        # next entry, a leader not while it leads.
        leader = cluster.leader()
        for _ in range(2):
            wait_applied(cluster, cluster.status(leader)["commit"], cluster.node_ids)
            client.put("one", "more")
        follower = next(node_id for node_id in cluster.node_ids if node_id != leader)
    refused = run("verify", cluster.data_dir(follower))
    assert refused.returncode == 3
    assert f"in use by process {cluster.pids[follower]}" in refused.stderr
    cluster.stop()
    sound = run("verify", cluster.data_dir(follower))
    assert sound.returncode == 0, sound.stdout
    shown = run("inspect", cluster.data_dir(follower), "--keys")
    assert shown.returncode == 0, shown.stderr
    assert "put 'key/00' = 'value 0'" in shown.stdout
    assert "grant lease 4d for 3600 s" in shown.stdout
    assert "put 'leased' = 'by 77' under lease 4d" in shown.stdout
    assert "key 'key/08' = 'value" in shown.stdout
