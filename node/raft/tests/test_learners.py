"""Learners (§4.2.1 of the dissertation): they listen and vote, but do not lead and do not count."""

from raft_network import ELECTION_TIMEOUT_TICKS, Network, Server, accept

from metastore.node.raft.messages import (
    AppendEntries,
    HeartbeatReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from metastore.node.raft.model import Change, ChangeType, ConfigurationChange, Role


def test_a_learner_starts_no_election() -> None:
    # LearnerElectionTimeout
    server = Server(2, voters=(1,), learners=(2,))
    server.tick(2 * ELECTION_TIMEOUT_TICKS)
    assert (server.core.role, server.core.term) == (Role.FOLLOWER, 0)


def learning() -> Network:
    """Node 1 leads, node 2 learns."""
    network = Network(*(Server(node, voters=(1,), learners=(2,)) for node in (1, 2)))
    network.hup(1)
    return network


def test_a_learner_does_not_campaign_whoever_tells_it_to() -> None:
    # LearnerCampaign
    network = learning()
    network.hup(2)
    network.send(TimeoutNow(sender=1, to=2, term=1))
    assert network[2].core.role is Role.FOLLOWER
    assert network[1].core.role is Role.LEADER


def test_a_promoted_learner_can_be_elected() -> None:
    # LearnerPromotion
    network = learning()
    network.change(1, ConfigurationChange((Change(ChangeType.ADD_VOTER, 2),)))
    assert not network[2].core.raft.tracker.progress[2].is_learner
    network.tick(2, 2 * ELECTION_TIMEOUT_TICKS)
    assert network[2].core.role is Role.LEADER
    assert network[1].core.leader_id == 2


def test_a_learner_votes() -> None:
    # LearnerCanVote: its configuration may be older than its promotion.
    server = Server(2, voters=(1,), learners=(2,))
    server.step(RequestVote(sender=1, to=2, term=2, last_log_index=11, last_log_term=11))
    assert server.read() == [RequestVoteReply(sender=2, to=1, term=2)]
    assert server.voted_for == 1


def test_a_learner_gets_the_log_and_what_is_committed_of_it() -> None:
    # LearnerLogReplication
    network = learning()
    network.prop(1)
    network.beat(1)
    assert network[2].log == network[1].log
    assert network[2].core.commit_index == network[1].core.commit_index == 2
    assert network[1].core.status().progress[2].match_index == 2


def test_a_learners_copy_of_an_entry_does_not_help_to_commit_it() -> None:
    server = Server(1, voters=(1, 2), learners=(3,))
    server.lead()
    server.core.propose(b"data")
    to_voter, to_learner = [one for one in server.read() if isinstance(one, AppendEntries)]
    server.step(accept(to_learner))
    assert server.core.commit_index == 1
    server.step(accept(to_voter))
    assert server.core.commit_index == 2


def test_a_leader_that_only_its_learners_answer_steps_down() -> None:
    server = Server(1, voters=(1, 2), learners=(3, 4), check_quorum=True)
    server.lead()
    server.tick(ELECTION_TIMEOUT_TICKS)
    server.step(*(HeartbeatReply(sender=node, to=1, term=1) for node in (3, 4)))
    server.tick(ELECTION_TIMEOUT_TICKS)
    assert server.core.role is Role.FOLLOWER
