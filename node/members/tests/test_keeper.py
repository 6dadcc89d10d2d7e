"""The keeper in clusters of cores in memory: growing, shrinking, replacing, repeating."""

import pytest
from member_cluster import CLUSTER_ID, ELECTION_TIMEOUT_TICKS, MemberCluster
from member_records import (
    add,
    directory,
    founded,
    join,
    places,
    promote,
    record,
    remove,
    replace_,
    update,
)

from metastore.node.raft.messages import AppendEntriesReply
from metastore.node.raft.model import Role
from metastore.transport.framing import ErrorCode
from metastore.transport.member_ops import Change, MemberState, member_change
from metastore.transport.schema import Code


def voters(cluster: MemberCluster) -> tuple[int, ...]:
    return cluster.membership.configuration.voters


def let_in(cluster: MemberCluster, node_id: int, role: str = "voter") -> None:
    """The node joins, and whatever the leader does about it is done."""
    cluster.start(node_id)
    cluster.do(join(node_id, role))
    cluster.run(ELECTION_TIMEOUT_TICKS)


def test_a_cluster_grows_from_one_node_to_five_and_back() -> None:
    cluster = MemberCluster(1)
    for node_id in (2, 3, 4, 5):
        let_in(cluster, node_id)
        cluster.prop(1, b"write %d" % node_id)
    assert voters(cluster) == (1, 2, 3, 4, 5)
    assert len({s.keeper.membership for s in map(cluster.at, range(1, 6))}) == 1
    for node_id in (1, 5, 4, 3):
        cluster.do(remove(node_id))
        del cluster.servers[node_id]
        cluster.prop(cluster.leader.id, b"write")
    assert (voters(cluster), cluster.membership.removed) == ((2,), (1, 3, 4, 5))
    assert cluster.leader.data.count(b"write") == 4


def test_a_node_that_joins_learns_first_and_gets_the_record_with_the_log() -> None:
    cluster = MemberCluster(3)
    cluster.start(4)
    found = cluster.do(join(4))
    assert found.members[4].state == MemberState.JOINING
    assert found.fields[:2] == (cluster.leader.id, CLUSTER_ID)
    cluster.run()
    assert cluster.keeper(4).membership == cluster.membership
    assert cluster.at(4).changes[-1] == cluster.membership


@pytest.mark.parametrize("role", ["learner", "witness"])
def test_a_role_lasts(role: str) -> None:
    cluster = MemberCluster(3)
    let_in(cluster, 4, role)
    info = cluster.do(update(4, priority=3)).members[4]
    assert (info.role, info.state) == (role, MemberState.MEMBER)
    assert (4 in voters(cluster)) == (role == "witness")


def test_a_learner_stays_one_through_updates_snapshots_and_a_new_leader_until_promoted() -> None:
    # E7
    cluster = MemberCluster(3)
    let_in(cluster, 4, "learner")
    cluster.do(update(4, places(4, "moved"), priority=7))
    encoded = cluster.membership.encode()
    cluster.keeper(3).on_installed(encoded)
    cluster.move(2)
    cluster.run(ELECTION_TIMEOUT_TICKS)
    info = cluster.do(join(4, host="again")).members[4]
    wanted = (4, "learner", "member", *places(4, "again"), directory(4), 7, "", "")
    assert info == wanted
    assert cluster.at(4).core.role is Role.FOLLOWER
    assert cluster.do(promote(4)).members[4].role == "voter"
    assert 4 in voters(cluster)


def test_a_node_whose_disk_is_gone_is_replaced_and_votes_again() -> None:
    cluster = MemberCluster(3)
    cluster.start(3)  # empty, under its old id
    assert "lost its data" in cluster.refusal(join(3, directory_id=9))
    info = cluster.do(replace_(3)).members[3]
    assert (info.state, info.directory_id) == (MemberState.AWAITED, 0)
    cluster.do(join(3, directory_id=9))
    cluster.run(ELECTION_TIMEOUT_TICKS)
    assert voters(cluster) == (1, 2, 3)
    assert cluster.keeper(3).membership.get(3) == record(3, directory_id=9)


def test_two_voters_are_removed_at_once_through_a_joint_configuration() -> None:
    cluster = MemberCluster(5)
    waiter = cluster.send_request(1, member_change([remove(4), remove(5)]))
    assert cluster.outcome(1, waiter) is None
    cluster.settle()
    assert voters(cluster) == (1, 2, 3)
    assert cluster.membership.configuration.voters_outgoing == ()
    assert cluster.membership.removed == (4, 5)
    joint = [m for m in cluster.leader.changes if m.configuration.voters_outgoing]
    assert [(m.leaving, m.removed, len(m.members)) for m in joint] == [((4, 5), (), 5)]


def test_a_joint_change_is_answered_when_it_is_over_and_no_other_is_taken_meanwhile() -> None:
    cluster = MemberCluster(5)
    # The change itself gets through, the way out of the joint configuration does not.
    first = cluster.leader.core.last_index + 1
    cluster.filter = lambda m: getattr(m, "prev_log_index", 0) < first
    waiter = cluster.begin(1, remove(4), remove(5))
    assert cluster.membership.configuration.voters_outgoing == (1, 2, 3, 4, 5)
    cluster.run()
    assert cluster.outcome(1, waiter) is None
    other = cluster.outcome(1, cluster.begin(1, update(2, priority=1)))
    assert other is not None
    assert other.code == ErrorCode.UNAVAILABLE
    cluster.heal()
    cluster.run(2)
    found = cluster.outcome(1, waiter)
    assert found is not None
    assert set(found.members) == {1, 2, 3}


@pytest.mark.parametrize(
    "change",
    [
        add(6),
        join(6, "learner"),
        promote(4),
        remove(3),
        remove(5),
        update(2, places(2, "moved"), 4),
        replace_(3),
        join(2, host="moved"),
    ],
    ids=str,
)
def test_every_change_may_be_repeated(change: Change) -> None:
    # 5 is awaited, 4 a learner that has caught up
    cluster = MemberCluster(3)
    let_in(cluster, 4, "learner")
    cluster.do(add(5))
    first = cluster.do(change)
    entries = cluster.leader.core.last_index
    again = cluster.do(change)
    assert again == first
    assert cluster.leader.core.last_index == entries, "nothing was written"


def test_a_leader_hands_over_before_it_is_removed_and_the_next_leader_does_it() -> None:
    cluster = MemberCluster(3)
    waiter = cluster.begin(1, remove(1))
    assert cluster.keeper(1).membership.removed == ()
    cluster.run()
    found = cluster.outcome(1, waiter)
    assert found is not None
    assert found.code == ErrorCode.NOT_LEADER
    assert cluster.leader.id != 1
    cluster.do(remove(1))
    assert cluster.keeper(1).was_removed
    assert voters(cluster) == (2, 3)


def test_a_leader_that_nobody_can_follow_is_not_removed() -> None:
    cluster = MemberCluster([record(1), record(2), record(3, "witness")])
    cluster.isolate(2)
    cluster.run(ELECTION_TIMEOUT_TICKS + 1)
    message = cluster.refusal(remove(1), is_forced=True)
    assert message == (
        "metastore: node 1 leads and no other voter that holds data answers; start one first"
    )


def test_a_change_that_would_lose_the_quorum_is_refused_unless_forced() -> None:
    cluster = MemberCluster(3)
    cluster.isolate(3)
    cluster.run(ELECTION_TIMEOUT_TICKS + 1)
    assert cluster.refusal(remove(2)) == (
        "metastore: the change would lose the quorum: of the voters 1, 3 only 1 answers; "
        "missing: 3. Start them first, or repeat with --force"
    )
    assert voters(cluster) == (1, 2, 3)
    cluster.do(remove(2), is_forced=True)
    assert 2 in cluster.membership.removed


@pytest.mark.parametrize(("turns", "counts"), [(-1, True), (0, False)])
def test_a_node_that_was_heard_within_an_election_timeout_counts(turns: int, counts: bool) -> None:
    cluster = MemberCluster(3)
    cluster.isolate(3)
    cluster.run(ELECTION_TIMEOUT_TICKS + turns)
    found = cluster.outcome(1, cluster.begin(1, remove(2)))
    assert found is not None
    assert (found.code == Code.OK) == counts


def test_a_new_leader_refuses_nothing_for_good_before_it_can_know_who_is_alive() -> None:
    cluster = MemberCluster(5)
    cluster.keeper(2)._heard.clear()
    cluster.hup(1)
    cluster.filter = lambda m: not {m.sender, m.to} & {3, 4} or m.sender == 2
    cluster.leader.core.transfer_leadership(2)
    cluster.settle()
    assert cluster.at(2).core.role is Role.LEADER
    early = cluster.outcome(2, cluster.begin(2, remove(1)))
    assert early is not None
    assert early.code == ErrorCode.UNAVAILABLE
    cluster.run()
    early = cluster.outcome(2, cluster.begin(2, remove(1)))
    assert early is not None
    assert early.code == ErrorCode.UNAVAILABLE
    cluster.heal()
    cluster.do(remove(1))


def test_a_change_that_was_lost_with_its_leader_leaves_no_trace() -> None:
    # E4
    cluster = MemberCluster(3)
    before = cluster.membership
    cluster.isolate(1)
    waiter = cluster.begin(1, remove(3))
    assert cluster.outcome(1, waiter) is None
    cluster.run(3 * ELECTION_TIMEOUT_TICKS)
    refused = cluster.outcome(1, waiter)
    assert refused is not None
    assert refused.code == ErrorCode.NOT_LEADER
    cluster.heal()
    cluster.run(ELECTION_TIMEOUT_TICKS)
    assert [cluster.keeper(node_id).membership for node_id in (1, 2, 3)] == [before] * 3
    cluster.do(add(4))
    assert cluster.keeper(1).membership.get(4) == record(4, directory_id=0)


def test_a_leader_takes_no_change_before_it_has_committed_in_its_term() -> None:
    # E1
    cluster = MemberCluster(4)
    cluster.filter = lambda m: not isinstance(m, AppendEntriesReply) or m.to != 2
    cluster.leader.core.transfer_leadership(2)
    cluster.settle()
    leader = cluster.at(2)
    assert leader.core.role is Role.LEADER
    last_index = leader.core.last_index
    found = cluster.outcome(2, cluster.begin(2, add(5)))
    assert found is not None
    assert (found.code, leader.core.last_index) == (ErrorCode.UNAVAILABLE, last_index)


def test_who_does_not_lead_takes_no_change() -> None:
    cluster = MemberCluster(3)
    found = cluster.outcome(2, cluster.begin(2, remove(3)))
    assert found == (ErrorCode.NOT_LEADER, ("this node does not lead; node 1 leads",))


def test_a_request_that_cannot_be_decoded_is_invalid() -> None:
    cluster = MemberCluster(1)
    keeper = cluster.keeper(1)
    for number, data in enumerate((b"\xc1", b"\x91\x92\x31\x01", b"\x91\x91\x30")):
        keeper.request((b"x", number), data)
        assert cluster.at(1).outcomes[(b"x", number)].code == ErrorCode.INVALID


def test_the_last_voter_stays() -> None:
    cluster = MemberCluster(1)
    assert "the only voter cannot be taken out" in cluster.refusal(remove(1), is_forced=True)
    assert "the only voter cannot be taken out" in cluster.refusal(replace_(1), is_forced=True)
    assert cluster.membership == founded(record(1))


def test_the_code_of_a_refusal_is_that_of_the_rule() -> None:
    cluster = MemberCluster(1)
    found = cluster.ask(member_change([remove(9)]))
    assert found.code == Code.NOT_FOUND
