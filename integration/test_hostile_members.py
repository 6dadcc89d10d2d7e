"""Messages that are well made: of who is no member, of a member of the past, and of a member that
has gone mad (H8). The first two say nothing to anybody. A member is believed: Raft bears members
that stop, not such that lie; what of it can be borne is shown here.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
import zmq
from node_processes import NodeProcesses, eventually
from replicas import details

from metastore.node.codec import encode_messages
from metastore.node.raft.messages import AppendEntriesReply, Heartbeat, RequestVote
from metastore.node.settings_values import parse_cluster_id
from metastore.transport.peers import PeerTransport

pytestmark = pytest.mark.timeout(120)
HUGE = 1 << 40
BEARABLE = 1 << 31  # below parts.TERM_LEAP_MAX


@contextmanager
def speaker(
    cluster: NodeProcesses, node_id: int, directory_id: int, bind: str = "tcp://127.0.0.1:*"
) -> Iterator[PeerTransport]:
    """Somebody who calls itself `node_id`, dials all running nodes and speaks as a node does."""
    cluster_id = parse_cluster_id(cluster.folder.name)
    context = zmq.Context.instance()
    with closing(PeerTransport(cluster_id, node_id, directory_id, 99, bind, context)) as transport:
        running = list(cluster.pids)
        places = {other: [cluster.address(other, "peer")] for other in running if other != node_id}
        transport.set_members(places, dict.fromkeys(places, 0), ())
        yield transport


def say_to(
    transport: PeerTransport, node_id: int, own_id: int, term: int, commit_index: int
) -> None:
    """All that could change a node's mind."""
    said = (
        Heartbeat(to=node_id, sender=own_id, term=term, commit_index=commit_index),
        AppendEntriesReply(to=node_id, sender=own_id, term=term, index=1 << 30),
        RequestVote(
            to=node_id,
            sender=own_id,
            term=term,
            last_log_index=1 << 30,
            last_log_term=term,
            forced=True,
        ),
    )
    eventually(
        f"node {own_id} speaks to {node_id}",
        lambda: transport.send(node_id, encode_messages(said)),
    )


def refused(cluster: NodeProcesses, node_id: int, sender: int, reason: str) -> int:
    counters = details(cluster, node_id).get("counters", {})
    return int(counters.get(f"peers.refused.{sender}.{reason}", 0))


def test_who_is_no_member_or_has_another_disk_is_counted_and_not_believed(
    cluster: NodeProcesses,
) -> None:
    leader = cluster.leader()
    term = cluster.status(leader)["term"]
    impostor = cluster.others(leader)[0]

    def are_registered() -> bool:
        members = details(cluster, leader).get("members", [])
        return all(member["directory_id"] for member in members)

    eventually("every member's disk is known", are_registered)
    for node_id, counted_as, reason in ((9, 0, "unknown node"), (impostor, impostor, "lost data")):
        with speaker(cluster, node_id, directory_id=12345) as transport:
            for to in cluster.others(node_id):
                say_to(transport, to, node_id, HUGE, commit_index=HUGE)
                count = functools.partial(refused, cluster, to, counted_as, reason)
                eventually(f"node {to} refuses {node_id}", count)
    assert cluster.leader() == leader
    assert {cluster.status(node_id)["term"] for node_id in cluster.node_ids} == {term}


def test_a_member_is_believed_a_high_term_but_not_one_beyond_all_others(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3)
    cluster.start(1, 2)
    cluster.leader([1, 2])
    with cluster.client(timeout_s=20) as client:
        client.put("before", "it")
        with speaker(cluster, 3, 12345, cluster.address(3, "peer")) as transport:
            # With a commit index beyond its log the node would stop: it has lost its log's end, as
            # far as it can tell.
            say_to(transport, 1, 3, HUGE, commit_index=0)
            eventually(
                "a term beyond all others is counted",
                lambda: details(cluster, 1).get("counters", {}).get("peers.malformed.3"),
            )
            assert cluster.status(1)["term"] < BEARABLE
            say_to(transport, 1, 3, BEARABLE, commit_index=0)
            eventually(
                "a leader of a later term",
                lambda: cluster.status(cluster.leader([1, 2]))["term"] > BEARABLE,
            )
        client.put("after", "it")
        found = client.get("before")
    assert found is not None
    assert found.value == b"it"
