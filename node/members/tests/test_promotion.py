"""What a leader does by itself: promoting who has caught up, handing over to who shall lead."""

import pytest
from member_cluster import ELECTION_TIMEOUT_TICKS, MemberCluster
from member_records import add, join, promote, record, remove, update
from raft_network import Network

from metastore.node.members.promotion import (
    CAUGHT_UP_ENTRIES,
    HANDOVER_ENTRIES,
    HANDOVER_PAUSE_TIMEOUTS,
    Promotion,
)
from metastore.node.raft.messages import AppendEntries, AppendEntriesReply, Message, TimeoutNow
from metastore.transport.member_ops import MemberState

ENTRIES_BEHIND = CAUGHT_UP_ENTRIES + 10


def state(cluster: MemberCluster, node_id: int) -> str:
    found = cluster.membership.get(node_id)
    assert found is not None
    return cluster.membership.state_of(found)


def caught_up(cluster: MemberCluster, node_id: int) -> bool:
    leader = cluster.leader
    promotion = Promotion(leader.core, ELECTION_TIMEOUT_TICKS)
    return promotion.is_caught_up(cluster.membership, {node_id}, node_id)


def behind(cluster: MemberCluster, node_id: int, count: int) -> None:
    """The node hears the leader, but `count` entries do not get to it."""
    cluster.filter = lambda m: not (isinstance(m, AppendEntries) and m.entries and m.to == node_id)
    cluster.leader.core.propose_many([b""] * count)
    cluster.settle()
    cluster.run()


def test_a_node_that_joins_votes_as_soon_as_it_has_caught_up() -> None:
    cluster = MemberCluster(3)
    cluster.start(4)
    cluster.do(join(4))
    cluster.run(2)
    assert 4 in cluster.membership.configuration.voters
    assert state(cluster, 4) == MemberState.MEMBER


def test_a_learner_that_shall_stay_one_is_not_promoted() -> None:
    cluster = MemberCluster(3)
    cluster.start(4)
    cluster.do(join(4, "learner"))
    cluster.run(2 * ELECTION_TIMEOUT_TICKS)
    assert cluster.membership.configuration.learners == (4,)


def test_a_node_that_joins_and_is_never_heard_does_not_vote() -> None:
    cluster = MemberCluster(3)
    cluster.do(join(4))
    cluster.run(2 * ELECTION_TIMEOUT_TICKS)
    assert state(cluster, 4) == MemberState.JOINING


def test_a_promotion_waits_for_the_change_that_somebody_asked_for() -> None:
    cluster = MemberCluster(3)
    cluster.start(4)
    cluster.do(join(4))
    cluster.filter = lambda m: not (isinstance(m, AppendEntriesReply) and m.sender in (2, 3))
    waiter = cluster.begin(1, add(5))
    cluster.run(2)
    assert (cluster.outcome(1, waiter), state(cluster, 4)) == (None, MemberState.JOINING)
    cluster.heal()
    cluster.prop(1)
    assert cluster.outcome(1, waiter) is not None
    cluster.run(2)
    assert state(cluster, 4) == MemberState.MEMBER


def test_who_fell_silent_has_not_caught_up() -> None:
    cluster = MemberCluster(3)
    cluster.start(4)
    cluster.do(join(4, "learner"))
    cluster.run()
    assert caught_up(cluster, 4)
    cluster.isolate(4)
    cluster.run(ELECTION_TIMEOUT_TICKS + 1)
    assert "has not caught up" in cluster.refusal(promote(4))


def test_who_is_far_behind_the_commit_index_has_not_caught_up() -> None:
    cluster = MemberCluster(3)
    cluster.start(4)
    cluster.do(join(4, "learner"))
    cluster.run()
    behind(cluster, 4, CAUGHT_UP_ENTRIES)
    assert caught_up(cluster, 4)
    behind(cluster, 4, 1)
    assert not caught_up(cluster, 4)


def test_who_has_not_the_entry_that_made_the_record_has_not_caught_up() -> None:
    cluster = MemberCluster(3)
    cluster.start(4)
    cluster.do(join(4, "learner"))
    cluster.run()
    behind(cluster, 4, 0)
    cluster.do(update(2, priority=0), add(5))
    assert not caught_up(cluster, 4)


def test_a_second_learner_does_not_wait_for_one_that_cannot_be_promoted() -> None:
    # With node 2, witnesses would be the majority; node 3 makes room for it.
    cluster = MemberCluster([record(1), record(4, "witness")])
    for node_id, role in ((2, "witness"), (3, "voter")):
        cluster.start(node_id)
        cluster.do(join(node_id, role))
    cluster.run(ELECTION_TIMEOUT_TICKS)
    assert cluster.membership.configuration.voters == (1, 2, 3, 4)


# The leadership


def test_the_highest_priority_follows_a_leader_that_has_to_go_whatever_its_log() -> None:
    cluster = MemberCluster([*map(record, (1, 2, 3)), record(4, "learner", priority=9)])
    cluster.do(update(3, priority=5), update(1, priority=5))
    promotion = Promotion(cluster.leader.core, ELECTION_TIMEOUT_TICKS)
    behind(cluster, 3, 5)
    assert promotion.successor_or_none(cluster.membership, {2, 3, 4}) == 3
    assert promotion.successor_or_none(cluster.membership, {2, 4}) == 2
    assert promotion.successor_or_none(cluster.membership, {1, 4}) is None


def test_the_leadership_may_be_moved_against_the_priorities_but_not_for_long() -> None:
    cluster = MemberCluster(3)
    cluster.do(update(1, priority=5))
    cluster.move(2)
    cluster.run(ELECTION_TIMEOUT_TICKS // 2)
    assert cluster.leader.id == 2
    cluster.run(ELECTION_TIMEOUT_TICKS)
    assert cluster.leader.id == 1


def preferring(node_id: int, count: int = 3) -> MemberCluster:
    cluster = MemberCluster(count)
    cluster.do(update(node_id, priority=5))
    return cluster


def transfers(cluster: Network) -> list[int]:
    """To whom the leadership was offered, in order."""
    return [m.to for m in cluster.delivered if isinstance(m, TimeoutNow)]


def test_a_leader_hands_over_to_a_higher_priority_and_stays_there() -> None:
    cluster = preferring(2)
    cluster.run(ELECTION_TIMEOUT_TICKS)
    assert cluster.leader.id == 2
    cluster.run(3 * ELECTION_TIMEOUT_TICKS)
    assert (cluster.leader.id, transfers(cluster)) == (2, [2])


def test_of_several_the_highest_priority_leads() -> None:
    cluster = MemberCluster(3)
    cluster.do(update(2, priority=1), update(3, priority=2))
    cluster.run(ELECTION_TIMEOUT_TICKS)
    assert cluster.leader.id == 3


@pytest.mark.parametrize("priority", [0, 3])
def test_an_equal_priority_is_no_reason_to_move(priority: int) -> None:
    cluster = MemberCluster(3)
    cluster.do(update(1, priority=priority), update(2, priority=priority))
    cluster.run(3 * ELECTION_TIMEOUT_TICKS)
    assert (cluster.leader.id, transfers(cluster)) == (1, [])


def test_neither_a_witness_nor_a_learner_nor_the_silent_are_handed_the_leadership() -> None:
    founders = [record(1), record(2), record(3, "witness"), record(4, "learner"), record(5)]
    cluster = MemberCluster(founders)
    cluster.isolate(5)
    cluster.do(update(3, priority=9), update(4, priority=9), update(5, priority=9))
    cluster.run(3 * ELECTION_TIMEOUT_TICKS)
    assert (cluster.leader.id, transfers(cluster)) == (1, [])


def test_nobody_far_behind_is_handed_the_leadership() -> None:
    # Nothing can be written until a successor has everything.
    cluster = MemberCluster(3)
    behind(cluster, 2, HANDOVER_ENTRIES + 1)
    cluster.do(update(2, priority=5))
    cluster.run(3 * ELECTION_TIMEOUT_TICKS)
    assert (cluster.leader.id, transfers(cluster)) == (1, [])
    assert cluster.leader.core.transfer_target == 0
    cluster.heal()
    cluster.run(2 * ELECTION_TIMEOUT_TICKS)
    assert cluster.leader.id == 2


def test_after_a_failure_the_leader_waits_before_it_tries_again() -> None:
    cluster = preferring(2)
    asked: list[int] = []

    def swallow(message: Message) -> bool:
        if isinstance(message, TimeoutNow):
            asked.append(message.to)
            return False
        return True

    cluster.filter = swallow
    cluster.run(HANDOVER_PAUSE_TIMEOUTS * ELECTION_TIMEOUT_TICKS)
    assert asked == [2]
    cluster.run(2 * ELECTION_TIMEOUT_TICKS)
    assert asked == [2, 2]


def test_a_new_leader_first_finds_out_who_is_there() -> None:
    cluster = MemberCluster(3)
    cluster.do(update(2, priority=5))
    cluster.run(ELECTION_TIMEOUT_TICKS)
    cluster.isolate(2)
    cluster.run(4 * ELECTION_TIMEOUT_TICKS)
    cluster.heal()
    elected = cluster.leader.id
    assert elected != 2
    cluster.run(ELECTION_TIMEOUT_TICKS * (HANDOVER_PAUSE_TIMEOUTS + 1))
    assert cluster.leader.id == 2
    assert cluster.do(remove(elected))
