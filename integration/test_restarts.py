"""Nodes killed and started again at once, under their own name, again and again (H3).

In CI a few times; METASTORE_RESTARTS says how often, 200 for a release.
"""

import os
import signal
from collections.abc import Callable

import pytest
from node_processes import NodeProcesses, eventually
from replicas import paused, wait_applied

RESTARTS = int(os.environ.get("METASTORE_RESTARTS", "8"))
# Several times what a process takes to start on a busy machine: then only traffic that does not
# resume can make anybody ask for votes.
PATIENT = ("--election-timeout-ms", "3000", "--heartbeat-ms", "50")

pytestmark = pytest.mark.timeout(120 + 10 * RESTARTS)


def test_traffic_resumes_within_an_election_timeout_after_every_restart(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3, PATIENT)
    cluster.start()
    leader = cluster.leader()
    term = cluster.status(leader)["term"]
    followers = cluster.others(leader)
    with cluster.client(timeout_s=20) as client:
        for number in range(RESTARTS):
            node_id = followers[number % 2]
            cluster.signal(node_id, signal.SIGKILL)
            cluster.wait_gone(node_id)
            cluster.start(node_id)
            # It is heard: with the other follower away, the leader commits with it only ...
            other = followers[1 - number % 2]
            with paused(cluster, other):
                client.put("heard", str(number))
            # ... and it hears.
            commit = eventually("the leader answers", lambda: cluster.status(leader).get("commit"))
            wait_applied(cluster, commit, [node_id])
    # Nobody was without a leader for as long as an election timeout, not once.
    assert cluster.leader() == leader
    assert cluster.status(leader)["term"] == term
    for node_id in followers:
        assert cluster.log(node_id).count("became pre-candidate") == 0


@pytest.mark.skipif(RESTARTS < 50, reason="the long form; test_elections has the short one")
def test_a_leader_that_is_killed_and_returns_at_once_is_a_follower_of_the_next_one(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3)
    cluster.start()
    with cluster.client(timeout_s=20) as client:
        for number in range(RESTARTS // 5):
            leader = cluster.leader()
            cluster.kill(leader)
            cluster.start(leader)
            client.put("round", str(number))
            found = client.get("round")
            assert found is not None
            assert found.value == str(number).encode()
            cluster.leader()
