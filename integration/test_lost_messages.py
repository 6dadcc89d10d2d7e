"""Messages to a peer that is away: dropped, counted and never believed delivered (H1); and nothing
of them is left for its return (H2)."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import zmq
from node_processes import NodeProcesses, eventually
from replicas import details

from metastore.node.codec import decode_messages
from metastore.node.settings_values import parse_cluster_id
from metastore.transport.limits import PEER_SEND_QUEUE_MAX
from metastore.transport.peers import PeerTransport

pytestmark = pytest.mark.timeout(120)

OFTEN = ("--heartbeat-ms", "10", "--election-timeout-ms", "1500")


def dropped(cluster: NodeProcesses, node_id: int, peer: int, reason: str) -> int:
    counters = details(cluster, node_id).get("counters", {})
    return int(counters.get(f"peers.dropped.{peer}.{reason}", 0))


def progress(cluster: NodeProcesses, leader: int, peer: int) -> Any:
    found = details(cluster, leader).get("progress", [])
    return next((p["state"] for p in found if p["node_id"] == peer), None)


@contextmanager
def returned(cluster: NodeProcesses, node_id: int) -> Iterator[PeerTransport]:
    """In the place of a node that is away: what the others send to it."""
    cluster_id = parse_cluster_id(cluster.folder.name)
    bind = cluster.address(node_id, "peer")
    transport = PeerTransport(cluster_id, node_id, node_id, 1, bind, zmq.Context.instance())
    with closing(transport):
        transport.set_members({}, dict.fromkeys(cluster.others(node_id), 0), ())
        yield transport


def terms_heard_on_return(cluster: NodeProcesses) -> tuple[str, int, list[int]]:
    """A node is away for more heartbeats than any queue is long, then another one leads, then it
    returns. How the first leader saw it; the term in the end; and of which term each message was
    that it found, until it had heard the new leader a few times."""
    cluster.start()
    away = cluster.others(cluster.leader())[0]
    rest = cluster.others(away)
    with cluster.client(timeout_s=20) as client:
        old = cluster.leader()
        cluster.kill(away)
        client.put("while", "away")
        # On top of those that a queue would take.
        eventually(
            "each heartbeat is counted with its reason",
            lambda: dropped(cluster, old, away, "not connected") >= PEER_SEND_QUEUE_MAX,
        )
        state = progress(cluster, old, away)
        new = next(node_id for node_id in rest if node_id != old)
        client.move_leader(new)
        assert cluster.leader(rest) == new
    term = int(cluster.status(new)["term"])
    heard: list[int] = []
    with returned(cluster, away) as transport:

        def has_heard_enough() -> bool:
            for sender, payload in transport.drain(1000):
                heard.extend(message.term for message in decode_messages(payload, sender))
            return heard.count(term) >= 5

        eventually("the new leader is heard", has_heard_enough)
    return state, term, heard


def test_a_peer_that_returns_hears_nothing_that_was_said_while_it_was_away(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    state, term, heard = terms_heard_on_return(make_cluster(3, OFTEN))
    assert state == "StateProbe"  # nothing was believed delivered
    assert set(heard) == {term}


def test_without_immediate_a_peer_that_returns_hears_what_a_leader_of_the_past_said(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3, OFTEN)
    cluster.faults = dict.fromkeys(cluster.node_ids, ("--change", "without IMMEDIATE"))
    _, term, heard = terms_heard_on_return(cluster)
    assert len([old for old in heard if old < term]) > 10
