"""Snapshots go both ways: what etcdctl saves of our gateway becomes a real etcd, and what it saves
of a real etcd becomes a cluster of ours."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from etcd_process import EtcdProcess
from etcd_tools import BINARIES, all_keys, ask, done, run
from gateways import GatewayCluster

pytestmark = pytest.mark.timeout(180)

LEASE = "5ca1ab1e"
TTL_S = 3600


@pytest.fixture
def etcds(tmp_path: Path) -> Iterator[list[EtcdProcess]]:
    """Those that are put into it are stopped."""
    started: list[EtcdProcess] = []
    yield started
    for process in started:
        process.stop()


@pytest.fixture
def gateways(xprocess: Any, tmp_path: Path) -> Iterator[list[GatewayCluster]]:
    started: list[GatewayCluster] = []
    yield started
    for cluster in started:
        cluster.end()


def new_cluster(
    xprocess: Any, folder: Path, started: list[GatewayCluster], engine: str = "memory"
) -> GatewayCluster:
    folder.mkdir()
    cluster = GatewayCluster(xprocess, folder, 1, engine=engine)
    started.append(cluster)
    return cluster


def fill(endpoint: str) -> None:
    """Revisions of one and of several changes, deletions, a lease, binary and large values, a
    compaction, users."""
    to = ("etcdctl", "--endpoints", endpoint)
    for number in range(8):
        done(*to, "put", f"key/{number % 5}", f"value {number}")
    done(*to, "txn", text="\nput z 1\nput a 1\ndel key/3\n\n\n")
    ask_lease = {"ID": int(LEASE, 16), "TTL": TTL_S}
    grant(endpoint, **ask_lease)
    done(*to, "put", "leased", "by a lease", f"--lease={LEASE}")
    done(*to, "put", "large", text="x" * 1_000_000)
    done(*to, "del", "a")
    done(*to, "compact", "5")
    done(*to, "put", "a", "again")
    done(*to, "put", "key/1", "newest")


def grant(endpoint: str, **fields: int) -> None:
    """etcdctl cannot choose an id."""
    request = urllib.request.Request(f"{endpoint}/v3/lease/grant", json.dumps(fields).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.loads(answer.read())["ID"] == str(fields["ID"])


def history(endpoint: str, first: int) -> str:
    """Every event from a revision on, as etcdctl prints them."""
    command = [str(BINARIES / "etcdctl"), "--endpoints", endpoint]
    command += ["watch", "", "--prefix", f"--rev={first}"]
    last = "key/1\nnewest\n"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        seen = ""
        while not seen.endswith(last):
            line = watch.stdout.readline()
            assert line, seen
            seen += line
        watch.kill()
    return seen


def same_contents(ours: str, other: str, *, revisions: Sequence[int]) -> None:
    assert all_keys(ours) == all_keys(other)
    for revision in revisions:
        assert all_keys(ours, f"--rev={revision}") == all_keys(other, f"--rev={revision}")
    compacted = run("etcdctl", "--endpoints", ours, "get", "a", "--rev=4")
    assert "required revision has been compacted" in compacted.stderr
    assert history(ours, 5) == history(other, 5)
    for endpoint in (ours, other):
        lease = ask(endpoint, "lease", "timetolive", LEASE, "--keys")
        assert (lease["granted-ttl"], lease["keys"]) == (TTL_S, ["bGVhc2Vk"])


@pytest.mark.parametrize("engine", ["memory", "rocksdb"])
def test_a_snapshot_of_our_gateway_is_read_restored_and_served_by_a_real_etcd(
    xprocess: Any,
    tmp_path: Path,
    gateways: list[GatewayCluster],
    etcds: list[EtcdProcess],
    engine: str,
) -> None:
    if engine == "rocksdb":
        pytest.importorskip("rocksdict")
    cluster = new_cluster(xprocess, tmp_path / "ours", gateways, engine)
    cluster.start_with_gateways()
    (endpoint,) = cluster.etcd_endpoints
    fill(endpoint)
    file = tmp_path / "snapshot"
    done("etcdctl", "--endpoints", endpoint, "snapshot", "save", file)
    newest = ask(endpoint, "get", "key/1")["header"]["revision"]
    for program in ("etcdctl", "etcdutl"):
        status = done(program, "snapshot", "status", file, "-w", "fields")
        assert f'"Revision" : {newest}\n' in status
    restored = tmp_path / "etcd-of-ours"
    restored.mkdir()
    done("etcdutl", "snapshot", "restore", file, "--data-dir", restored / "etcd")
    etcds.append(EtcdProcess(restored))
    other = f"http://127.0.0.1:{etcds[0].port}"
    same_contents(endpoint, other, revisions=(5, 8, newest - 2))
    # Both go on alike.
    for one in (endpoint, other):
        done("etcdctl", "--endpoints", one, "put", "key/1", "after")
        done("etcdctl", "--endpoints", one, "compact", str(newest))
        done("etcdctl", "--endpoints", one, "lease", "revoke", LEASE)
    assert all_keys(endpoint) == all_keys(other)
    done("etcdctl", "--endpoints", other, "defrag")
    done("etcdctl", "--endpoints", other, "snapshot", "save", tmp_path / "again")
    done("etcdutl", "snapshot", "status", tmp_path / "again")


@pytest.mark.parametrize("engine", ["memory", "rocksdb"])
def test_a_snapshot_of_a_real_etcd_becomes_a_cluster_of_ours(
    xprocess: Any,
    tmp_path: Path,
    gateways: list[GatewayCluster],
    etcds: list[EtcdProcess],
    engine: str,
) -> None:
    if engine == "rocksdb":
        pytest.importorskip("rocksdict")
    etcds.append(EtcdProcess(tmp_path))
    other = f"http://127.0.0.1:{etcds[0].port}"
    fill(other)
    file = tmp_path / "snapshot"
    done("etcdctl", "--endpoints", other, "snapshot", "save", file)
    assert "of an etcd" in done("metastore", "verify", file)
    cluster = new_cluster(xprocess, tmp_path / "ours", gateways, engine)
    done(
        "metastore", "restore", file, "--data-dir", cluster.data_dir(1), "--node-id", 1,
        "--cluster-id", cluster.folder.name, "--engine", engine,
    )  # fmt: skip
    cluster.start_with_gateways()
    (endpoint,) = cluster.etcd_endpoints
    newest = ask(other, "get", "key/1")["header"]["revision"]
    same_contents(endpoint, other, revisions=(5, 8, newest - 2))
    put = ask(endpoint, "put", "key/1", "after")
    assert put["header"]["revision"] == newest + 1


def test_users_come_along_both_ways_and_nobody_gets_in_without_a_password(
    xprocess: Any, tmp_path: Path, gateways: list[GatewayCluster], etcds: list[EtcdProcess]
) -> None:
    etcds.append(EtcdProcess(tmp_path))
    other = f"http://127.0.0.1:{etcds[0].port}"
    to = ("etcdctl", "--endpoints", other)
    done(*to, "put", "secret", "of root")
    done(*to, "put", "open/door", "of ann")
    for user in ("root:pass", "ann:word"):
        done(*to, "user", "add", user)
    done(*to, "user", "grant-role", "root", "root")
    done(*to, "role", "add", "reader")
    done(*to, "role", "grant-permission", "reader", "read", "open/", "--prefix")
    done(*to, "user", "grant-role", "ann", "reader")
    done(*to, "auth", "enable")
    file = tmp_path / "snapshot"
    done(*to, "--user", "root:pass", "snapshot", "save", file)
    cluster = new_cluster(xprocess, tmp_path / "ours", gateways)
    done(
        "metastore", "restore", file, "--data-dir", cluster.data_dir(1), "--node-id", 1,
        "--cluster-id", cluster.folder.name,
    )  # fmt: skip
    cluster.start_with_gateways()
    (endpoint,) = cluster.etcd_endpoints
    check_users(endpoint)
    back = tmp_path / "back"
    unnamed = run(
        "etcdctl", "--endpoints", endpoint, "--user", "ann:word", "snapshot", "save", back
    )
    assert "permission denied" in unnamed.stderr
    done("etcdctl", "--endpoints", endpoint, "--user", "root:pass", "snapshot", "save", back)
    restored = tmp_path / "etcd-of-ours"
    restored.mkdir()
    done("etcdutl", "snapshot", "restore", back, "--data-dir", restored / "etcd")
    etcds.append(EtcdProcess(restored))
    check_users(f"http://127.0.0.1:{etcds[1].port}")


def check_users(endpoint: str) -> None:
    to = ("etcdctl", "--endpoints", endpoint)
    assert "user name is empty" in run(*to, "get", "secret").stderr
    assert "authentication failed" in run(*to, "--user", "ann:pass", "get", "open/door").stderr
    assert "permission denied" in run(*to, "--user", "ann:word", "get", "secret").stderr
    assert done(*to, "--user", "ann:word", "get", "open/door") == "open/door\nof ann\n"
    assert done(*to, "--user", "root:pass", "get", "secret") == "secret\nof root\n"
    assert "reader" in done(*to, "--user", "root:pass", "user", "get", "ann")


def test_a_damaged_snapshot_of_a_real_etcd_makes_nothing(
    tmp_path: Path, etcds: list[EtcdProcess]
) -> None:
    etcds.append(EtcdProcess(tmp_path))
    other = f"http://127.0.0.1:{etcds[0].port}"
    done("etcdctl", "--endpoints", other, "put", "a", "b")
    file = tmp_path / "snapshot"
    done("etcdctl", "--endpoints", other, "snapshot", "save", file)
    sound = bytearray(file.read_bytes())
    sound[len(sound) // 2] ^= 1
    file.write_bytes(sound)
    refused = run(
        "metastore", "restore", file, "--data-dir", tmp_path / "new", "--node-id", 1,
        "--cluster-id", "new",
    )  # fmt: skip
    assert refused.returncode == 1
    assert "nothing was restored" in refused.stderr
    assert not (tmp_path / "new").exists()
    assert run("metastore", "verify", file).returncode == 1
