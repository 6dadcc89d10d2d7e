"""CheckQuorum and the lease it gives a leader (§6.2 and §4.2.3 of the dissertation).

Comments name the upstream test that covers the same ground.
"""

from typing import Any

import pytest
from raft_network import ELECTION_TIMEOUT_TICKS, Network, Server

from metastore.node.raft.messages import (
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    RequestPreVote,
    RequestVote,
)
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    HardState,
    Role,
)


def simple(kind: ChangeType, node_id: int) -> ConfigurationChange:
    return ConfigurationChange((Change(kind, node_id),))


def roles(network: Network) -> list[Role]:
    return [server.core.role for server in network.servers.values()]


def terms(network: Network) -> list[int]:
    return [server.core.term for server in network.servers.values()]


def is_leader(server: Server) -> bool:
    return server.core.role is Role.LEADER


def checked_network(**settings: Any) -> Network:
    """Node 1 leads in term 2, nobody's lease has run out."""
    network = Network.of(3, check_quorum=True, hard_state=HardState(term=1), **settings)
    network.hup(1)
    assert roles(network) == [Role.LEADER, Role.FOLLOWER, Role.FOLLOWER]
    assert terms(network) == [2, 2, 2]
    return network


def let_lease_expire(server: Server) -> None:
    """It hears nothing for an election timeout, and does not campaign yet."""
    server.core.set_randomized_election_timeout(ELECTION_TIMEOUT_TICKS + 1)
    server.tick(ELECTION_TIMEOUT_TICKS)


def test_a_leader_that_a_majority_answers_stays() -> None:
    # TestLeaderStepdownWhenQuorumActive
    server = Server(1, check_quorum=True)
    server.elect()
    for _ in range(ELECTION_TIMEOUT_TICKS + 1):
        server.step(HeartbeatReply(sender=2, to=1, term=1))
        server.tick()
    assert server.core.role is Role.LEADER


def test_a_leader_that_nobody_answers_steps_down() -> None:
    # TestLeaderStepdownWhenQuorumLost
    server = Server(1, check_quorum=True)
    server.elect()
    server.tick(ELECTION_TIMEOUT_TICKS + 1)
    assert (server.core.role, server.core.term, server.core.leader_id) == (Role.FOLLOWER, 1, 0)


def test_an_answer_counts_for_one_check_only() -> None:
    server = Server(1, check_quorum=True)
    server.lead()
    server.tick(ELECTION_TIMEOUT_TICKS)
    assert is_leader(server)
    server.tick(ELECTION_TIMEOUT_TICKS)
    assert not is_leader(server)


def test_the_answers_of_learners_keep_no_leader_in_office() -> None:
    server = Server(1, voters=(1, 2, 3), learners=(4, 5), check_quorum=True)
    server.elect()
    for _ in range(ELECTION_TIMEOUT_TICKS):
        server.step(*(HeartbeatReply(sender=node, to=1, term=1) for node in (4, 5)))
        server.tick()
    assert server.core.role is Role.FOLLOWER


def test_a_server_that_hears_its_leader_does_not_answer_a_candidate() -> None:
    # TestLeaderSupersedingWithCheckQuorum
    network = checked_network()
    network.hup(3)
    assert roles(network) == [Role.LEADER, Role.FOLLOWER, Role.CANDIDATE]
    assert terms(network) == [2, 2, 3]
    let_lease_expire(network[2])
    network.hup(3)
    assert network[3].core.role is Role.LEADER
    assert network[1].core.role is Role.FOLLOWER


def test_a_server_whose_lease_ran_out_is_free_to_elect_another() -> None:
    # TestLeaderElectionWithCheckQuorum
    network = checked_network()
    network[1].tick(ELECTION_TIMEOUT_TICKS)
    network[1].read()  # its heartbeats are lost
    let_lease_expire(network[2])
    network.hup(3)
    assert roles(network) == [Role.FOLLOWER, Role.FOLLOWER, Role.LEADER]


def test_a_candidate_stuck_in_a_later_term_is_freed_by_deposing_the_leader() -> None:
    # TestFreeStuckCandidateWithCheckQuorum
    network = checked_network()
    network.isolate(1)
    for term in (3, 4):
        network.hup(3)
        assert roles(network)[1:] == [Role.FOLLOWER, Role.CANDIDATE]
        assert terms(network) == [2, 2, term]
    network.heal()
    network.send(Heartbeat(sender=1, to=3, term=2))
    assert (network[1].core.role, network[1].core.term) == (Role.FOLLOWER, 4)
    network.hup(3)
    assert network[3].core.role is Role.LEADER


def test_a_voter_that_removed_itself_still_follows_and_never_campaigns() -> None:
    # TestNonPromotableVoterWithCheckQuorum
    network = Network.of(2, check_quorum=True)
    network[2].core.apply_change(simple(ChangeType.REMOVE, 2))
    assert not network[2].core.raft.is_promotable
    network[2].tick(2 * ELECTION_TIMEOUT_TICKS)
    network.hup(1)
    assert roles(network) == [Role.LEADER, Role.FOLLOWER]
    assert network[2].core.leader_id == 1


def test_without_pre_vote_a_follower_that_timed_out_deposes_the_leader() -> None:
    # TestDisruptiveFollower
    network = checked_network()
    network[3].tick(2 * ELECTION_TIMEOUT_TICKS)
    requests = network[3].read()
    assert {type(message) for message in requests} == {RequestVote}
    network.send(Heartbeat(sender=1, to=3, term=2))
    assert roles(network) == [Role.FOLLOWER, Role.FOLLOWER, Role.CANDIDATE]
    assert terms(network) == [3, 2, 3]


def test_with_pre_vote_a_follower_that_is_behind_disturbs_nobody() -> None:
    # TestDisruptiveFollowerPreVote
    network = checked_network(pre_vote=True)
    network.isolate(3)
    for _ in range(3):
        network.prop(1)
    network.heal()
    network.hup(3)
    assert roles(network) == [Role.LEADER, Role.FOLLOWER, Role.PRE_CANDIDATE]
    assert terms(network) == [2, 2, 2]
    network.send(Heartbeat(sender=1, to=3, term=2))
    assert roles(network) == [Role.LEADER, Role.FOLLOWER, Role.FOLLOWER]


def test_a_node_that_just_joined_counts_as_active_at_the_next_check() -> None:
    # TestAddNodeCheckQuorum: it could not have answered yet
    server = Server(1, voters=(1,), check_quorum=True)
    server.elect()
    server.tick(ELECTION_TIMEOUT_TICKS - 1)
    server.core.apply_change(simple(ChangeType.ADD_VOTER, 2))
    server.tick()
    assert is_leader(server)
    server.tick(ELECTION_TIMEOUT_TICKS)
    assert not is_leader(server)


@pytest.mark.parametrize("pre_vote", [False, True], ids=["vote", "pre-vote"])
def test_a_transfer_asks_for_no_pre_vote_and_waits_for_no_lease(pre_vote: bool) -> None:
    # §3.10 of the dissertation: the leader itself wants to be replaced
    network = checked_network(pre_vote=pre_vote)
    network.delivered.clear()
    network[1].core.transfer_leadership(2)
    network.settle()
    assert roles(network) == [Role.FOLLOWER, Role.LEADER, Role.FOLLOWER]
    assert terms(network) == [3, 3, 3]
    assert RequestPreVote not in {type(message) for message in network.delivered}
    assert all(m.forced for m in network.delivered if isinstance(m, RequestVote))


@pytest.mark.parametrize("setting", ["check_quorum", "pre_vote"])
def test_a_leader_of_an_earlier_term_is_told_the_present_one(setting: str) -> None:
    # Else a node in a later term, which neither campaigns nor follows, would be cut off for good.
    on: dict[str, Any] = {setting: True}
    server = Server(1, hard_state=HardState(term=5), **on)
    server.step(Heartbeat(sender=2, to=1, term=3))
    assert server.read() == [AppendEntriesReply(sender=1, to=2, term=5)]
