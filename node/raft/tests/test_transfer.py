"""Handing leadership over (§3.10 of the dissertation): to whom, and when the leader gives up."""

from typing import Any

import pytest
from raft_network import ELECTION_TIMEOUT_TICKS, Network, Server

from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.messages import (
    AppendEntriesReply,
    InstallSnapshot,
    RequestPreVote,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TransferLeadership,
)
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    Role,
    Transition,
)
from metastore.node.raft.progress import ProgressState


def elected(**settings: Any) -> Network:
    """Three nodes, of which 1 leads."""
    network = Network.of(3, **settings)
    network.hup(1)
    assert network[1].core.role is Role.LEADER
    return network


def transfer(network: Network, to: int, *, asked_at: int = 1) -> None:
    network[asked_at].core.transfer_leadership(to)
    network.settle()


def target(network: Network) -> int:
    return network[1].core.raft.transfer_target


def is_led_by(network: Network, leader: int) -> bool:
    """Node 1 is sure who leads, and no transfer of its own is pending."""
    core = network[1].core
    role = Role.LEADER if leader == 1 else Role.FOLLOWER
    return (core.role, core.leader_id, target(network)) == (role, leader, 0)


SETTINGS = [
    pytest.param({}, id="plain"),
    pytest.param({"check_quorum": True}, id="check quorum"),
    pytest.param({"pre_vote": True}, id="pre-vote"),
    pytest.param({"pre_vote": True, "check_quorum": True}, id="both"),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_leadership_goes_to_a_node_with_a_full_log_and_back(settings: dict[str, Any]) -> None:
    # LeaderTransferToUpToDateNode, LeaderTransferWithCheckQuorum; upstream has none with PreVote.
    # Nobody ticks here: the lease of the old leader holds throughout, and must be bypassed.
    network = elected(**settings)
    transfer(network, 2)
    assert is_led_by(network, 2)
    network.prop(1)
    transfer(network, 1, asked_at=2)
    assert is_led_by(network, 1)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_follower_passes_the_wish_on_to_the_leader(settings: dict[str, Any]) -> None:
    # LeaderTransferToUpToDateNodeFromFollower
    network = elected(**settings)
    transfer(network, 2, asked_at=2)
    assert is_led_by(network, 2)
    network.prop(1)
    transfer(network, 1, asked_at=1)
    assert is_led_by(network, 1)


def test_the_target_campaigns_at_once_without_asking_whether_it_may() -> None:
    # A pre-vote would be refused by all who hear the leader, and cost a round trip if it were not.
    network = elected(pre_vote=True, check_quorum=True)
    network.delivered.clear()
    transfer(network, 2)
    requests = [m for m in network.delivered if isinstance(m, RequestVote | RequestPreVote)]
    assert [type(request) for request in requests] == [RequestVote, RequestVote]
    assert all(request.forced for request in requests)


def test_an_ordinary_campaign_does_not_bypass_the_lease() -> None:
    # §4.2.3: the mark is for transfers only, or the lease would protect nothing.
    network = elected(check_quorum=True)
    network.hup(2)
    assert network[2].core.role is Role.CANDIDATE
    assert is_led_by(network, 1)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_target_that_is_behind_catches_up_first(settings: dict[str, Any]) -> None:
    # LeaderTransferToSlowFollower
    network = elected(**settings)
    network.isolate(3)
    network.prop(1)
    network.heal()
    assert network[1].core.status().progress[3].match_index == 1
    transfer(network, 3)
    assert is_led_by(network, 3)
    assert len(network[3].data) == 1


def test_a_target_that_needs_a_snapshot_leads_after_it_has_confirmed_it() -> None:
    # LeaderTransferAfterSnapshot
    network = elected()
    network.isolate(3)
    network.prop(1)
    leader = network[1]
    leader.storage.create_snapshot(2, ConfigurationState(voters=(1, 2, 3)))
    leader.storage.compact(2)
    network.heal()
    held: list[AppendEntriesReply] = []

    def hold(message: object) -> bool:
        if not isinstance(message, AppendEntriesReply) or message.sender != 3 or message.rejected:
            return True
        held.append(message)
        return False

    network.filter = hold
    transfer(network, 3)
    assert any(isinstance(message, InstallSnapshot) for message in network.delivered)
    assert (leader.core.role, target(network)) == (Role.LEADER, 3)
    assert leader.core.status().progress[3].state is ProgressState.SNAPSHOT
    assert network[3].core.last_applied == 2
    network.filter = lambda message: True
    network.send(*held)
    assert is_led_by(network, 3)


@pytest.mark.parametrize("to", [1, 4])
def test_a_transfer_to_oneself_or_to_a_stranger_changes_nothing(to: int) -> None:
    # LeaderTransferToSelf, LeaderTransferToNonExistingNode
    network = elected()
    transfer(network, to)
    assert is_led_by(network, 1)


def test_a_transfer_to_a_learner_changes_nothing() -> None:
    network = Network(*(Server(node, voters=(1, 2), learners=(3,)) for node in (1, 2, 3)))
    network.hup(1)
    transfer(network, 3)
    assert is_led_by(network, 1)
    assert not any(isinstance(message, TimeoutNow) for message in network.delivered)


def test_without_a_leader_a_wish_for_a_transfer_is_dropped() -> None:
    server = Server(1)
    server.core.transfer_leadership(2)
    assert server.read() == []
    assert server.core.raft.drops == {"no leader to ask for a transfer": 1}


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_transfer_is_given_up_after_an_election_timeout(settings: dict[str, Any]) -> None:
    # LeaderTransferTimeout
    network = elected(**settings)
    network.isolate(3)
    transfer(network, 3)
    assert target(network) == 3
    network.tick(1)
    assert target(network) == 3
    network.tick(1, ELECTION_TIMEOUT_TICKS - 1)
    assert is_led_by(network, 1)
    network.prop(1)


def test_a_transfer_has_a_whole_election_timeout_from_when_it_is_asked() -> None:
    network = elected()
    network.tick(1, ELECTION_TIMEOUT_TICKS - 1)
    network.isolate(3)
    transfer(network, 3)
    network.tick(1, ELECTION_TIMEOUT_TICKS - 1)
    assert target(network) == 3
    network.tick(1)
    assert target(network) == 0


def test_no_proposal_is_taken_while_a_transfer_is_pending() -> None:
    # LeaderTransferIgnoreProposal. §3.10, step 1: the leader stops accepting new requests.
    network = elected()
    network.isolate(3)
    transfer(network, 3)
    with pytest.raises(ProposalDropped):
        network.prop(1)
    assert network[1].core.status().progress[1].match_index == 1
    assert network[1].core.last_index == 1


def test_a_vote_of_a_higher_term_ends_a_pending_transfer() -> None:
    # LeaderTransferReceiveHigherTermVote
    network = elected()
    network.isolate(3)
    transfer(network, 3)
    network.hup(2)
    assert is_led_by(network, 2)


def test_a_transfer_to_a_node_that_is_removed_is_given_up() -> None:
    # LeaderTransferRemoveNode
    network = elected()
    network.ignore(TimeoutNow)
    transfer(network, 3)
    assert target(network) == 3
    network[1].core.apply_change(ConfigurationChange((Change(ChangeType.REMOVE, 3),)))
    assert is_led_by(network, 1)


def test_a_transfer_to_a_node_that_is_demoted_is_given_up_when_it_stops_voting() -> None:
    # LeaderTransferDemoteNode
    network = elected()
    network.ignore(TimeoutNow)
    transfer(network, 3)
    demotion = ConfigurationChange((Change(ChangeType.ADD_LEARNER, 3),), Transition.JOINT_EXPLICIT)
    network[1].core.apply_change(demotion)
    assert target(network) == 3  # it still votes in the outgoing half
    network[1].core.apply_change(ConfigurationChange())
    assert is_led_by(network, 1)


def test_a_transfer_back_to_the_leader_ends_the_pending_one() -> None:
    # LeaderTransferBack
    network = elected()
    network.isolate(3)
    transfer(network, 3)
    transfer(network, 1)
    assert is_led_by(network, 1)


def test_a_second_transfer_to_another_node_replaces_the_first() -> None:
    # LeaderTransferSecondTransferToAnotherNode
    network = elected()
    network.isolate(3)
    transfer(network, 3)
    transfer(network, 2)
    assert is_led_by(network, 2)


def test_a_second_transfer_to_the_same_node_gets_no_more_time() -> None:
    # LeaderTransferSecondTransferToSameNode
    network = elected()
    network.isolate(3)
    transfer(network, 3)
    network.tick(1)
    transfer(network, 3)
    network.tick(1, ELECTION_TIMEOUT_TICKS - 1)
    assert is_led_by(network, 1)


def test_a_node_outside_its_configuration_does_not_campaign_when_told_to() -> None:
    # TransferNonMember
    server = Server(1, voters=(2, 3, 4))
    server.step(TimeoutNow(sender=2, to=1, term=1))
    assert server.read() == []
    server.step(*(RequestVoteReply(sender=node, to=1, term=1) for node in (2, 3)))
    assert server.core.role is Role.FOLLOWER


def test_a_target_told_to_campaign_late_keeps_its_leader_if_the_term_has_passed() -> None:
    network = elected()
    network.hup(1)
    late = TimeoutNow(sender=1, to=2, term=1)
    network.hup(3)
    network.send(late)
    assert network[3].core.role is Role.LEADER
    assert network[2].core.leader_id == 3


def test_a_wish_forwarded_by_a_follower_names_the_node_that_shall_lead() -> None:
    network = elected()
    network[3].core.transfer_leadership(2)
    assert network[3].read() == [TransferLeadership(sender=2, to=1, term=1)]
