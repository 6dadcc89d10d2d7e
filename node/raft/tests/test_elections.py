"""Elections in a network of servers, with and without PreVote (§5.2 and §5.4.1 of the paper).

Comments name the upstream test that covers the same ground.
"""

import contextlib
from collections.abc import Sequence

import pytest
from in_office import put_in_role
from raft_network import ELECTION_TIMEOUT_TICKS, Network, Server

from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.messages import (
    AppendEntries,
    Heartbeat,
    Message,
    RequestPreVote,
    RequestPreVoteReply,
    RequestVote,
    RequestVoteReply,
)
from metastore.node.raft.model import Entry, HardState, Role

PRE_VOTE = pytest.mark.parametrize("pre_vote", [False, True], ids=["vote", "pre-vote"])
LIVE: tuple[int, ...] = ()
HOLE = None


def roles(network: Network) -> list[Role]:
    return [server.core.role for server in network.servers.values()]


def terms(network: Network) -> list[int]:
    return [server.core.term for server in network.servers.values()]


def last_indexes(network: Network) -> list[int]:
    return [server.core.last_index for server in network.servers.values()]


@PRE_VOTE
@pytest.mark.parametrize(
    ("logs", "role", "term"),
    [
        ((LIVE, LIVE, LIVE), Role.LEADER, 1),
        ((LIVE, LIVE, HOLE), Role.LEADER, 1),
        ((LIVE, HOLE, HOLE), Role.CANDIDATE, 1),
        ((LIVE, HOLE, HOLE, LIVE), Role.CANDIDATE, 1),
        ((LIVE, HOLE, HOLE, LIVE, LIVE), Role.LEADER, 1),
        # three logs are further along than the candidate's
        ((LIVE, (1,), (1,), (1, 1), LIVE), Role.FOLLOWER, 1),
    ],
)
def test_a_candidate_that_reaches_a_majority_is_elected(
    logs: Sequence[Sequence[int] | None], role: Role, term: int, pre_vote: bool
) -> None:
    # TestLeaderElection, TestLeaderElectionPreVote; §5.2
    network = Network.with_logs(*logs, pre_vote=pre_vote)
    network.hup(1)
    if pre_vote and role is Role.CANDIDATE:
        role, term = Role.PRE_CANDIDATE, 0
    assert (network[1].core.role, network[1].core.term) == (role, term)


@PRE_VOTE
def test_every_server_can_lead_in_its_turn(pre_vote: bool) -> None:
    # TestLeaderCycle, TestLeaderCyclePreVote
    network = Network.of(3, pre_vote=pre_vote)
    for leader in (1, 2, 3):
        network.hup(leader)
        expected = [Role.LEADER if node == leader else Role.FOLLOWER for node in (1, 2, 3)]
        assert roles(network) == expected


@PRE_VOTE
def test_an_uncommitted_later_log_is_overwritten_by_a_majority_that_lacks_it(
    pre_vote: bool,
) -> None:
    # TestLeaderElectionOverwriteNewerLogs, ...PreVote; §5.3
    voters = range(1, 6)
    voted = HardState(term=2, voted_for=3)
    network = Network(
        Server(1, voters=voters, log=(1,), pre_vote=pre_vote),
        Server(2, voters=voters, log=(1,), pre_vote=pre_vote),
        Server(3, voters=voters, log=(2,), pre_vote=pre_vote),
        Server(4, voters=voters, hard_state=voted, pre_vote=pre_vote),
        Server(5, voters=voters, hard_state=voted, pre_vote=pre_vote),
    )
    network.hup(1)  # finds out about term 2
    assert (network[1].core.role, network[1].core.term) == (Role.FOLLOWER, 2)
    network.hup(1)
    assert (network[1].core.role, network[1].core.term) == (Role.LEADER, 3)
    assert [server.terms for server in network.servers.values()] == [[1, 3]] * 5


@pytest.mark.parametrize("role", list(Role))
def test_a_vote_is_granted_in_any_role_to_a_later_term(role: Role) -> None:
    # TestVoteFromAnyState; §5.1
    server = put_in_role(Server(1, hard_state=HardState(term=1)), role)
    term = server.core.term + 1
    server.step(RequestVote(sender=2, to=1, term=term, last_log_term=term, last_log_index=42))
    assert server.read()[-1] == RequestVoteReply(sender=1, to=2, term=term)
    assert (server.core.role, server.core.term, server.voted_for) == (Role.FOLLOWER, term, 2)


@pytest.mark.parametrize("role", list(Role))
def test_a_pre_vote_is_granted_in_any_role_and_changes_nothing(role: Role) -> None:
    # TestPreVoteFromAnyState; §9.6 of the dissertation
    server = put_in_role(Server(1, hard_state=HardState(term=1)), role)
    server.read()
    before = (server.core.role, server.core.term, server.voted_for)
    term = server.core.term + 1
    server.step(RequestPreVote(sender=2, to=1, term=term, last_log_term=term, last_log_index=42))
    assert server.read()[-1] == RequestPreVoteReply(sender=1, to=2, term=term)
    assert (server.core.role, server.core.term, server.voted_for) == before


def duel(pre_vote: bool) -> Network:
    """Nodes 1 and 3 campaign without hearing each other; 1 wins, and then 3 tries again."""
    network = Network.of(3, pre_vote=pre_vote)
    network.cut(1, 3)
    network.hup(1)
    network.hup(3)
    assert roles(network)[0] is Role.LEADER
    assert roles(network)[2] is (Role.FOLLOWER if pre_vote else Role.CANDIDATE)
    network.heal()
    network.hup(3)
    return network


def test_a_candidate_that_cannot_win_still_deposes_the_leader_without_pre_vote() -> None:
    # TestDuelingCandidates
    network = duel(pre_vote=False)
    assert roles(network) == [Role.FOLLOWER] * 3
    assert terms(network) == [2, 2, 2]
    assert last_indexes(network) == [1, 1, 0]


def test_a_pre_candidate_that_cannot_win_disturbs_nobody() -> None:
    # TestDuelingPreCandidates; §9.6 of the dissertation
    network = duel(pre_vote=True)
    assert roles(network) == [Role.LEADER, Role.FOLLOWER, Role.FOLLOWER]
    assert terms(network) == [1, 1, 1]
    assert last_indexes(network) == [1, 1, 0]


def test_a_candidate_concedes_to_the_leader_of_its_term_and_takes_its_log() -> None:
    # TestCandidateConcede; §5.2
    network = Network.of(3)
    network.isolate(1)
    network.hup(1)
    network.hup(3)
    network.heal()
    network.beat(3)
    network.prop(3, b"force follower")
    network.beat(3)
    assert (network[1].core.role, network[1].core.term) == (Role.FOLLOWER, 1)
    expected = [Entry(1, 1), Entry(1, 2, data=b"force follower")]
    assert [server.log for server in network.servers.values()] == [expected] * 3


@PRE_VOTE
def test_a_single_server_elects_itself(pre_vote: bool) -> None:
    # TestSingleNodeCandidate, TestSingleNodePreCandidate
    network = Network.of(1, pre_vote=pre_vote)
    network.hup(1)
    assert network[1].core.role is Role.LEADER


def test_an_append_of_a_deposed_leader_is_ignored() -> None:
    # TestOldMessages; §5.1
    network = Network.of(3)
    for leader in (1, 2, 1):
        network.hup(leader)
    stale = Entry(2, 3, data=b"stale")
    network.send(
        AppendEntries(sender=2, to=1, term=2, prev_log_index=2, prev_log_term=2, entries=(stale,))
    )
    network.prop(1)
    for server in network.servers.values():
        assert server.terms == [1, 2, 3, 3]
        assert server.data == [b"somedata"]


@PRE_VOTE
@pytest.mark.parametrize(
    ("role", "last_index", "last_term", "voted_for", "refused"),
    [
        *((Role.FOLLOWER, index, term, 0, term < 3) for index in (0, 1) for term in range(4)),
        *((Role.FOLLOWER, index, term, 0, term < 2) for index in (2, 3) for term in range(4)),
        (Role.FOLLOWER, 3, 2, 2, False),
        (Role.FOLLOWER, 3, 2, 1, True),
        (Role.LEADER, 3, 3, 1, True),
        (Role.PRE_CANDIDATE, 3, 3, 1, True),
        (Role.CANDIDATE, 3, 3, 1, True),
    ],
)
def test_a_vote_depends_on_the_logs_and_on_an_earlier_vote(
    role: Role, last_index: int, last_term: int, voted_for: int, refused: bool, pre_vote: bool
) -> None:
    # TestRecvMsgVote, TestRecvMsgPreVote; §5.2, §5.4.1: own log [2, 2], request at the own term
    term = max(2, last_term)
    if role in (Role.LEADER, Role.CANDIDATE):
        hard_state = HardState(term=term - 1)
    else:
        hard_state = HardState(term=term, voted_for=voted_for)
    server = put_in_role(Server(1, log=(2, 2), hard_state=hard_state), role)
    server.read()
    assert (server.core.term, server.voted_for) == (term, voted_for)
    request_class = RequestPreVote if pre_vote else RequestVote
    reply_class = RequestPreVoteReply if pre_vote else RequestVoteReply
    server.step(
        request_class(sender=2, to=1, term=term, last_log_term=last_term, last_log_index=last_index)
    )
    assert server.read() == [reply_class(sender=1, to=2, term=term, rejected=refused)]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    ("message", "leader"),
    [
        (RequestVote(sender=2, to=1, term=3, last_log_term=3, last_log_index=9), 0),
        (AppendEntries(sender=2, to=1, term=3), 2),
    ],
    ids=["vote", "append"],
)
def test_every_server_steps_down_for_a_later_term(
    role: Role, message: Message, leader: int
) -> None:
    # TestAllServerStepdown; §5.1
    before = HardState(term=0 if role in (Role.CANDIDATE, Role.LEADER) else 1)
    server = put_in_role(Server(1, hard_state=before), role)
    server.read()
    assert server.core.term == 1
    server.step(message)
    server.read()
    assert (server.core.role, server.core.term) == (Role.FOLLOWER, 3)
    assert server.core.leader_id == leader
    assert server.core.last_index == (1 if role is Role.LEADER else 0)


@pytest.mark.parametrize("message_class", [Heartbeat, AppendEntries])
def test_a_candidate_of_an_earlier_term_follows_the_leader_it_hears(
    message_class: type[Heartbeat] | type[AppendEntries],
) -> None:
    # TestCandidateResetTermMsgHeartbeat, ...MsgApp; §5.1
    network = Network.of(3)
    network.hup(1)
    network.isolate(3)
    network.hup(2)
    network.hup(1)
    outsider, leader = network[3].core, network[1].core
    ticks = 0
    while outsider.role is not Role.CANDIDATE:
        outsider.tick()
        ticks += 1
        assert ticks < 2 * ELECTION_TIMEOUT_TICKS
    assert (outsider.term, leader.term) == (2, 3)
    network.heal()
    network.send(message_class(sender=1, to=3, term=leader.term))
    assert (outsider.role, outsider.term, outsider.leader_id) == (Role.FOLLOWER, 3, 1)
    assert leader.role is Role.LEADER


@PRE_VOTE
@pytest.mark.parametrize(
    ("size", "holes", "succeeds"),
    [
        (3, (), True),
        (3, (3,), True),
        (3, (2, 3), False),
        (4, (2, 3), False),
        (5, (2, 3), True),
    ],
)
def test_a_proposal_needs_a_leader(
    size: int, holes: Sequence[int], succeeds: bool, pre_vote: bool
) -> None:
    # TestProposal: without a leader every log stays empty
    network = Network.of(size, holes=holes, pre_vote=pre_vote)
    network.hup(1)
    with contextlib.nullcontext() if succeeds else pytest.raises(ProposalDropped):
        network.prop(1)
    expected = [Entry(1, 1), Entry(1, 2, data=b"somedata")] if succeeds else []
    assert all(server.log == expected for server in network.servers.values())
