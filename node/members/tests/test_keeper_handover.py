"""Moving the leadership by a request, and what becomes of those who wait when it is lost."""

import pytest
from member_cluster import ELECTION_TIMEOUT_TICKS, MemberCluster
from member_records import add, record, remove, update

from metastore.node.raft.messages import AppendEntries, AppendEntriesReply, TimeoutNow
from metastore.transport.framing import ErrorCode
from metastore.transport.member_ops import member_change, move_leader
from metastore.transport.schema import Code


def test_the_leadership_moves_to_whom_it_is_wanted_to() -> None:
    cluster = MemberCluster(3)
    assert cluster.move(3) == (Code.OK, (3,))
    cluster.run()
    assert cluster.leader.id == 3


def test_moving_it_to_the_leader_is_done_already() -> None:
    cluster = MemberCluster(3)
    assert cluster.move(1) == (Code.OK, (1,))


def test_without_a_wish_it_goes_to_the_highest_priority_and_then_to_the_longest_log() -> None:
    cluster = MemberCluster(4)
    cluster.filter = lambda m: not (isinstance(m, AppendEntries) and m.entries and m.to == 2)
    cluster.prop(1)
    cluster.run()
    assert cluster.move() == (Code.OK, (3,))
    cluster.heal()
    cluster.do(update(3, priority=2), update(1, priority=1))
    assert cluster.move() == (Code.OK, (1,))


@pytest.mark.parametrize(
    ("node_id", "code", "message"),
    [
        (9, Code.NOT_FOUND, "metastore: there is no such member: 9; see `member list`"),
        (
            3,
            Code.FAILED_PRECONDITION,
            "metastore: node 3 is a witness: it holds no data and cannot lead; choose a voter",
        ),
        (
            4,
            Code.FAILED_PRECONDITION,
            "metastore: node 4 does not vote and so cannot lead; promote it first",
        ),
        (
            5,
            Code.FAILED_PRECONDITION,
            "metastore: node 5 does not answer; start it first, or choose another one",
        ),
    ],
)
def test_not_everybody_can_lead(node_id: int, code: int, message: str) -> None:
    founders = [record(1), record(2), record(3, "witness"), record(4, "learner"), record(5)]
    cluster = MemberCluster(founders)
    cluster.isolate(5)
    cluster.run(ELECTION_TIMEOUT_TICKS + 1)
    assert cluster.move(node_id) == (code, (message,))


def test_with_nobody_to_follow_the_leader_stays() -> None:
    cluster = MemberCluster([record(1), record(2, "witness")])
    code, fields = cluster.move()
    assert (code, cluster.leader.id) == (Code.FAILED_PRECONDITION, 1)
    assert "node 1 leads and no other voter that holds data answers" in fields[0]


def test_a_move_that_does_not_happen_is_told_after_an_election_timeout() -> None:
    cluster = MemberCluster(3)
    cluster.ignore(TimeoutNow)
    waiter = cluster.send_request(1, move_leader(2))
    cluster.run(ELECTION_TIMEOUT_TICKS - 1)
    assert cluster.outcome(1, waiter) is None
    cluster.run()
    found = cluster.outcome(1, waiter)
    assert found == (
        Code.FAILED_PRECONDITION,
        (
            "metastore: node 2 did not take over the leadership within an election timeout; see "
            "that it runs and is reached, then try again",
        ),
    )


def test_a_removal_whose_handover_failed_is_to_be_asked_again() -> None:
    cluster = MemberCluster(3)
    cluster.ignore(TimeoutNow)
    waiter = cluster.send_request(1, member_change([remove(1)]))
    cluster.run(ELECTION_TIMEOUT_TICKS)
    found = cluster.outcome(1, waiter)
    assert found is not None
    assert found.code == ErrorCode.UNAVAILABLE


def test_nothing_else_is_taken_while_the_leadership_moves() -> None:
    cluster = MemberCluster(3)
    cluster.ignore(TimeoutNow)
    cluster.send_request(1, move_leader(2))
    for waiter in (cluster.begin(1, add(4)), cluster.send_request(1, move_leader(3))):
        found = cluster.outcome(1, waiter)
        assert found is not None
        assert found.code == ErrorCode.UNAVAILABLE


def test_who_waits_for_a_move_that_just_failed_is_not_forgotten_for_another() -> None:
    cluster = MemberCluster(3)
    cluster.ignore(TimeoutNow)
    waiter = cluster.send_request(1, move_leader(2))
    cluster.tick(1, ELECTION_TIMEOUT_TICKS)
    assert cluster.leader.core.transfer_target == 0
    found = cluster.outcome(1, cluster.send_request(1, move_leader(3)))
    assert found is not None
    assert found.code == ErrorCode.UNAVAILABLE
    cluster.run()
    assert cluster.outcome(1, waiter) is not None


def test_the_leadership_does_not_move_while_a_change_is_under_way() -> None:
    # The way out of a joint configuration is not proposed during a handover.
    cluster = MemberCluster(5)
    cluster.send_request(1, member_change([remove(4), remove(5)]))
    found = cluster.outcome(1, cluster.send_request(1, move_leader(2)))
    assert found is not None
    assert found.code == ErrorCode.UNAVAILABLE


def test_if_a_third_node_wins_the_answer_names_it() -> None:
    cluster = MemberCluster(3)
    cluster.ignore(TimeoutNow)
    waiter = cluster.send_request(1, move_leader(2))
    cluster.settle()
    cluster.heal()
    cluster.send(TimeoutNow(sender=1, to=3, term=cluster.leader.core.term))
    cluster.run()
    assert cluster.outcome(1, waiter) == (Code.OK, (3,))


def lost_without_successor(cluster: MemberCluster, wanted: int) -> tuple[bytes, int]:
    """The leader steps down for somebody that it never hears of."""
    cluster.filter = lambda m: not (isinstance(m, AppendEntries) and m.to == 1)
    waiter = cluster.send_request(1, move_leader(wanted))
    cluster.settle()
    cluster.isolate(1)
    cluster.run()
    assert cluster.outcome(1, waiter) is None, "it may hear of a leader yet"
    cluster.run(2 * ELECTION_TIMEOUT_TICKS)
    return waiter


def test_a_leader_that_hears_of_no_successor_sends_who_waits_to_the_others() -> None:
    cluster = MemberCluster(3)
    found = cluster.outcome(1, lost_without_successor(cluster, 2))
    assert found == (ErrorCode.NOT_LEADER, ("nobody is known to lead yet",))


def test_without_a_wish_the_loss_of_the_leadership_is_all_that_was_asked_for() -> None:
    cluster = MemberCluster(3)
    assert cluster.outcome(1, lost_without_successor(cluster, 0)) == (Code.OK, (0,))


# Giving up


def test_a_node_that_loses_the_leadership_sends_on_who_waits_for_a_change() -> None:
    cluster = MemberCluster(3)
    waiter = cluster.send_request(1, member_change([add(4)]))
    cluster.keeper(1).give_up("the leader changed")
    assert cluster.outcome(1, waiter) == (ErrorCode.NOT_LEADER, ("the leader changed",))
    cluster.settle()
    cluster.do(add(4))


def test_who_waits_for_a_handover_goes_on_waiting_when_the_leadership_is_lost() -> None:
    cluster = MemberCluster(3)
    waiter = cluster.send_request(1, move_leader(2))
    cluster.keeper(1).give_up("the leader changed")
    assert cluster.outcome(1, waiter) is None
    cluster.run()
    assert cluster.outcome(1, waiter) == (Code.OK, (2,))


def test_a_node_that_stops_lets_nobody_wait() -> None:
    cluster = MemberCluster(3)
    moving = cluster.send_request(1, move_leader(2))
    cluster.keeper(1).give_up("the node is stopping", is_final=True)
    assert cluster.outcome(1, moving) == (ErrorCode.UNAVAILABLE, ("the node is stopping",))
    other = MemberCluster(3)
    changing = other.send_request(1, member_change([add(4)]))
    other.keeper(1).give_up("the node is stopping", is_final=True)
    assert other.outcome(1, changing) == (ErrorCode.UNAVAILABLE, ("the node is stopping",))


# A node's own removal


def test_a_node_that_applies_its_own_removal_knows_it() -> None:
    cluster = MemberCluster(3)
    assert not cluster.keeper(3).was_removed
    cluster.do(remove(3))
    cluster.run()
    assert cluster.keeper(3).was_removed
    assert not cluster.keeper(2).was_removed


def test_a_node_learns_of_its_removal_from_a_snapshot_too() -> None:
    cluster = MemberCluster(4)
    cluster.isolate(3)
    cluster.run(ELECTION_TIMEOUT_TICKS)
    cluster.do(remove(3))
    cluster.keeper(3).on_installed(cluster.membership.encode())
    assert cluster.keeper(3).was_removed


def test_who_led_when_its_removal_was_committed_stays_until_the_others_have_heard() -> None:
    # E2: proposed by node 1, committed by node 3 itself.
    cluster = MemberCluster(3)
    cluster.filter = lambda m: not (isinstance(m, AppendEntriesReply) and m.to == 1)
    cluster.begin(1, remove(3))
    cluster.send(TimeoutNow(sender=1, to=3, term=cluster.leader.core.term))
    assert cluster.keeper(3).membership.removed == (3,)
    cluster.run(ELECTION_TIMEOUT_TICKS - 1)
    assert not cluster.keeper(3).was_removed
    cluster.run()
    assert cluster.keeper(3).was_removed
    cluster.run(2 * ELECTION_TIMEOUT_TICKS)
    assert cluster.membership.removed == (3,)
    assert cluster.leader.id in (1, 2)
