"""When an entry is committed, seen from a network and from the pure rule (§5.4.2).

Comments name the upstream test that covers the same ground.
"""

from collections.abc import Sequence

import pytest
from in_office import progress_of
from raft_network import Network, Server

from metastore.node.raft.messages import AppendEntries
from metastore.node.raft.model import HardState, Role
from metastore.node.raft.replication import advance_commit


@pytest.mark.parametrize("second_leader", [1, 2])
def test_everybody_commits_everything_in_the_order_proposed(second_leader: int) -> None:
    # TestLogReplication
    network = Network.of(3)
    network.hup(1)
    network.prop(1, b"first")
    assert {server.core.commit_index for server in network.servers.values()} == {2}
    if second_leader != 1:
        network.hup(second_leader)
    network.prop(second_leader, b"second")
    commit = 3 if second_leader == 1 else 4
    for server in network.servers.values():
        assert server.core.commit_index == commit
        assert [entry.data for entry in server.applied if entry.data] == [b"first", b"second"]


def test_a_single_server_commits_alone() -> None:
    # TestSingleNodeCommit
    network = Network.of(1)
    network.hup(1)
    network.prop(1)
    network.prop(1)
    assert network[1].core.commit_index == 3


def leader_that_reached_one_of_four() -> Network:
    network = Network.of(5)
    network.hup(1)
    for node in (3, 4, 5):
        network.cut(1, node)
    network.prop(1)
    network.prop(1)
    assert network[1].core.commit_index == 1
    network.heal()
    return network


def test_old_entries_wait_for_an_entry_of_the_new_leaders_term() -> None:
    # TestCannotCommitWithoutNewTermEntry; §5.4.2
    network = leader_that_reached_one_of_four()
    network.ignore(AppendEntries)
    network.hup(2)
    assert network[2].core.role is Role.LEADER
    assert network[2].core.commit_index == 1
    network.heal()
    network.beat(2)
    network.prop(2)
    assert network[2].core.commit_index == 5


def test_the_empty_entry_of_a_new_leader_commits_the_old_ones() -> None:
    # TestCommitWithoutNewTermEntry; §8
    network = leader_that_reached_one_of_four()
    network.hup(2)
    assert {server.core.commit_index for server in network.servers.values()} == {4}


@pytest.mark.parametrize(
    ("match", "log", "term", "commit"),
    [
        ((1,), (1,), 1, 1),
        ((1,), (1,), 2, 0),
        ((2,), (1, 2), 2, 2),
        ((1,), (2,), 2, 1),
        # odd
        ((2, 1, 1), (1, 2), 1, 1),
        ((2, 1, 1), (1, 1), 2, 0),
        ((2, 1, 2), (1, 2), 2, 2),
        ((2, 1, 2), (1, 1), 2, 0),
        # even
        ((2, 1, 1, 1), (1, 2), 1, 1),
        ((2, 1, 1, 1), (1, 1), 2, 0),
        ((2, 1, 1, 2), (1, 2), 1, 1),
        ((2, 1, 1, 2), (1, 1), 2, 0),
        ((2, 1, 2, 2), (1, 2), 2, 2),
        ((2, 1, 2, 2), (1, 1), 2, 0),
    ],
)
def test_a_commit_needs_a_majority_and_an_entry_of_the_present_term(
    match: Sequence[int], log: Sequence[int], term: int, commit: int
) -> None:
    # TestCommit; §5.3, §5.4.2
    voters = range(1, len(match) + 1)
    server = Server(1, voters=voters, log=log, hard_state=HardState(term=term))
    for node, index in zip(voters, match, strict=True):
        progress = progress_of(server, node)
        progress.match_index, progress.next_index = index, index + 1
    assert advance_commit(server.core.raft) is (commit > 0)
    assert server.core.commit_index == commit
