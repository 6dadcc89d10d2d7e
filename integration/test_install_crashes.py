"""A follower is killed at each step of taking in a snapshot (D5), or it or the leader goes in the
middle of the transfer (D6): it comes back by itself, with the old state or the new one.
"""

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses, eventually
from test_snapshots import all_hold_the_same, leave_behind, write_until_compacted_past

from metastore.client import Client

OPTIONS = ("--snapshot-entries", "100", "--snapshot-trailing-entries", "10")
STEPS_AFTER_RENAME = 8  # the state is swapped, the log begun anew, the old files go
BIG_KEYS, BIG_BYTES = 8, 200_000  # several chunks

pytestmark = [pytest.mark.timeout(300), BOTH_ENGINES]


@pytest.fixture
def compacting(make_cluster: Callable[..., NodeProcesses]) -> NodeProcesses:
    cluster = make_cluster(3, OPTIONS)
    cluster.start()
    cluster.leader()
    with cluster.client() as client:
        write_big_values(client)
    return cluster


def write_big_values(client: Client) -> None:
    chance = random.Random(1)  # random bytes: nothing makes the file smaller
    for number in range(BIG_KEYS):
        client.put(f"big/{number}", chance.randbytes(BIG_BYTES))


def start_until_gone_or_level(cluster: NodeProcesses, follower: int) -> bool:
    """Whether the follower died on its way to where the others are."""
    cluster.start(follower)
    target = cluster.status(cluster.leader(cluster.others(follower)))["commit"]

    def outcome() -> list[bool]:
        if cluster.has_ended(follower):
            return [True]
        applied = cluster.status(follower).get("applied", 0)
        return [False] if applied >= target else []

    died = eventually("the follower has died or caught up", outcome)[0]
    if died:
        assert cluster.wait_gone(follower) == -signal.SIGKILL
    return died


def fall_behind(cluster: NodeProcesses, follower: int) -> None:
    """The follower is down; its next entry goes from the others' logs."""
    others = cluster.others(follower)
    reached = cluster.status(cluster.leader(others))["commit"]
    write_until_compacted_past(cluster, reached, others)


def test_a_follower_killed_at_any_step_of_an_install_comes_back_whole(
    make_cluster: Callable[..., NodeProcesses], tmp_path: Path
) -> None:
    cluster = make_cluster(3, OPTIONS)
    cluster.start()
    follower = leave_behind(cluster)
    steps = tmp_path / "steps"
    cluster.faults[follower] = ["--from-install", "--steps", str(steps)]
    assert not start_until_gone_or_level(cluster, follower)
    cluster.kill(follower)
    names = steps.read_text().split()
    install = names[: names.index("rename") + STEPS_AFTER_RENAME]
    kills = 0
    for number in range(1, len(install) + 1):
        fall_behind(cluster, follower)
        cluster.faults[follower] = ["--from-install", f"kill-before@any:{number}"]
        kills += start_until_gone_or_level(cluster, follower)
        if follower in cluster.pids:
            cluster.kill(follower)
        del cluster.faults[follower]
        assert not start_until_gone_or_level(cluster, follower), install[number - 1]
        all_hold_the_same(cluster)
        cluster.kill(follower)
    assert kills > len(install) // 2


def pause_in_transfer(cluster: NodeProcesses) -> int:
    """A follower that stands still with a part of a snapshot on its disk."""
    follower = leave_behind(cluster)
    cluster.faults[follower] = ["--from-install", "pause@chunk:3"]
    cluster.start(follower)
    eventually("the follower pauses in the transfer", lambda: cluster.is_paused(follower))
    del cluster.faults[follower]
    return follower


def test_a_follower_that_restarts_in_a_transfer_gets_the_snapshot_again(
    compacting: NodeProcesses,
) -> None:
    follower = pause_in_transfer(compacting)
    compacting.kill(follower)
    compacting.start(follower)
    compacting.leader()
    all_hold_the_same(compacting)
    assert "restored snapshot" in compacting.log(follower)


def test_a_new_leader_takes_over_a_transfer_that_the_old_one_left(
    compacting: NodeProcesses,
) -> None:
    follower = pause_in_transfer(compacting)
    first = compacting.leader(compacting.others(follower))
    compacting.kill(first)
    compacting.signal(follower, signal.SIGCONT)
    second = compacting.leader(compacting.others(first))
    assert second not in (first, follower)
    compacting.start(first)
    all_hold_the_same(compacting)
    assert "restored snapshot" in compacting.log(follower)
