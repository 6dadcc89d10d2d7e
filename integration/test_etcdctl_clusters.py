"""etcdctl where a cluster loses its leader, grows, is full, or is copied into another one."""

import os
import re
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from etcd_process import EtcdProcess
from etcd_tools import BINARIES, all_keys, done, run
from etcdctl_cluster import FULL
from etcdctl_runs import Outcome, Run, steps_of
from etcdctl_systems import GrowingEtcd, GrowingNodes, NamedNodes
from gateways import GatewayCluster, is_healthy
from node_processes import LOOPBACK, eventually

pytestmark = pytest.mark.timeout(180)

NOT_IN_SYNC = "can only promote a learner member which is in sync with leader"
QUOTA_BYTES = 4 << 20


def table_of(printed: str) -> list[dict[str, str]]:
    """The rows of a table, by the names of its columns."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def told_by_nodes(cluster: GatewayCluster, *node_ids: int) -> list[tuple[str, ...]]:
    statuses = [cluster.status(node_id) for node_id in node_ids]
    return [
        (
            f"{one['node_id']:x}",
            str(one["leader_id"] == one["node_id"]).lower(),
            *(str(one[name]) for name in ("term", "commit", "applied")),
        )
        for one in statuses
    ]


def told_by_etcdctl(printed: str) -> list[tuple[str, ...]]:
    columns = ("ID", "IS LEADER", "RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX")
    return [tuple(row[name] for name in columns) for row in table_of(printed)]


def same_status(cluster: GatewayCluster, *node_ids: int) -> int:
    """The term that both tell; in between nothing may have been committed."""

    def agreed() -> int:
        before = told_by_nodes(cluster, *node_ids)
        printed = status(cluster, *node_ids).stdout
        after = told_by_nodes(cluster, *node_ids)
        if before != after or sorted(told_by_etcdctl(printed)) != sorted(before):
            return 0
        return int(before[0][2])

    return eventually("etcdctl shows what the nodes say of themselves", agreed)


def status(cluster: GatewayCluster, *node_ids: int) -> "subprocess.CompletedProcess[str]":
    at = ",".join(cluster.urls[node_id] for node_id in node_ids)
    to = ("etcdctl", "--endpoints", at, "--dial-timeout=1s", "--command-timeout=2s")
    return run(*to, "endpoint", "status", "-w", "table")


def test_the_status_shows_the_real_leader_term_and_indexes_before_and_after_a_failover(
    make_gateways: Callable[..., GatewayCluster],
) -> None:
    cluster = make_gateways(3)
    cluster.start_with_gateways()
    leader = cluster.leader()
    done("etcdctl", "--endpoints", cluster.urls[leader], "put", "a", "1")
    term = same_status(cluster, *cluster.node_ids)
    cluster.kill(leader)
    left = cluster.others(leader)
    assert cluster.leader(left) != leader
    done("etcdctl", "--endpoints", cluster.urls[left[0]], "put", "a", "2")
    assert same_status(cluster, *left) > term
    seen = status(cluster, *cluster.node_ids)
    assert seen.returncode == 1
    assert f"Failed to get the status of endpoint {cluster.urls[leader]}" in seen.stderr
    cluster.start(leader)
    cluster.wait_for_gateways(leader)
    cluster.leader()
    same_status(cluster, *cluster.node_ids)


@pytest.fixture(params=["etcd", "ours"])
def growing(
    request: Any, tmp_path: Path, make_gateways: Callable[..., GatewayCluster]
) -> Iterator[GrowingNodes | GrowingEtcd]:
    system = GrowingEtcd(tmp_path) if request.param == "etcd" else GrowingNodes(make_gateways(3))
    yield system
    system.close()


def test_a_learner_is_added_started_promoted_and_removed(
    growing: GrowingNodes | GrowingEtcd,
) -> None:
    at = ("etcdctl", "--endpoints", ",".join(growing.endpoints))
    done(*at, "put", "a", "1")
    add = (*at, "member", "add", "m3", f"--peer-urls={growing.peer_url}", "--learner")
    # An etcd waits until its members have been connected for 5 s.
    added = eventually("a member may be added", lambda: run(*add).stdout)
    member = re.findall(r"Member\s+([0-9a-f]+) added to cluster", added)[0]
    assert f"m3={growing.peer_url}" in added
    early = run(*at, "member", "promote", member)
    assert early.returncode == 1
    assert NOT_IN_SYNC in early.stderr
    url = growing.join(int(member, 16))

    def promoted() -> str:
        again = run(*at, "member", "promote", member)
        assert not again.returncode or NOT_IN_SYNC in again.stderr, again
        return again.stdout

    assert eventually("it has caught up", promoted).startswith(f"Member {member} promoted in")
    row = f"{member}, started, m3, {growing.peer_url}, {url}, false"
    eventually("it is a member as any", lambda: row in done(*at, "member", "list"))
    eventually("it serves", lambda: is_healthy(url))
    assert done("etcdctl", "--endpoints", url, "get", "a") == "a\n1\n"
    assert done(*at, "member", "remove", member).startswith(f"Member {member} removed from")
    assert member not in done(*at, "member", "list")


def test_a_full_store_is_told_and_emptied_as_with_an_etcd(xprocess: Any, tmp_path: Path) -> None:
    ours = NamedNodes(xprocess, tmp_path, 1, ("--quota-bytes", str(QUOTA_BYTES)))
    etcd = EtcdProcess(tmp_path, ["--quota-backend-bytes", str(QUOTA_BYTES)])
    try:
        ours.start_with_gateways()
        told, expected = (
            play_full(endpoint, tmp_path / endpoint.rpartition(":")[2])
            for endpoint in (*ours.etcd_endpoints, f"http://{LOOPBACK}:{etcd.port}")
        )
    finally:
        etcd.stop()
        ours.end()
    for one, other in zip(told, expected, strict=True):
        assert one == other


def play_full(endpoint: str, folder: Path) -> list[Outcome]:
    folder.mkdir()
    to = ("etcdctl", "--endpoints", endpoint)
    number = 0
    while not run(*to, "put", f"full/fill/{number}", text="x" * 1_000_000).returncode:
        number += 1
        assert number < 20
    place = urllib.parse.urlsplit(endpoint).netloc
    return list(Run("3.5", "full/", [place], folder).play(steps_of(FULL)))


def test_a_mirror_copies_ours_to_an_etcd_and_an_etcd_to_ours(
    make_gateways: Callable[..., GatewayCluster], tmp_path: Path
) -> None:
    ours = make_gateways(1)
    ours.start_with_gateways()
    etcd = EtcdProcess(tmp_path)
    (here,), there = ours.etcd_endpoints, f"http://{LOOPBACK}:{etcd.port}"
    try:
        copies(here, there)
        copies(there, here)
    finally:
        etcd.stop()


def copies(source: str, target: str) -> None:
    """What is there before the mirror starts, and what changes while it runs."""
    name = urllib.parse.urlsplit(source).port
    at, to = ("etcdctl", "--endpoints", source), urllib.parse.urlsplit(target).netloc
    for number in range(20):
        done(*at, "put", f"{name}/{number:02}", f"value {number}")
    command = [str(BINARIES / "etcdctl"), "--endpoints", source, "make-mirror"]
    with subprocess.Popen([*command, f"--prefix={name}/", to]) as mirror:
        try:
            eventually("all is copied", lambda: contents(source, name) == contents(target, name))
            done(*at, "txn", text=f"\nput {name}/a 1\nput {name}/b 2\ndel {name}/07\n\n\n")
            done(*at, "put", f"{name}/a", "again")
            eventually("changes, too", lambda: contents(source, name) == contents(target, name))
        finally:
            mirror.terminate()


def contents(endpoint: str, name: object) -> list[tuple[bytes, bytes]]:
    prefix = f"{name}/".encode()
    return [(one.key, one.value) for one in all_keys(endpoint) if one.key.startswith(prefix)]


@pytest.mark.skipif(
    "METASTORE_CHECK_PERF" not in os.environ, reason="takes a minute: METASTORE_CHECK_PERF=1"
)
@pytest.mark.parametrize("engine", ["memory", "rocksdb"])
def test_etcdctl_finds_a_cluster_fast_and_small_enough(
    make_gateways: Callable[..., GatewayCluster],
) -> None:
    cluster = make_gateways(3)
    cluster.start_with_gateways()
    assert "PASS: Throughput is" in checked(cluster, "perf")
    assert "PASS: Approximate system memory used" in checked(cluster, "datascale", "--auto-compact")


def checked(cluster: GatewayCluster, what: str, *options: str) -> str:
    at = ("--endpoints", ",".join(cluster.etcd_endpoints))
    ended = subprocess.run(
        [str(BINARIES / "etcdctl"), *at, "check", what, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout
