"""One candidacy at a time: role changes allowed, own votes that come late, and when an election is
due (§5.2). Comments name the upstream test that covers the same ground."""

import pytest
from in_office import in_office
from raft_network import Server

from metastore.node.raft.messages import Heartbeat, RequestPreVoteReply, RequestVoteReply
from metastore.node.raft.model import HardState, RaftFailed, Role

PRE_VOTE = pytest.mark.parametrize("pre_vote", [False, True], ids=["vote", "pre-vote"])
FOLLOWER, PRE, CANDIDATE, LEADER = Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER


def become(server: Server, role: Role, term: int) -> None:
    raft = server.core.raft
    if role is FOLLOWER:
        raft.become_follower(term, 0)
    elif role is PRE:
        raft.become_pre_candidate()
    elif role is CANDIDATE:
        raft.become_candidate()
    else:
        raft.become_leader()


@pytest.mark.parametrize(
    ("start", "end", "term", "leader"),
    [
        (FOLLOWER, FOLLOWER, 1, 0),
        (FOLLOWER, PRE, 0, 0),
        (FOLLOWER, CANDIDATE, 1, 0),
        (PRE, FOLLOWER, 0, 0),
        (PRE, PRE, 0, 0),
        (PRE, CANDIDATE, 1, 0),
        (PRE, LEADER, 0, 1),
        (CANDIDATE, FOLLOWER, 0, 0),
        (CANDIDATE, PRE, 0, 0),
        (CANDIDATE, CANDIDATE, 1, 0),
        (CANDIDATE, LEADER, 0, 1),
        (LEADER, FOLLOWER, 1, 0),
        (LEADER, LEADER, 0, 1),
    ],
)
def test_a_change_of_role_sets_term_and_leader(
    start: Role, end: Role, term: int, leader: int
) -> None:
    # TestStateTransition; Figure 4
    server = Server(1, voters=(1,))
    server.core.raft.role = start
    become(server, end, term)
    assert server.core.role is end
    assert (server.core.term, server.core.leader_id) == (term, leader)


@pytest.mark.parametrize(("start", "end"), [(FOLLOWER, LEADER), (LEADER, PRE), (LEADER, CANDIDATE)])
def test_a_change_of_role_that_figure_4_does_not_have_is_a_broken_invariant(
    start: Role, end: Role
) -> None:
    # TestStateTransition
    server = Server(1, voters=(1,))
    server.core.raft.role = start
    with pytest.raises(RaftFailed):
        become(server, end, 0)


@PRE_VOTE
def test_ones_own_vote_has_no_effect_after_the_election_is_lost(pre_vote: bool) -> None:
    # TestCandidateSelfVoteAfterLostElection, ...PreVote
    server = Server(1, hard_state=HardState(term=1), pre_vote=pre_vote)
    server.core.campaign()
    ready = server.core.ready()
    server.step(Heartbeat(sender=2, to=1, term=server.core.term))
    assert server.core.role is FOLLOWER
    server.complete(ready)
    assert server.core.role is FOLLOWER
    assert server.core.raft.tracker.tally()[0] == 0


def test_a_late_pre_vote_of_ones_own_is_ignored_by_the_candidate() -> None:
    # TestCandidateDeliversPreCandidateSelfVoteAfterBecomingCandidate
    server = Server(1, pre_vote=True)
    server.core.campaign()
    ready = server.core.ready()
    server.step(*(RequestPreVoteReply(sender=node, to=1, term=1) for node in (2, 3)))
    server.complete(ready)  # brings the own pre-vote
    assert (server.core.role, server.core.raft.tracker.tally()[0]) == (CANDIDATE, 0)
    server.step(RequestVoteReply(sender=2, to=1, term=1))
    assert server.core.role is CANDIDATE
    server.read()  # brings the own vote
    assert server.core.role is LEADER


def test_an_acknowledgement_of_ones_own_from_an_earlier_term_has_no_effect() -> None:
    # TestLeaderMsgAppSelfAckAfterTermChange
    server = Server(1)
    server.lead()
    server.core.propose(b"data")
    ready = server.core.ready()
    server.step(Heartbeat(sender=2, to=1, term=2))
    server.complete(ready)
    assert (server.core.role, server.core.term, server.core.leader_id) == (FOLLOWER, 2, 2)
    assert server.core.commit_index == 1


@PRE_VOTE
def test_a_leader_does_not_campaign(pre_vote: bool) -> None:
    # TestCampaignWhileLeader, TestPreCampaignWhileLeader
    server = in_office(Server(1, pre_vote=pre_vote))
    term = server.core.term
    server.core.campaign()
    assert server.read() == []
    assert (server.core.role, server.core.term) == (LEADER, term)


class Fixed:
    """A chance that always gives the same number."""

    def __init__(self, value: int) -> None:
        self.value = value

    def randrange(self, stop: int, /) -> int:
        assert self.value < stop
        return self.value


@pytest.mark.parametrize(("elapsed", "due"), [(5, 0), (10, 1), (13, 4), (15, 6), (18, 9), (20, 10)])
def test_the_chance_of_a_timeout_rises_evenly_from_one_timeout_to_two(
    elapsed: int, due: int
) -> None:
    # TestPastElectionTimeout, with all ten draws instead of a sample; §5.2
    count = 0
    for draw in range(10):
        server = Server(1, random=Fixed(draw))
        server.core.raft.election_elapsed = elapsed - 1
        server.tick()
        count += server.core.role is CANDIDATE
    assert count == due
