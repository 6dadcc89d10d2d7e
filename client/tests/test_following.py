"""A client stays with its cluster while members come, go and move, and uses no witness."""

from collections.abc import Callable
from typing import Any

import pytest
from fake_node import FakeNode

from metastore.client import Client, NotLeader, nodes


def read_until(client: Client, condition: Callable[[], bool]) -> None:
    """Reads until it is so; each read lets time pass for what a client does now and then."""
    for _ in range(20_000):
        if condition():
            return
        client.get("a")
    pytest.fail("it did not happen")


@pytest.mark.parametrize("is_leader_named", [True, False])
def test_a_client_at_work_follows_a_cluster_whose_nodes_all_move_one_by_one(
    make_cluster: Any, monkeypatch: pytest.MonkeyPatch, is_leader_named: bool
) -> None:
    monkeypatch.setattr(nodes, "REFRESH_S", 0.01)
    cluster = make_cluster(2, leader_id=1)
    old = list(cluster.nodes)
    named = cluster[1 if is_leader_named else 2]
    with Client(named.client_address) as client:
        client.put("a", "1")
        # The follower moves; the client hears of it though nothing fails for it.
        cluster.nodes[1] = FakeNode(cluster, 2)
        old[1].stop()
        greeted = old[0].hellos_count
        read_until(client, lambda: old[0].hellos_count > greeted + 1)
        cluster.nodes[0] = FakeNode(cluster, 1)
        cluster.leader_id = 2
        old[0].stop()
        item = client.get("a")
        assert item is not None
        assert item.value == b"1"
        cluster.leader_id = 1
        client.put("a", "2")


def test_reads_and_watches_leave_out_a_witness_that_the_user_named(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=2)
    witness, holder = cluster.nodes
    cluster.witness_ids.add(1)
    witness.default_act = "not_leader"
    with Client([witness.client_address, holder.client_address]) as client:
        client.put("a", "1")
        for _ in range(3):
            item = client.get("a", level="local")
            assert item is not None
            assert item.value == b"1"
        witness.requests.clear()
        client.get("a", level="local")
        client.watch("a").close()
        assert witness.requests == []
        assert witness.watch_frames == []


def test_a_client_pinned_to_a_witness_hears_where_the_leader_is(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=2)
    cluster.witness_ids.add(1)
    cluster[1].default_act = "not_leader"
    with (
        Client(cluster[1].client_address, is_pinned=True) as client,
        pytest.raises(NotLeader) as caught,
    ):
        client.get("a", level="local")
    assert caught.value.leader_address == cluster[2].client_address
