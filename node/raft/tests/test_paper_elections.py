"""The Raft paper, §5.1 and §5.2: terms, roles, and who wins an election."""

import random
from collections.abc import Callable

import pytest
from raft_network import ELECTION_TIMEOUT_TICKS, Server, grant, refuse

from metastore.node.raft.messages import (
    AppendEntries,
    Heartbeat,
    RequestVote,
    RequestVoteReply,
)
from metastore.node.raft.model import Entry, HardState, Role


def follower() -> Server:
    server = Server(1)
    server.step(Heartbeat(sender=2, to=1, term=1))
    server.read()
    return server


def candidate() -> Server:
    server = Server(1)
    server.core.campaign()
    server.read()
    return server


def leader() -> Server:
    server = Server(1)
    server.elect()
    return server


ROLES = [
    pytest.param(follower, id="follower"),
    pytest.param(candidate, id="candidate"),
    pytest.param(leader, id="leader"),
]
FOLLOWER_OR_CANDIDATE = ROLES[:2]


@pytest.mark.parametrize("make", ROLES)
def test_a_server_that_sees_a_larger_term_takes_it_and_follows(make: Callable[[], Server]) -> None:
    # §5.1: If one server's current term is smaller than the other's, then it updates its current
    # term to the larger value. If a candidate or leader discovers that its term is out of date, it
    # immediately reverts to follower state.
    server = make()
    assert server.core.term == 1
    server.step(AppendEntries(sender=2, to=1, term=2))
    assert (server.core.term, server.core.role) == (2, Role.FOLLOWER)
    assert server.core.leader_id == 2


def test_a_request_with_a_stale_term_has_no_effect() -> None:
    # §5.1: If a server receives a request with a stale term number, it rejects the request.
    server = Server(1, hard_state=HardState(term=2))
    entry = Entry(1, 1, data=b"stale")
    server.step(AppendEntries(sender=2, to=1, term=1, entries=(entry,), commit_index=1))
    assert server.read() == []
    assert (server.core.term, server.core.leader_id, server.log) == (2, 0, [])
    assert server.core.commit_index == 0


def test_servers_start_as_followers() -> None:
    # §5.2: When servers start up, they begin as followers.
    assert Server(1).core.role is Role.FOLLOWER


def test_a_leader_sends_heartbeats_to_all_followers() -> None:
    # §5.2: Leaders send periodic heartbeats to all followers in order to maintain their authority.
    server = leader()
    for _ in range(10):
        server.core.propose(b"")
    server.read()
    server.tick()
    assert server.read() == [
        Heartbeat(sender=1, to=2, term=1, commit_index=0),
        Heartbeat(sender=1, to=3, term=1, commit_index=0),
    ]


@pytest.mark.parametrize("make", FOLLOWER_OR_CANDIDATE)
def test_a_server_that_hears_no_leader_starts_an_election(make: Callable[[], Server]) -> None:
    # §5.2: It increments its current term, transitions to candidate state, votes for itself and
    # issues RequestVote to each of the other servers. A candidate that neither wins nor loses does
    # it again.
    server = make()
    server.tick(2 * ELECTION_TIMEOUT_TICKS - 1)
    assert (server.core.term, server.core.role) == (2, Role.CANDIDATE)
    assert server.voted_for == 1
    assert server.read() == [
        RequestVote(sender=1, to=2, term=2, last_log_index=0, last_log_term=0),
        RequestVote(sender=1, to=3, term=2, last_log_index=0, last_log_term=0),
    ]


@pytest.mark.parametrize(
    ("size", "yes", "no", "role"),
    [
        (1, "", "", Role.LEADER),
        (3, "23", "", Role.LEADER),
        (3, "2", "", Role.LEADER),
        (5, "2345", "", Role.LEADER),
        (5, "234", "", Role.LEADER),
        (5, "23", "", Role.LEADER),
        (3, "", "23", Role.FOLLOWER),
        (5, "", "2345", Role.FOLLOWER),
        (5, "2", "345", Role.FOLLOWER),
        (3, "", "", Role.CANDIDATE),
        (5, "2", "", Role.CANDIDATE),
        (5, "", "23", Role.CANDIDATE),
        (5, "", "", Role.CANDIDATE),
    ],
)
def test_a_majority_of_votes_wins_and_a_majority_of_refusals_loses(
    size: int, yes: str, no: str, role: Role
) -> None:
    # §5.2: A candidate wins an election if it receives votes from a majority of the servers in the
    # full cluster for the same term.
    server = Server(1, voters=range(1, size + 1))
    server.core.campaign()
    requests = {str(one.to): one for one in server.read() if isinstance(one, RequestVote)}
    if size > 1:
        assert len(requests) == size - 1
    server.step(*(grant(requests[node]) for node in yes))
    server.step(*(refuse(requests[node]) for node in no))
    assert (server.core.role, server.core.term) == (role, 1)


@pytest.mark.parametrize(
    ("voted_for", "requester", "refused"),
    [(0, 2, False), (0, 3, False), (2, 2, False), (3, 3, False), (2, 3, True), (3, 2, True)],
)
def test_a_server_votes_for_at_most_one_candidate_in_a_term(
    voted_for: int, requester: int, refused: bool
) -> None:
    # §5.2: Each server will vote for at most one candidate in a given term, on a
    # first-come-first-served basis.
    server = Server(1, hard_state=HardState(term=1, voted_for=voted_for))
    server.step(RequestVote(sender=requester, to=1, term=1))
    assert server.read() == [
        RequestVoteReply(sender=1, to=requester, term=1, rejected=refused),
    ]
    assert server.voted_for == (voted_for or requester)


def test_a_vote_is_durable_before_it_leaves() -> None:
    # Figure 2: persistent state is updated on stable storage before responding to RPCs.
    server = Server(1)
    server.step(RequestVote(sender=2, to=1, term=1))
    ready = server.core.ready()
    assert ready.hard_state == HardState(term=1, voted_for=2)
    assert ready.must_sync


def test_a_restarted_server_remembers_its_vote() -> None:
    server = Server(1)
    server.step(RequestVote(sender=2, to=1, term=1))
    server.read()
    again = Server(1, hard_state=server.storage.initial_state()[0])
    again.step(RequestVote(sender=3, to=1, term=1))
    assert again.read() == [RequestVoteReply(sender=1, to=3, term=1, rejected=True)]


def test_a_server_that_knows_the_leader_of_the_term_gives_nobody_its_vote() -> None:
    server = follower()
    assert server.voted_for == 0
    server.step(RequestVote(sender=3, to=1, term=1, last_log_index=9, last_log_term=1))
    assert server.read() == [RequestVoteReply(sender=1, to=3, term=1, rejected=True)]
    assert (server.voted_for, server.core.leader_id) == (0, 2)


@pytest.mark.parametrize("term", [1, 2])
def test_a_candidate_yields_to_a_leader_of_its_term_or_a_later_one(term: int) -> None:
    # §5.2: If the leader's term is at least as large as the candidate's current term, then the
    # candidate recognizes the leader as legitimate and returns to follower state.
    server = candidate()
    server.step(AppendEntries(sender=2, to=1, term=term))
    assert (server.core.role, server.core.term) == (Role.FOLLOWER, term)
    assert server.core.leader_id == 2


def ticks_to_campaign(server: Server) -> int:
    term = server.core.term
    for ticks in range(1, 3 * ELECTION_TIMEOUT_TICKS):
        server.tick()
        if server.core.term > term:
            return ticks
    raise AssertionError("no election was started")


def server_in(role: Role, node_id: int, chance: random.Random) -> Server:
    server = Server(node_id, voters=range(1, 6), random=chance)
    if role is Role.CANDIDATE:
        server.core.campaign()
        server.read()
    return server


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_election_timeouts_are_drawn_from_the_whole_interval(role: Role) -> None:
    # §5.2: Election timeouts are chosen randomly from a fixed interval.
    chance = random.Random(1)
    seen = {ticks_to_campaign(server_in(role, 1, chance)) for _ in range(500)}
    assert seen == set(range(ELECTION_TIMEOUT_TICKS, 2 * ELECTION_TIMEOUT_TICKS))


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_in_most_cases_a_single_server_times_out_first(role: Role) -> None:
    # §5.2: This spreads out the servers so that in most cases only a single server will time out.
    chance = random.Random(2)
    rounds, conflicts = 400, 0
    for _ in range(rounds):
        ticks = sorted(ticks_to_campaign(server_in(role, node, chance)) for node in range(1, 6))
        conflicts += ticks[0] == ticks[1]
    assert conflicts / rounds <= 0.3
