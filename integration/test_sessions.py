"""A write whose answer is lost happens once, however often the client has to send it again.

Clients reach the nodes through links that can lose what the nodes answer, and nothing else.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses, eventually
from replicas import wait_for_same_hash, write_past_the_log
from tcp_links import Link, links

from metastore.client import Client, OutcomeUnknown, ops, version
from metastore.client.results import KeyValue

pytestmark = pytest.mark.timeout(120)


@contextmanager
def linked(
    make_cluster: Callable[..., NodeProcesses], *options: str
) -> Iterator[tuple[NodeProcesses, dict[int, Link]]]:
    """A running cluster, and the link by which clients reach each node."""
    cluster = make_cluster(3, options)
    targets = {(0, node_id): cluster.ports[node_id]["client"] for node_id in cluster.node_ids}
    with links(targets) as made:
        by_node = {node_id: link for (_, node_id), link in made.items()}
        cluster.client_port_shown = {node_id: link.port for node_id, link in by_node.items()}
        cluster.start()
        cluster.leader()
        yield cluster, by_node
        cluster.stop()


def counter(client: Client) -> KeyValue:
    """Its `version` counts the puts that were carried out."""
    found = client.get("counter")
    assert found is not None
    return found


def increment(client: Client, before: int) -> bool:
    """Of a register; whether it held `before`. Carried out twice, it would say that it did not."""
    put = ops.put("register", str(before + 1))
    done = client.txn(version("register") == before, [put, ops.put("counter", str(before + 1))])
    return done.succeeded


def write_with_lost_replies(
    cluster: NodeProcesses, leader: int, link: Link, write: Callable[[], object]
) -> threading.Thread:
    """Starts the write and returns when it was carried out, with its answer lost."""
    before = cluster.status(leader)["applied"]
    link.lose_replies()
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    eventually(
        "the write was carried out and its answer lost",
        lambda: link.lost_bytes and cluster.status(leader).get("applied", 0) > before,
    )
    return writer


@BOTH_ENGINES
def test_a_write_without_an_answer_is_repeated_at_the_next_leader_and_happens_once(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    with (
        linked(make_cluster) as (cluster, by_node),
        cluster.client(timeout_s=60) as client,
    ):
        assert increment(client, 0)
        leader = cluster.leader()
        done: list[bool] = []
        writer = write_with_lost_replies(
            cluster, leader, by_node[leader], lambda: done.append(increment(client, 1))
        )
        cluster.kill(leader)
        cluster.leader(cluster.others(leader))
        writer.join(60)
        assert done == [True], "the repetition got another answer than the first sending"
        assert counter(client).version == 2
        by_node[leader].heal()
        cluster.start(leader)
        wait_for_same_hash(cluster, counter(client).mod_revision)


def test_without_a_session_a_lost_answer_is_an_unknown_outcome_and_nothing_is_repeated(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    with (
        linked(make_cluster) as (cluster, by_node),
        cluster.client(timeout_s=60, use_sessions=False) as client,
    ):
        client.put("counter", "0")
        leader = cluster.leader()
        caught: list[Exception] = []

        def write() -> None:
            try:
                client.put("counter", "1")
            except OutcomeUnknown as error:
                caught.append(error)

        writer = write_with_lost_replies(cluster, leader, by_node[leader], write)
        cluster.kill(leader)
        by_node[leader].cut()
        writer.join(60)
        assert len(caught) == 1
        cluster.leader(cluster.others(leader))
        found = counter(client)
        assert (found.value, found.version) == (b"1", 2)


@BOTH_ENGINES
def test_a_session_outlives_a_snapshot_an_install_and_a_restart_of_all_nodes(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    options = ("--snapshot-entries", "100", "--snapshot-trailing-entries", "10")
    with (
        linked(make_cluster, *options) as (cluster, by_node),
        cluster.client(timeout_s=90) as client,
        Client(cluster.endpoints) as other,
    ):
        client.put("counter", "0")
        leader = cluster.leader()
        behind, third = cluster.others(leader)
        cluster.kill(behind)
        link = by_node[leader]
        writer = write_with_lost_replies(cluster, leader, link, lambda: client.put("counter", "1"))
        link.heal()
        link.cut()  # the client must not find the leader again before all has happened
        by_node[third].cut()
        applied = cluster.status(leader)["applied"]
        direct = Client(cluster.address(leader, "client"), is_pinned=True)
        with direct:
            write_past_the_log(cluster, direct, applied, [leader, third])
        cluster.start(behind)
        eventually(
            "a snapshot was installed",
            lambda: "restored snapshot" in cluster.log(behind),
        )
        # Whoever leads now has the session from a snapshot: its own or an installed one.
        cluster.kill(*cluster.node_ids)
        cluster.start()
        cluster.leader()
        for each in by_node.values():
            each.heal()
        writer.join(60)
        assert not writer.is_alive()
        found = counter(other)
        assert (found.value, found.version) == (b"1", 2)
        wait_for_same_hash(cluster, found.mod_revision)
