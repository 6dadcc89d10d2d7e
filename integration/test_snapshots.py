"""A follower whose next entry has been compacted away at the leader catches up by a snapshot."""

import threading
from collections.abc import Callable

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses, ask_status, eventually

from metastore.client import Client

OPTIONS = ("--snapshot-entries", "100", "--snapshot-trailing-entries", "10")

pytestmark = [pytest.mark.timeout(120), BOTH_ENGINES]


@pytest.fixture
def compacting(make_cluster: Callable[..., NodeProcesses]) -> NodeProcesses:
    """Three running nodes that snapshot every hundred entries and keep ten below."""
    cluster = make_cluster(3, OPTIONS)
    cluster.start()
    cluster.leader()
    return cluster


def a_follower(cluster: NodeProcesses) -> int:
    leader = cluster.leader()
    return next(node_id for node_id in cluster.node_ids if node_id != leader)


def write(client: Client, name: str, count: int) -> None:
    """One after the other, so that each is an entry of its own."""
    for number in range(count):
        client.put(f"{name}/{number % 70}", f"{name} {number}")


def log_of(cluster: NodeProcesses, node_id: int) -> dict[str, int]:
    answer = ask_status(cluster.address(node_id, "status"), "status")
    return dict(answer.get("log", {}))


def write_until_compacted_past(cluster: NodeProcesses, index: int, among: list[int]) -> None:
    with cluster.client() as client:
        write(client, "behind", 150)

        def is_compacted() -> bool:
            write(client, "more", 10)
            return log_of(cluster, cluster.leader(among)).get("first_index", 0) > index + 1

        eventually("the leader's log no longer holds what the follower needs", is_compacted)


def contents(cluster: NodeProcesses, node_id: int) -> list[tuple[bytes, bytes, int, int]]:
    """What this node itself holds."""
    with Client(cluster.address(node_id, "client"), is_pinned=True) as client:
        found = client.scan(b"\0", b"\xff", level="local")
        return [(kv.key, kv.value, kv.mod_revision, kv.version) for kv in found]


def all_hold_the_same(cluster: NodeProcesses) -> None:
    def have_applied_the_same() -> bool:
        answers = [cluster.status(node_id) for node_id in cluster.node_ids]
        return len({(a.get("applied"), a.get("commit")) for a in answers}) == 1

    eventually("all nodes have applied the same", have_applied_the_same)
    first, *rest = [contents(cluster, node_id) for node_id in cluster.node_ids]
    assert first
    assert all(other == first for other in rest)


def leave_behind(cluster: NodeProcesses) -> int:
    """Kills a follower and writes until it can only be helped by a snapshot."""
    follower = a_follower(cluster)
    with cluster.client() as client:
        write(client, "before", 5)
    applied = cluster.status(follower)["applied"]
    cluster.kill(follower)
    others = [node_id for node_id in cluster.node_ids if node_id != follower]
    write_until_compacted_past(cluster, applied + 5, others)
    return follower


def test_a_follower_behind_the_compacted_log_catches_up_through_a_snapshot(
    compacting: NodeProcesses,
) -> None:
    follower = leave_behind(compacting)
    compacting.start(follower)
    leader = compacting.leader()
    all_hold_the_same(compacting)
    assert "snapshot sent" in compacting.log(leader)
    eventually(
        "the follower's log begins where the snapshot ends (this is published once a tick)",
        lambda: log_of(compacting, follower).get("first_index", 0) > 100,
    )
    assert "restored snapshot" in compacting.log(follower)


def test_a_follower_catches_up_through_a_snapshot_while_writes_go_on(
    compacting: NodeProcesses,
) -> None:
    follower = leave_behind(compacting)
    stopping = threading.Event()
    written: list[str] = []
    with compacting.client() as client:

        def go_on_writing() -> None:
            while not stopping.is_set():
                client.put(f"meanwhile/{len(written) % 50}", str(len(written)))
                written.append("")

        writer = threading.Thread(target=go_on_writing)
        writer.start()
        try:
            compacting.start(follower)
            leader = compacting.leader()
            target = compacting.status(leader)["commit"]
            eventually(
                "the follower has caught up under load",
                lambda: compacting.status(follower).get("applied", 0) >= target,
            )
        finally:
            stopping.set()
            writer.join()
    assert written
    assert "snapshot sent" in compacting.log(leader)
    all_hold_the_same(compacting)


def test_a_follower_that_got_a_snapshot_restarts_from_it(compacting: NodeProcesses) -> None:
    follower = leave_behind(compacting)
    compacting.start(follower)
    compacting.leader()
    all_hold_the_same(compacting)
    compacting.kill(follower)
    with compacting.client() as client:
        write(client, "after", 5)
    compacting.start(follower)
    compacting.leader()
    all_hold_the_same(compacting)
