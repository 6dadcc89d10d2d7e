"""A cluster with keys: who is let in, who may what, and how that changes while it runs.

One cluster of three serves all tests of this module but the last ones; each test brings its own
clients.
"""

import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zmq
from load import Written, start_writers
from node_keys import Grant, Keyring, check_logged_once, plaintext_member, refusals_logged
from node_processes import NodeProcesses, eventually
from replicas import details, snapshots_received, wait_for_same_hash

from metastore.client import Client, PermissionDenied, Unavailable, ops
from metastore.client.security import OTHER_KEY, REFUSED_KEY, USES_KEYS

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def ring(xprocess: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyring]:
    """Of three running nodes with a leader."""
    cluster = NodeProcesses(xprocess, tmp_path_factory.mktemp("keyed"))
    made = Keyring(cluster)
    cluster.start()
    try:
        cluster.leader()
        yield made
    finally:
        cluster.end()


@pytest.fixture
def cluster(ring: Keyring) -> NodeProcesses:
    return ring.cluster


def test_who_has_no_key_of_the_access_file_is_not_let_in(
    ring: Keyring, cluster: NodeProcesses
) -> None:
    node = cluster.endpoints[0]
    keyless = Client(node, is_pinned=True, timeout_s=0.5)
    with keyless, pytest.raises(Unavailable, match="not served in time") as refused:
        keyless.get("k")
    assert USES_KEYS in str(refused.value)

    unknown = ring.public(ring.make("unknown"))
    stranger = Client(
        node, is_pinned=True, key_file=ring.path("unknown"), server_keys=ring.node_key
    )
    with stranger, pytest.raises(Unavailable) as refused:
        stranger.get("k", timeout_s=0.5)
    assert REFUSED_KEY in str(refused.value)

    mistaken = Client(node, is_pinned=True, key_file=ring.path("admin"), server_keys=[unknown])
    with mistaken, pytest.raises(Unavailable) as refused:
        mistaken.get("k", timeout_s=0.5)
    assert OTHER_KEY in str(refused.value)

    for reason in (
        "it does not use a key",
        "its key is not in the access file",
        "it expects another server key",
    ):
        ring.wait_counted(f"keys.client.{reason}")
        check_logged_once(cluster, "client socket", reason)
    assert len(refusals_logged(cluster, unknown, "client socket")[1]) == 1
    # Of several server keys the right one is found.
    with ring.client("admin", server_keys=[unknown, ring.node_key]) as client:
        client.put("found", "v")
        assert set(client.status()) == set(cluster.node_ids)
        assert not any("error" in answer for answer in client.status().values())


def test_a_reader_that_writes_and_who_is_no_admin_are_refused(
    ring: Keyring, cluster: NodeProcesses
) -> None:
    ring.let_in("reader", "read")
    ring.let_in("plain", "write")
    with ring.client("reader") as reader, ring.client("plain") as writer:
        writer.put("k", "v")
        kv = reader.get("k")
        assert kv is not None
        with pytest.raises(PermissionDenied, match="client 'reader' may read, not write"):
            reader.put("k", "w")
        with pytest.raises(PermissionDenied, match="this takes the role admin"):
            writer.compact(1)
        with pytest.raises(PermissionDenied, match="this takes the role admin"):
            writer.member_remove(3)
        assert reader.get("k") == kv
    for who in ("reader", "plain"):
        ring.wait_counted(f"access.refused.{who}.role")
        check_logged_once(cluster, f"who={who}", "reason=role")


def test_a_writer_may_not_touch_what_is_outside_of_its_prefix(
    ring: Keyring, cluster: NodeProcesses
) -> None:
    ring.let_in("writer", "write", "app/")
    with ring.client("admin") as admin, ring.client("writer") as writer:
        admin.put("other", "v")
        foreign = admin.lease(60, keep_alive=False)
        admin.put("other/leased", "v", lease=foreign)
        own = writer.lease(60, keep_alive=False)
        revision = writer.put("app/k", "v", lease=own).revision
        with writer.watch("app/", prefix=True, start_revision=revision) as watch:
            event = watch.get(timeout_s=10)
            assert event is not None
            assert event.item.key == b"app/k"
        outside: list[Callable[[], object]] = [
            lambda: writer.put("other", "w"),
            lambda: writer.txn([], [ops.put("app/k", "w"), ops.delete("other")]),
            lambda: writer.batch([ops.delete("a", "b")]),
            lambda: writer.batch([ops.lease_revoke(foreign.id)]),
            lambda: next(writer.watch("other")),
        ]
        for attempt in outside:
            with pytest.raises(PermissionDenied, match=r"client 'writer' may not .*'app/'"):
                attempt()
        kv = admin.get("other")
        assert kv is not None
        assert kv.value == b"v"
        assert admin.time_to_live(foreign, keys=True).keys == (b"other/leased",)
        own.revoke()
    ring.wait_counted("access.refused.writer.prefix")
    check_logged_once(cluster, "who=writer", "reason=prefix")


def test_only_nodes_may_speak_to_nodes(ring: Keyring, cluster: NodeProcesses) -> None:
    ring.let_in("peerless", "admin")
    ring.settle()
    with zmq.Context() as context, ring.client("admin", timeout_s=20) as client:
        dealers = [
            ring.dial(context, socket, key)
            for socket in ("peer", "snapshot")
            for key in ("peerless", None)
        ]
        before = cluster.leader(), cluster.status(1)["term"], client.members()
        with plaintext_member(cluster, 4):
            eventually(
                "each is refused, and so is a node without keys",
                lambda: (
                    all(
                        ring.counter(1, f"keys.{socket}.{reason}")
                        for socket in ("peer", "snapshot")
                        for reason in (
                            "it is the key of client 'peerless', not of a node",
                            "it does not use a key",
                        )
                    )
                    and all(
                        ring.counter(n, "keys.peer.it does not use a key")
                        for n in cluster.others(4)
                    )
                ),
            )
        client.put("after", "strangers")
        assert (cluster.leader(), cluster.status(1)["term"], client.members()) == before
        assert not any(dealer.poll(0, zmq.POLLOUT) for dealer in dealers)
        for dealer in dealers:
            dealer.close(0)
    for socket in ("peer", "snapshot"):
        check_logged_once(cluster, f"{socket} socket", "it is the key of client 'peerless'")


def test_a_clients_key_is_let_in_and_taken_away_while_the_cluster_runs(
    ring: Keyring, cluster: NodeProcesses
) -> None:
    ring.make("guest")
    refused = "keys.client.its key is not in the access file"
    before = {n: ring.counter(n, refused) for n in cluster.node_ids}
    with ring.client("guest", timeout_s=30) as guest, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(guest.put, "guest", "came")
        eventually(
            "its key is refused", lambda: any(ring.counter(n, refused) > before[n] for n in before)
        )
        assert not waiting.done()
        ring.clients["guest"] = Grant(["guest"], "write")
        ring.write()
        assert waiting.result().revision  # the same call: nothing had to be begun anew

        with guest.watch("guest", start_revision=waiting.result().revision) as watch:
            guest.put("guest", "stays")
            assert [watch.get(timeout_s=10) is not None for _ in range(2)] == [True, True]
            del ring.clients["guest"]
            ring.write()
            ring.settle()
            # On connections and for watches that are open.
            with pytest.raises(PermissionDenied, match="key"):
                guest.put("guest", "again")
            with pytest.raises(PermissionDenied, match="key"):
                watch.get(timeout_s=30)
        with ring.client("guest", timeout_s=0.5) as again, pytest.raises(Unavailable) as late:
            again.put("guest", "again")
        assert REFUSED_KEY in str(late.value)
    with ring.client("admin") as admin:
        kv = admin.get("guest")
        assert kv is not None
        assert kv.value == b"stays"


# The steps of docs/guide/keys.md, each finished on every node before the next.


def test_the_nodes_key_changes_under_load_and_no_write_fails(
    ring: Keyring, cluster: NodeProcesses
) -> None:
    old, new = ring.node_names[0], ring.make("node2")
    ring.node_names = [old, new]
    ring.write()
    ring.settle()
    both = [ring.public(old), ring.public(new)]
    with ring.client("admin", server_keys=both, timeout_s=20) as client:
        written = Written()
        writers = start_writers(client, "load", count=2, timeout_s=20)
        for node_id in [*cluster.others(cluster.leader()), cluster.leader()]:
            cluster.signal(node_id, signal.SIGTERM)
            cluster.wait_gone(node_id)
            ring.start_with(new, node_id)
            cluster.start(node_id)
            cluster.leader()
        ring.node_names = [new]
        ring.start_with(new)
        ring.write()
        ring.settle()
        revision = client.put("after", "the change").revision
        written.stop(writers)
        failures = [error for writer in writers for error in writer.failures]
        assert not failures, failures[:3]
        written.check(client, "after the nodes' key has changed")
        wait_for_same_hash(cluster, revision)
    with ring.client("admin", server_keys=[ring.public(old)]) as late, pytest.raises(Unavailable):
        late.get("k", timeout_s=0.5)


def test_a_clients_key_changes_under_load_and_no_write_fails(ring: Keyring) -> None:
    ring.let_in("job", "write")
    with ring.client("job") as job, ring.client(ring.make("job2")) as successor:
        written = Written()
        first = start_writers(job, "job", count=2, timeout_s=20)
        ring.clients["job"] = Grant(["job", "job2"], "write")
        ring.write()
        ring.settle()
        second = start_writers(successor, "job2", count=2, timeout_s=20)
        eventually("the new one writes", lambda: all(w.acknowledged for w in second))
        written.stop(first)
        ring.clients["job"] = Grant(["job2"], "write")
        ring.write()
        ring.settle()
        with pytest.raises(PermissionDenied):
            job.put("job", "is over")
        number = max(writer.number for writer in second)
        eventually("the new one goes on", lambda: all(w.number > number for w in second))
        written.stop(second)
        failures = [error for writer in (*first, *second) for error in writer.failures]
        assert not failures, failures[:3]
        written.check(successor, "after the client's key has changed")


def test_a_follower_that_lost_its_disk_is_replaced_with_keys(
    ring: Keyring, cluster: NodeProcesses
) -> None:
    with ring.client("admin", timeout_s=20) as admin:
        admin.put("k", "v")
        victim = cluster.others(cluster.leader())[0]
        eventually("all are registered", lambda: all(m.directory_id for m in admin.members()))
        cluster.kill(victim)
        shutil.rmtree(cluster.data_dir(victim))
        admin.member_replace(victim)
        cluster.join(victim)
        eventually(
            "it is a member again",
            lambda: {m.node_id: m.state for m in admin.members()}[victim] == "member",
        )
        wait_for_same_hash(cluster, admin.put("last", "one").revision)
        eventually("it came by a snapshot", lambda: snapshots_received(cluster, victim))


def test_no_secret_is_written_anywhere_but_in_its_file(
    ring: Keyring, cluster: NodeProcesses
) -> None:
    secrets = ring.secrets()
    assert len(secrets) > 2
    for node_id in cluster.node_ids:
        seen = cluster.log(node_id) + repr(details(cluster, node_id))
        seen += Path(f"/proc/{cluster.pids[node_id]}/cmdline").read_text()
        seen += Path(f"/proc/{cluster.pids[node_id]}/environ").read_text()
        assert not any(secret in seen for secret in secrets)
