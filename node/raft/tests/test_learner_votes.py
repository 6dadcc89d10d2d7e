"""Learners do not vote by mistake, and can always be promoted (scenario E7)."""

import pytest
from member_checks import LOST
from member_network import Broken, MemberNetwork

from metastore.node.raft.configuration import Tracker
from metastore.node.raft.messages import RequestVoteReply
from metastore.node.raft.model import Transition
from metastore.node.raft.quorum import VoteResult


def two_candidates_and_two_learners() -> MemberNetwork:
    """Of the voters 1 to 3, 1 reaches the learners 4 and 5 only, who would both grant a vote."""
    network = MemberNetwork(learners=(4, 5), pre_vote=False, check_quorum=False)
    network.elect(2)
    network.settle()
    network.part((1, 4, 5), (2, 3))
    network[2].core.step(RequestVoteReply(sender=3, to=2, term=2))
    network[1].core.campaign()
    for learner in (4, 5):  # as if it had been asked
        reply = RequestVoteReply(sender=learner, to=1, term=network[1].core.term)
        network[1].core.step(reply)
    network.kill(2)
    network.restart(2)
    network[2].core.campaign()
    network.steps(5)
    return network


def test_votes_of_learners_do_not_count() -> None:
    network = two_candidates_and_two_learners()
    assert network[2].leads
    assert not network[1].leads


def test_twin_whoever_counts_every_answer_makes_two_leaders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tally(tracker: Tracker) -> tuple[int, int, VoteResult]:
        granted = sum(tracker.votes.values())
        is_won = 2 * granted > len(tracker.configuration.voters)
        return granted, 0, VoteResult.WON if is_won else VoteResult.PENDING

    monkeypatch.setattr(Tracker, "tally", tally)
    with pytest.raises(Broken, match=LOST):
        two_candidates_and_two_learners()


@pytest.mark.parametrize("power", [False, True])
def test_a_learner_stays_one_over_restarts_snapshots_and_silence(power: bool) -> None:
    network = MemberNetwork(learners=(4,))
    network.elect(1)
    network.change(1, "u4", directories={4: 4})  # an update touches records only
    network.settle()
    for server in network.servers.values():
        server.take_snapshot(trailing=0)
    for _ in range(2):
        network.kill(4, power=power)
        network.restart(4)
        assert network[4].members == "voters=(1 2 3) learners=(4)"
        network.part((1, 2, 3), (4,))
        term = network[4].core.term
        network.steps(50)
        network[4].core.campaign()
        assert network[4].core.term == term
        network.heal()
        network.settle()
    network.change(1, "v4")
    network.run(lambda: network[4].members == "voters=(1 2 3 4)", "a promotion")
    network.transfer(4)


@pytest.mark.parametrize(
    "way", [["l4"], ["l4", "r4", "l4"], ["l4", "v4", "l4"], ["l4 r3"], ["l4", "v4", "l4 v3", "l4"]]
)
def test_however_one_became_a_learner_it_can_be_promoted(way: list[str]) -> None:
    network = MemberNetwork()
    network.add(4)
    network.elect(1)
    network.settle()
    for text in way:
        is_joint = " " in text
        network.change(
            1, text, transition=Transition.JOINT_IMPLICIT if is_joint else Transition.AUTO
        )
        network.steps(10)
        network.settle()
        network[1].take_snapshot(trailing=0)
        network.steps(5)
    assert "learners=(4)" in network[1].members
    network.change(1, "v4")
    network.settle(4)
    network.transfer(4)
    assert "4)" in network[4].members.partition("learners")[0]


def test_a_voter_made_learner_by_a_joint_change_votes_until_that_is_left() -> None:
    network = MemberNetwork(voters=(1, 2, 3, 4))
    network.elect(1)
    network.settle()
    network.change(1, "l4 r3", transition=Transition.JOINT_EXPLICIT)
    network.settle()
    assert network[1].members == "voters=(1 2)&&(1 2 3 4) learners_next=(4)"
    network.kill(3)
    network.part((1, 2), (4,))  # the old half needs three of four
    network.propose(1, "needs 4")
    network.steps(5)
    assert not network[1].data
    network.heal()
    network.run(lambda: network[1].data == ["needs 4"], "with 4 it is decided")
    network.change(1, "")
    network.run(lambda: network[1].members == "voters=(1 2) learners=(4)", "the joint one is left")
