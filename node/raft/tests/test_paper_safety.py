"""The Raft paper, §5.4: what makes a leader's log complete and a commit final."""

from collections.abc import Sequence

import pytest
from raft_network import ELECTION_TIMEOUT_TICKS, Network, Server

from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    RequestVote,
    RequestVoteReply,
)
from metastore.node.raft.model import HardState, Role


@pytest.mark.parametrize(("log", "term"), [((1,), 2), ((1, 2), 3)])
def test_a_vote_request_tells_the_end_of_the_candidates_log(log: Sequence[int], term: int) -> None:
    # §5.4.1: The RequestVote RPC includes information about the candidate's log.
    giver = Server(2, log=log)
    server = Server(1)
    server.step(AppendEntries(sender=2, to=1, term=term - 1, entries=tuple(giver.log)))
    server.read()
    server.tick(2 * ELECTION_TIMEOUT_TICKS - 1)
    assert server.read() == [
        RequestVote(sender=1, to=node, term=term, last_log_index=len(log), last_log_term=log[-1])
        for node in (2, 3)
    ]


@pytest.mark.parametrize(
    ("log", "last_term", "last_index", "refused"),
    [
        # same last term
        ((1,), 1, 1, False),
        ((1,), 1, 2, False),
        ((1, 1), 1, 1, True),
        # the candidate's is later
        ((1,), 2, 1, False),
        ((1,), 2, 2, False),
        ((1, 1), 2, 1, False),
        # the voter's is later
        ((2,), 1, 1, True),
        ((2,), 1, 2, True),
        ((2, 2), 1, 1, True),
    ],
)
def test_a_voter_denies_its_vote_if_its_own_log_is_more_up_to_date(
    log: Sequence[int], last_term: int, last_index: int, refused: bool
) -> None:
    # §5.4.1: The voter denies its vote if its own log is more up-to-date than the candidate's.
    server = Server(1, voters=(1, 2), log=log)
    server.step(
        RequestVote(sender=2, to=1, term=3, last_log_term=last_term, last_log_index=last_index)
    )
    assert server.read() == [RequestVoteReply(sender=1, to=2, term=3, rejected=refused)]


@pytest.mark.parametrize(("index", "commit_index"), [(1, 0), (2, 0), (3, 3)])
def test_only_entries_of_the_leaders_term_commit_by_counting_replicas(
    index: int, commit_index: int
) -> None:
    # §5.4.2: Only log entries from the leader's current term are committed by counting replicas;
    # once an entry from the current term has been committed in this way, then all prior entries are
    # committed indirectly.
    server = Server(1, voters=(1, 2), log=(1, 2), hard_state=HardState(term=2))
    server.elect()
    assert server.core.term == 3
    server.core.propose(b"")
    server.read()
    server.step(AppendEntriesReply(sender=2, to=1, term=3, index=index))
    assert server.core.commit_index == commit_index


def test_an_old_entry_on_a_majority_can_still_be_overwritten() -> None:
    # §5.4.2, Figure 8: the leader of term 4 has its entry of term 2 on a majority (c), and yet the
    # server with the entry of term 3 wins (d). So that entry must not have been committed.
    old = Server(1, voters=range(1, 6), log=(1, 2), hard_state=HardState(term=3, commit_index=1))
    for node in (2, 3):
        old.elect()
        old.step(AppendEntriesReply(sender=node, to=1, term=old.core.term, index=2))
    assert old.core.role is Role.LEADER
    assert old.core.commit_index == 1

    network = Network(
        *(
            Server(node, voters=range(1, 6), log=log, hard_state=HardState(4, 0, 1))
            for node, log in {2: (1, 2), 3: (1, 2), 4: (1,), 5: (1, 3)}.items()
        )
    )
    network.hup(5)
    assert network[5].core.role is Role.LEADER
    assert [network[node].terms for node in (2, 3, 4)] == [[1, 3, 5]] * 3


def test_a_server_that_lacks_what_a_majority_holds_cannot_win() -> None:
    # §5.4.1: a candidate must contact a majority of the cluster in order to be elected, which means
    # that every committed entry must be present in at least one of those servers.
    network = Network.with_logs((1,), (1, 2), (1, 2))
    network.hup(1)
    network.hup(1)
    assert network[1].core.role is Role.FOLLOWER
    network.hup(2)
    assert network[2].core.role is Role.LEADER
    assert network[1].terms == network[3].terms == network[2].terms
