"""What a node says of itself in every state, and a node that slept while the others worked."""

import threading
from collections.abc import Callable

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses, eventually
from replicas import paused, wait_for_same_hash

from metastore.client import Client

pytestmark = [pytest.mark.timeout(90), BOTH_ENGINES]


def test_a_node_tells_its_state_whether_it_leads_follows_or_is_alone(
    cluster: NodeProcesses,
) -> None:
    """The fields of RaftStatus, out of the store of the engine."""
    leader = cluster.leader()
    with cluster.client() as client:
        client.put("a", "1")
    commit = cluster.status(leader)["commit"]
    for node_id in cluster.node_ids:
        told = eventually(
            f"node {node_id} has applied all",
            lambda node_id=node_id: (  # type: ignore[misc]
                s if (s := cluster.status(node_id)).get("applied", 0) >= commit else None
            ),
        )
        expected = "leader" if node_id == leader else "follower"
        assert (told["node_id"], told["leader_id"]) == (node_id, leader)
        assert told["state"] == expected
        assert told["applied"] <= told["commit"]
    term = cluster.status(leader)["term"]
    alone = cluster.others(leader)[0]
    cluster.kill(*cluster.others(alone))
    told = eventually(
        "a node without a majority asks for votes, before it raises its term",
        lambda: s if (s := cluster.status(alone)).get("state") == "pre-candidate" else None,
    )
    assert (told["term"], told["leader_id"]) == (term, 0)
    assert told["applied"] == told["commit"] >= commit


def test_a_follower_that_slept_while_others_wrote_ends_up_with_the_same(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3, ("--snapshot-entries", "200", "--snapshot-trailing-entries", "20"))
    cluster.start()
    sleeping = cluster.others(cluster.leader())[0]
    stopping = threading.Event()
    counts = [0, 0, 0]

    def write(number: int) -> None:
        with cluster.client(timeout_s=20) as client:
            while not stopping.is_set():
                counts[number] += 1
                client.put(f"{number}/{counts[number] % 40}", str(counts[number]))
                if counts[number] % 10 == 0:
                    client.delete_range(f"{number}/1", f"{number}/2")

    writers = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(3)]
    for writer in writers:
        writer.start()
    with paused(cluster, sleeping):
        target = sum(counts) + 600
        eventually("the others wrote a lot", lambda: sum(counts) >= target)
        leader = cluster.leader(cluster.others(sleeping))
        commit = cluster.status(leader)["commit"]
    eventually(
        "it catches up although the writers go on",
        lambda: cluster.status(sleeping).get("applied", 0) >= commit,
    )
    stopping.set()
    for writer in writers:
        writer.join(30)
    with Client(cluster.endpoints) as client:
        last = client.put("last", "").revision
    wait_for_same_hash(cluster, last)
