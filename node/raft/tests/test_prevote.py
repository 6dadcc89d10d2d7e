"""PreVote, and clusters that are only now switching to it (§9.6 of the dissertation).

Comments name the upstream test that covers the same ground.
"""

from dataclasses import replace

from raft_network import Network, Server

from metastore.node.raft.messages import Heartbeat, RequestPreVote, RequestPreVoteReply
from metastore.node.raft.model import HardState, Role

IN_TERM_1 = HardState(term=1)


def roles(network: Network) -> list[Role]:
    return [server.core.role for server in network.servers.values()]


def terms(network: Network) -> list[int]:
    return [server.core.term for server in network.servers.values()]


def test_a_server_that_missed_two_terms_takes_part_in_the_next_election() -> None:
    # TestNodeWithSmallerTermCanCompleteElection
    network = Network.of(3, pre_vote=True, hard_state=IN_TERM_1)
    network.cut(1, 3)
    network.cut(2, 3)
    network.hup(1)
    network.hup(3)
    assert roles(network) == [Role.LEADER, Role.FOLLOWER, Role.PRE_CANDIDATE]
    network.hup(2)
    assert roles(network) == [Role.FOLLOWER, Role.LEADER, Role.PRE_CANDIDATE]
    assert terms(network) == [3, 3, 1]
    network.heal()
    network.isolate(2)
    network.hup(3)
    network.hup(1)
    assert Role.LEADER in (network[1].core.role, network[3].core.role)


def test_two_candidates_that_both_passed_the_pre_vote_split_the_vote_and_try_again() -> None:
    # TestPreVoteWithSplitVote; §5.2
    network = Network.of(3, pre_vote=True, hard_state=IN_TERM_1)
    network.hup(1)
    network.isolate(1)
    for node in (2, 3):
        network[node].core.campaign()
    network.settle()
    assert roles(network)[1:] == [Role.CANDIDATE, Role.CANDIDATE]
    assert terms(network)[1:] == [3, 3]
    network.hup(2)
    assert roles(network)[1:] == [Role.LEADER, Role.FOLLOWER]
    assert terms(network)[1:] == [4, 4]


def test_followers_that_lost_their_leader_elect_another_in_spite_of_their_leases() -> None:
    # TestPreVoteWithCheckQuorum
    network = Network.of(3, pre_vote=True, check_quorum=True, hard_state=IN_TERM_1)
    network.hup(1)
    network.isolate(1)
    network.hup(3)
    network.hup(2)
    assert roles(network)[1:] == [Role.LEADER, Role.FOLLOWER]


def migrating_cluster() -> Network:
    """Nodes 1 (the leader) and 2 have PreVote in term 2. Node 3 got it only now; before, it had
    campaigned twice without being heard, so its log is behind and its term ahead."""
    network = Network(
        Server(1, pre_vote=True, hard_state=IN_TERM_1),
        Server(2, pre_vote=True, hard_state=IN_TERM_1),
        Server(3, pre_vote=False, hard_state=IN_TERM_1),
    )
    network.hup(1)
    network.isolate(3)
    network.prop(1)
    network.hup(3)
    network.hup(3)
    assert roles(network) == [Role.LEADER, Role.FOLLOWER, Role.CANDIDATE]
    assert terms(network) == [2, 2, 4]
    migrated = network[3].core.raft
    migrated.config = replace(migrated.config, pre_vote=True)
    network.heal()
    return network


def test_a_cluster_that_migrates_to_pre_vote_can_elect() -> None:
    # TestPreVoteMigrationCanCompleteElection
    network = migrating_cluster()
    network.isolate(1)
    network.hup(3)
    network.hup(2)
    assert roles(network)[1:] == [Role.FOLLOWER, Role.PRE_CANDIDATE]
    network.hup(3)
    network.hup(2)
    assert Role.LEADER in roles(network)[1:]


def test_a_pre_candidate_stuck_in_a_later_term_is_freed_by_the_leaders_heartbeat() -> None:
    # TestPreVoteMigrationWithFreeStuckPreCandidate
    network = migrating_cluster()
    for _ in range(2):
        network.hup(3)
        assert roles(network) == [Role.LEADER, Role.FOLLOWER, Role.PRE_CANDIDATE]
        assert terms(network) == [2, 2, 4]
    network.send(Heartbeat(sender=1, to=3, term=2))
    assert (network[1].core.role, network[1].core.term) == (Role.FOLLOWER, 4)


def test_a_pre_vote_request_of_an_earlier_term_is_refused_with_the_present_term() -> None:
    # From that answer the asker learns the term; silence would dead-lock a migration.
    server = Server(1, hard_state=HardState(term=4), pre_vote=True)
    server.step(RequestPreVote(sender=2, to=1, term=3, last_log_term=2, last_log_index=9))
    assert server.read() == [RequestPreVoteReply(sender=1, to=2, term=4, rejected=True)]
