"""A cluster that is grown, shrunk, repaired and moved while clients write to it."""

import shutil
from collections.abc import Callable

import pytest
from load import Written, start_writers
from node_processes import BOTH_ENGINES, NodeProcesses, eventually
from replicas import details, wait_for_same_hash

from metastore.client import Client, MetastoreError
from metastore.client.results import Member

pytestmark = pytest.mark.timeout(240)
IDENTITY, REMOVED = 6, 7  # exit codes


def member(cluster: NodeProcesses, node_id: int) -> Member | None:
    with cluster.client() as client:
        return next((m for m in client.members() if m.node_id == node_id), None)


def wait_for_state(client: Client, node_id: int, state: str) -> None:
    def has_it() -> bool:
        return any(m.node_id == node_id and m.state == state for m in client.members())

    eventually(f"node {node_id} is {state}", has_it)


def wait_until_gone(cluster: NodeProcesses, node_id: int) -> int:
    """The exit code of a node that ends by itself; it has no place in the cluster afterwards."""
    code = cluster.wait_gone(node_id)
    del cluster.ports[node_id]
    return code


@BOTH_ENGINES
def test_growth_from_one_to_five_and_back_loses_no_write_and_fails_none(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(1)
    cluster.start()
    cluster.leader()
    client = Client(cluster.endpoints[:1], timeout_s=20)
    written = Written()
    writers = start_writers(client, "grow", count=2, timeout_s=20)
    for node_id in (2, 3, 4, 5):
        cluster.join(node_id)
        wait_for_state(client, node_id, "member")
    assert {m.node_id for m in client.members() if m.role == "voter"} == {1, 2, 3, 4, 5}
    wait_for_same_hash(cluster, client.put("r-five", "1").revision)
    # Two at once, which takes a joint configuration; then the leader itself, whoever it is.
    leader = cluster.leader()
    first = [node_id for node_id in cluster.node_ids if node_id != leader][:2]
    client.member_remove(*first)
    for node_id in first:
        assert wait_until_gone(cluster, node_id) == REMOVED
    while len(cluster.node_ids) > 1:
        leader = cluster.leader()
        client.member_remove(leader)
        assert wait_until_gone(cluster, leader) == REMOVED
    cluster.leader()
    written.stop(writers)
    failed = [error for writer in writers for error in writer.failures]
    written.check(client, "after shrinking to one")
    client.close()
    assert not failed, failed[:3]


def test_a_node_that_lost_its_disk_is_refused_until_it_is_replaced(
    cluster: NodeProcesses,
) -> None:
    with cluster.client(timeout_s=20) as client:
        for number in range(20):
            client.put(f"k{number}", "v")
        victim = cluster.others(cluster.leader())[0]
        wait_registered(client, victim)
        old = next(m for m in client.members() if m.node_id == victim)
        cluster.kill(victim)
        shutil.rmtree(cluster.data_dir(victim))
        cluster.start(victim)
        assert cluster.wait_gone(victim) == IDENTITY
        log = cluster.log(victim)
        assert f"metastore member replace {victim}" in log, log[-2000:]
        client.put("meanwhile", "written")

        client.member_replace(victim)
        wait_for_state(client, victim, "awaited")
        shutil.rmtree(cluster.data_dir(victim))
        cluster.join(victim)
        wait_for_state(client, victim, "member")
        new = next(m for m in client.members() if m.node_id == victim)
        assert new.directory_id not in (0, old.directory_id)
        wait_for_same_hash(cluster, client.put("last", "one").revision)


def wait_registered(client: Client, *node_ids: int) -> None:
    def has_directories() -> bool:
        known = {m.node_id for m in client.members() if m.directory_id}
        return known >= set(node_ids)

    eventually(f"nodes {node_ids} are registered", has_directories)


def test_a_removed_member_stays_removed(cluster: NodeProcesses) -> None:
    with cluster.client(timeout_s=20) as client:
        leader = cluster.leader()
        victim = cluster.others(leader)[0]
        wait_registered(client, *cluster.node_ids)
        client.member_remove(victim)
        assert cluster.wait_gone(victim) == REMOVED
        assert "was removed from the cluster" in cluster.log(victim)
        cluster.start(victim)
        assert cluster.wait_gone(victim) == REMOVED
        # With an empty disk it is no other: the number itself is used up.
        shutil.rmtree(cluster.data_dir(victim))
        cluster.start(victim)
        assert cluster.wait_gone(victim) == REMOVED
        rest = cluster.others(victim)
        # All restart, some with a list that still names the removed one: the log's word counts.
        cluster.kill(*rest)
        cluster.start(*rest)
        cluster.leader(rest)
        assert victim not in {m.node_id for m in client.members()}
        assert client.put("still", "here").revision
        with pytest.raises(MetastoreError, match="removed"):
            client.member_add(
                victim,
                **{name: cluster.address(victim, name) for name in cluster.ports[victim]},
            )


def test_all_nodes_move_to_other_addresses(cluster: NodeProcesses) -> None:
    with cluster.client(timeout_s=20) as client:
        client.put("k", "before")
        wait_registered(client, *cluster.node_ids)
    cluster.kill(*cluster.node_ids)
    cluster.give_ports(*cluster.node_ids)
    cluster.start()
    cluster.leader()
    with cluster.client(timeout_s=20) as client:
        kv = client.get("k")
        assert kv is not None
        assert kv.value == b"before"

        def have_moved() -> bool:
            places = {m.node_id: m.client for m in client.members()}
            return places == {n: cluster.address(n, "client") for n in cluster.node_ids}

        eventually("the record has the new addresses", have_moved)
        # One more moves alone: the others' settings do not know where to.
        mover = cluster.others(cluster.leader())[0]
        cluster.kill(mover)
        stale = {node_id: cluster.command(node_id) for node_id in cluster.others(mover)}
        cluster.give_ports(mover)
        told = [word for command in stale.values() for word in command]
        assert cluster.address(mover, "peer") not in " ".join(told)
        cluster.start(mover)
        cluster.leader()
        eventually("the record has the new addresses", have_moved)
        wait_for_same_hash(cluster, client.put("last", "one").revision)


def test_a_change_that_would_lose_the_quorum_is_refused_unless_forced(
    cluster: NodeProcesses,
) -> None:
    with cluster.client(timeout_s=20) as client:
        leader = cluster.leader()
        dead, alive = cluster.others(leader)
        wait_registered(client, *cluster.node_ids)
        cluster.kill(dead)
        eventually(
            "the leader misses the dead node",
            lambda: dead not in details(cluster, leader).get("alive", [dead]),
        )
        with pytest.raises(MetastoreError, match=rf"lose the quorum.*missing: {dead}"):
            client.member_remove(alive)
        assert {m.node_id for m in client.members()} == {1, 2, 3}
        client.member_remove(dead)
        assert {m.node_id for m in client.members()} == {leader, alive}


def test_two_data_nodes_and_a_witness_survive_the_loss_of_one(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(2)
    cluster.start()
    cluster.leader()
    with cluster.client(timeout_s=20) as client:
        cluster.join(3, "--role", "witness")
        wait_for_state(client, 3, "member")
        secret = "what-no-witness-holds"
        for number in range(50):
            client.put(f"k{number}", secret)
        for _ in range(2):
            leader = cluster.leader()
            assert leader != 3, "a witness leads"
            cluster.kill(leader)
            data_node = next(n for n in cluster.others(leader) if n != 3)
            assert cluster.leader([data_node, 3]) == data_node
            client.put("written", f"without {leader}")
            cluster.start(leader)
            cluster.leader()
        held = b"".join(p.read_bytes() for p in cluster.data_dir(3).rglob("*") if p.is_file())
        assert secret.encode() not in held
        assert details(cluster, 3)["store"]["key_count"] == 0


def test_the_leadership_moves_on_request_and_to_who_has_priority(cluster: NodeProcesses) -> None:
    with cluster.client(timeout_s=20) as client:
        first = cluster.leader()
        target = cluster.others(first)[0]
        assert client.move_leader(target) == target
        assert cluster.leader() == target
        preferred = cluster.others(first, target)[0]
        client.member_update(preferred, priority=10)
        eventually("who has priority leads", lambda: cluster.leader() == preferred)
        term = cluster.status(preferred)["term"]
        client.put("k", "v")
        assert cluster.status(preferred)["term"] == term
