"""Exactly one leader, a new one after every kind of loss, and a return that disturbs nobody."""

import signal
from collections.abc import Callable

import pytest
from node_processes import NodeProcesses, eventually
from tcp_links import links

STOP_DEADLINE_S = 2.0  # promised for SIGTERM

pytestmark = pytest.mark.timeout(180)


def others(cluster: NodeProcesses, node_id: int) -> list[int]:
    return [other for other in cluster.node_ids if other != node_id]


def test_three_node_cluster_reports_one_leader_and_one_term(cluster: NodeProcesses) -> None:
    """The original design's integration test: every node reports the real term and leader."""
    leader = cluster.leader()
    answers = [cluster.status(node_id) for node_id in cluster.node_ids]
    assert [answer["node_id"] for answer in answers] == [1, 2, 3]
    assert {answer["leader_id"] for answer in answers} == {leader}
    assert len({answer["term"] for answer in answers}) == 1
    assert sorted(answer["state"] for answer in answers) == ["follower", "follower", "leader"]
    assert all(
        set(answer) == {"node_id", "term", "leader_id", "state", "applied", "commit"}
        for answer in answers
    )


def test_a_cluster_of_five_has_one_leader(make_cluster: Callable[..., NodeProcesses]) -> None:
    five = make_cluster(5)
    five.start()
    five.leader()
    states = [five.status(node_id)["state"] for node_id in five.node_ids]
    assert sorted(states) == ["follower"] * 4 + ["leader"]


@pytest.mark.parametrize("count", [3, 5])
def test_a_killed_leader_is_replaced_and_returns_as_a_follower(
    make_cluster: Callable[..., NodeProcesses], count: int
) -> None:
    cluster = make_cluster(count)
    cluster.start()
    first = cluster.leader()
    cluster.kill(first)
    second = cluster.leader(others(cluster, first))
    term = cluster.status(second)["term"]
    cluster.start(first)
    assert cluster.leader() == second
    assert {cluster.status(node_id)["term"] for node_id in cluster.node_ids} == {term}


@pytest.mark.parametrize("count", [3, 5])
def test_a_paused_leader_is_replaced_and_follows_when_it_wakes(
    make_cluster: Callable[..., NodeProcesses], count: int
) -> None:
    cluster = make_cluster(count)
    cluster.start()
    first = cluster.leader()
    cluster.signal(first, signal.SIGSTOP)
    second = cluster.leader(others(cluster, first))
    with cluster.client() as client:
        client.put("while", "paused")
    cluster.signal(first, signal.SIGCONT)
    assert cluster.leader() == second
    with cluster.client() as client:
        found = client.get("while")
    assert found is not None
    assert found.value == b"paused"


@pytest.mark.parametrize("count", [3, 5])
def test_a_leader_cut_off_is_replaced_and_its_return_raises_no_term(
    make_cluster: Callable[..., NodeProcesses], count: int
) -> None:
    cluster = make_cluster(count)
    targets = {
        (near, far): cluster.ports[far]["peer"]
        for near in cluster.node_ids
        for far in cluster.node_ids
        if near != far
    }
    with links(targets) as network:
        for pair, link in network.items():
            cluster.peer_port_seen_by[pair] = link.port
        cluster.start()
        first = cluster.leader()
        around = [link for pair, link in network.items() if first in pair]
        for link in around:
            link.cut()
        second = cluster.leader(others(cluster, first))
        term = cluster.status(second)["term"]
        eventually(
            "the leader without a quorum stops calling itself one",
            lambda: cluster.status(first)["state"] != "leader",
        )
        for link in around:
            link.heal()
        assert cluster.leader() == second
        assert {cluster.status(node_id)["term"] for node_id in cluster.node_ids} == {term}
        cluster.stop()


def test_a_node_alone_leads_without_waiting_for_a_timeout(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    alone = make_cluster(1, ("--election-timeout-ms", "600000"))
    alone.start()
    assert alone.leader() == 1


def test_a_stopped_leader_hands_over_and_ends_within_two_seconds(cluster: NodeProcesses) -> None:
    first = cluster.leader()
    cluster.signal(first, signal.SIGTERM)
    assert cluster.wait_gone(first, STOP_DEADLINE_S) == 0
    cluster.leader(others(cluster, first))
    assert "handing over the leadership" in cluster.log(first)
    assert "node stopped" in cluster.log(first)
