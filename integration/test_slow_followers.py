"""Writes go on while the log keeps only a few entries: a follower that is slow or paused still
catches up, and nobody is elected meanwhile (D7).
"""

import signal
from collections.abc import Callable

import pytest
from load import Written, start_writers, terms
from node_processes import BOTH_ENGINES, NodeProcesses, eventually
from test_snapshots import all_hold_the_same, log_of

OPTIONS = ("--snapshot-entries", "100", "--snapshot-trailing-entries", "10")
PAUSES = 2
MORE_THAN_IN_FLIGHT = 600  # entries that only a snapshot can bring to the follower

pytestmark = [pytest.mark.timeout(180), BOTH_ENGINES]


def reaches_the_others(cluster: NodeProcesses, follower: int) -> None:
    target = cluster.status(cluster.leader(cluster.others(follower)))["commit"]
    eventually(
        f"node {follower} reaches {target} under load",
        lambda: cluster.status(follower).get("applied", 0) >= target,
    )


def pause_until_left_behind(cluster: NodeProcesses, follower: int) -> None:
    reached = cluster.status(follower)["applied"]
    cluster.signal(follower, signal.SIGSTOP)
    leader = cluster.leader(cluster.others(follower))
    eventually(
        "the leader's log has gone on without the paused follower",
        lambda: log_of(cluster, leader).get("first_index", 0) > reached + MORE_THAN_IN_FLIGHT,
    )
    cluster.signal(follower, signal.SIGCONT)


@pytest.mark.parametrize("fault", [(), ("slow@sync:0",)], ids=["paused", "slow disk and paused"])
def test_a_follower_behind_a_short_log_catches_up_under_writes_and_the_term_stays(
    make_cluster: Callable[..., NodeProcesses], fault: tuple[str, ...]
) -> None:
    cluster = make_cluster(3, OPTIONS)
    cluster.start()
    follower = cluster.others(cluster.leader())[0]
    if fault:
        cluster.kill(follower)
        cluster.faults[follower] = fault
        cluster.start(follower)
    leader, before = cluster.leader(), terms(cluster)
    written = Written()
    with cluster.client() as client:
        writers = start_writers(client, "0")
        try:
            for _ in range(PAUSES):
                pause_until_left_behind(cluster, follower)
                reaches_the_others(cluster, follower)
        finally:
            written.stop(writers)
        written.check(client, "at the end")
    assert (cluster.leader(), terms(cluster)) == (leader, before)
    assert "snapshot sent" in cluster.log(leader)
    all_hold_the_same(cluster)
