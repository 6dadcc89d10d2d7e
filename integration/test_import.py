"""`metastore import`: a cluster of ours takes over the keys and leases of a real, running etcd."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from etcd_process import EtcdProcess
from etcd_tools import all_keys, done, run
from node_processes import NodeProcesses

from metastore.client import Client

pytestmark = pytest.mark.timeout(180)

LEASE = 0x5CA1AB1E


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path)
    yield process
    process.stop()


@pytest.fixture
def one(make_cluster: Callable[..., NodeProcesses]) -> NodeProcesses:
    cluster = make_cluster(1)
    cluster.start()
    cluster.leader()
    return cluster


def endpoint(etcd: EtcdProcess) -> str:
    return f"http://127.0.0.1:{etcd.port}"


def bring(
    cluster: NodeProcesses, source: str, *options: object
) -> "subprocess.CompletedProcess[str]":
    return run("metastore", "--endpoints", cluster.endpoints[0], "import", source, *options)


def order_of(items: list[tuple[bytes, int]]) -> list[list[bytes]]:
    """The keys by revision; those of one revision together."""
    revisions = sorted({revision for _, revision in items})
    return [sorted(key for key, at in items if at == revision) for revision in revisions]


def stored(client: Client) -> list[tuple[bytes, bytes, int]]:
    return [(kv.key, kv.value, kv.mod_revision) for kv in client.scan(b"\0", b"\0")]


def fill(source: str) -> None:
    to = ("etcdctl", "--endpoints", source)
    for name in ("e", "b", "gone", "d", "a", "b"):
        done(*to, "put", f"key/{name}", f"value of {name}")
    done(*to, "del", "key/gone")
    done(*to, "txn", text="\nput z 1\nput c 2\n\n\n")
    grant = json.dumps({"ID": LEASE, "TTL": 3600}).encode()
    with urllib.request.urlopen(f"{source}/v3/lease/grant", grant, timeout=10) as answer:
        assert answer.status == 200
    done(*to, "put", "leased", "by a lease", f"--lease={LEASE:x}")
    done(*to, "put", "large", text="x" * 1_000_000)


def test_everything_comes_over_in_the_order_in_which_it_was_written(
    etcd: EtcdProcess, one: NodeProcesses
) -> None:
    source = endpoint(etcd)
    fill(source)
    there = all_keys(source)
    rehearsed = bring(one, source, "--dry-run")
    assert rehearsed.stdout.startswith("8 keys"), rehearsed.stderr
    assert "and 1 leases" in rehearsed.stdout
    assert "would be stored" in rehearsed.stdout
    with one.client() as client:
        assert stored(client) == []
        made = bring(one, source)
        assert made.stdout.startswith("8 keys"), made.stderr
        assert "was written to" not in made.stdout
        here = stored(client)
        assert [item[:2] for item in here] == [key[:2] for key in there]
        assert order_of([(item[0], item[2]) for item in here]) == order_of(
            [(key.key, key.mod_revision) for key in there]
        )
        lease = client.time_to_live(LEASE, keys=True)
        assert (lease.granted_ttl_s, lease.keys) == (3600, (b"leased",))


def test_a_cluster_in_use_is_left_alone_unless_forced(
    etcd: EtcdProcess, one: NodeProcesses
) -> None:
    source = endpoint(etcd)
    fill(source)
    with one.client() as client:
        client.put("key/a", "of before")
        client.put("mine", "stays")
        before = stored(client)
        refused = bring(one, source)
        assert refused.returncode == 1
        assert "has keys already" in refused.stderr
        assert stored(client) == before
        # Others' prefixes are no obstacle, and only the prefix comes.
        assert bring(one, source, "--prefix", "lea").stdout.startswith("1 keys")
        assert client.time_to_live(LEASE, keys=True).keys == (b"leased",)
        assert bring(one, source, "--force").returncode == 0
        here = {item[0]: item[1] for item in stored(client)}
        assert here[b"mine"] == b"stays"
        assert here[b"key/a"] == b"value of a"
        assert len(here) == 9
        assert client.leases() == (LEASE,)


def add_users(to: tuple[object, ...]) -> None:
    for user in ("root:pass", "ann:word"):
        done(*to, "user", "add", user)
    done(*to, "user", "grant-role", "root", "root")
    done(*to, "role", "add", "reader")
    done(*to, "role", "grant-permission", "reader", "read", "open/", "--prefix")
    done(*to, "user", "grant-role", "ann", "reader")
    done(*to, "auth", "enable")


def test_users_see_what_they_may_and_certificates_are_checked(
    tmp_path: Path, one: NodeProcesses
) -> None:
    sys.path.append(str(Path(__file__).parents[1] / "api" / "front" / "tests"))
    from certificates import Authority

    authority = Authority(tmp_path)
    server = authority.issue(tmp_path, "server")
    client = authority.issue(tmp_path, "client")
    options = ["--cert-file", str(server[0]), "--key-file", str(server[1])]
    options += ["--trusted-ca-file", str(authority.file), "--client-cert-auth"]
    etcd = EtcdProcess(tmp_path, options, "https")
    try:
        source = f"https://127.0.0.1:{etcd.port}"
        tls = ("--cacert", authority.file, "--cert", client[0], "--key", client[1])
        to = ("etcdctl", "--endpoints", source, *tls)
        done(*to, "put", "secret", "of root")
        done(*to, "put", "open/door", "of ann")
        add_users(to)
        assert bring(one, source).returncode == 3  # nobody is trusted
        # The certificate's name is no user of theirs.
        for user, problem in (
            ((), "permission denied"),
            (("--user", "ann:wrong"), "authentication failed"),
            (("--user", "ann:word"), "permission denied"),
        ):
            refused = bring(one, source, *tls, *user)
            assert refused.returncode == 1
            assert problem in refused.stderr
        made = bring(one, source, *tls, "--user", "ann:word", "--prefix", "open/")
        assert made.stdout.startswith("1 keys"), made.stderr
        made = bring(one, source, *tls, "--user", "root", "--password", "pass", "--force")
        assert made.stdout.startswith("2 keys"), made.stderr
    finally:
        etcd.stop()


def test_who_is_no_etcd_is_told_and_nothing_is_written(one: NodeProcesses) -> None:
    for source, code in (("127.0.0.1:1", 3), ("ftp://127.0.0.1", 1), ("http://", 1)):
        refused = bring(one, source)
        assert refused.returncode == code, refused
        assert len(refused.stderr.splitlines()) == 1
