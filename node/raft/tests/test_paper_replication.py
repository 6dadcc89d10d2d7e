"""The Raft paper, §5.3: how entries reach the followers, commit, and repair diverged logs."""

from collections.abc import Sequence

import pytest
from raft_network import Network, Server, accept, entries_of, grant

from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    Message,
    RequestVote,
)
from metastore.node.raft.model import Entry, HardState


def proposed(server: Server, data: bytes = b"some data") -> list[AppendEntries]:
    server.core.propose(data)
    return appends(server.read())


def appends(messages: Sequence[Message]) -> list[AppendEntries]:
    return [message for message in messages if isinstance(message, AppendEntries)]


def test_a_leader_appends_a_command_and_sends_it_to_all_in_parallel() -> None:
    # §5.3: The leader appends the command to its log as a new entry, then issues AppendEntries RPCs
    # in parallel to each of the other servers to replicate the entry.
    server = Server(1)
    server.lead()
    assert (server.core.last_index, server.core.commit_index) == (1, 1)
    server.core.propose(b"some data")
    ready = server.core.ready()
    entry = Entry(1, 2, data=b"some data")
    assert tuple(ready.entries) == (entry,)
    assert list(ready.messages) == [
        AppendEntries(
            sender=1,
            to=node,
            term=1,
            prev_log_index=1,
            prev_log_term=1,
            entries=(entry,),
            commit_index=1,
        )
        for node in (2, 3)
    ]
    assert (server.core.last_index, server.core.commit_index) == (2, 1)


def test_a_leader_commits_what_a_majority_holds_and_tells_the_followers() -> None:
    # §5.3: When the entry has been safely replicated, the leader applies it. The leader keeps track
    # of the highest index it knows to be committed, and includes it in future AppendEntries RPCs.
    server = Server(1)
    server.lead()
    server.step(*map(accept, proposed(server)))
    ready = server.core.ready()
    assert server.core.commit_index == 2
    assert tuple(ready.committed) == (Entry(1, 2, data=b"some data"),)
    told = appends(ready.messages)
    assert {message.to for message in told} == {2, 3}
    assert {message.commit_index for message in told} == {2}


@pytest.mark.parametrize(
    ("size", "acceptors", "committed"),
    [
        (1, (), True),
        (3, (), False),
        (3, (2,), True),
        (3, (2, 3), True),
        (5, (), False),
        (5, (2,), False),
        (5, (2, 3), True),
        (5, (2, 3, 4), True),
        (5, (2, 3, 4, 5), True),
    ],
)
def test_an_entry_is_committed_once_a_majority_has_it(
    size: int, acceptors: Sequence[int], committed: bool
) -> None:
    # §5.3: A log entry is committed once the leader that created the entry has replicated it on a
    # majority of the servers.
    server = Server(1, voters=range(1, size + 1))
    server.lead()
    before = server.core.commit_index
    messages = proposed(server)
    server.step(*(accept(message) for message in messages if message.to in acceptors))
    assert server.core.commit_index == before + committed


@pytest.mark.parametrize("old", [(), (2,), (1, 2), (1,)])
def test_committing_an_entry_commits_all_entries_before_it(old: Sequence[int]) -> None:
    # §5.3: This also commits all preceding entries in the leader's log, including entries created
    # by previous leaders.
    server = Server(1, log=old, hard_state=HardState(term=2))
    server.lead()
    server.step(*map(accept, proposed(server)))
    server.read()
    first = len(old) + 1
    assert server.applied == [
        *entries_of(old),
        Entry(3, first),
        Entry(3, first + 1, data=b"some data"),
    ]


@pytest.mark.parametrize(("count", "commit"), [(1, 1), (2, 2), (2, 1), (3, 2)])
def test_a_follower_applies_what_it_learns_to_be_committed(count: int, commit: int) -> None:
    # §5.3: Once a follower learns that a log entry is committed, it applies the entry to its local
    # state machine (in log order).
    entries = tuple(Entry(1, index, data=b"%d" % index) for index in range(1, count + 1))
    server = Server(1)
    server.step(AppendEntries(sender=2, to=1, term=1, entries=entries, commit_index=commit))
    server.read()
    assert server.core.commit_index == commit
    assert server.applied == list(entries[:commit])


def test_a_follower_commits_no_further_than_the_message_covers() -> None:
    # Figure 2: commitIndex = min(leaderCommit, index of last new entry): what lies beyond in its
    # log may conflict with the leader's.
    server = Server(1, log=(1, 1, 1))
    server.step(
        AppendEntries(sender=2, to=1, term=2, prev_log_index=1, prev_log_term=1, commit_index=3)
    )
    assert server.core.commit_index == 1


def test_a_heartbeat_never_moves_the_commit_index_backwards() -> None:
    server = Server(1, log=(1, 1), hard_state=HardState(term=1, commit_index=2))
    server.step(Heartbeat(sender=2, to=1, term=1, commit_index=1))
    assert server.core.commit_index == 2


@pytest.mark.parametrize(
    ("prev_term", "prev_index", "index", "rejected", "hint_index", "hint_term"),
    [
        (0, 0, 1, False, 0, 0),  # below the commit index: answered with the commit index
        (1, 1, 1, False, 0, 0),
        (2, 2, 2, False, 0, 0),
        (1, 2, 2, True, 1, 1),
        (3, 3, 3, True, 2, 2),
    ],
)
def test_a_follower_checks_the_entry_before_the_new_ones(
    prev_term: int, prev_index: int, index: int, rejected: bool, hint_index: int, hint_term: int
) -> None:
    # §5.3: If the follower does not find an entry in its log with the same index and term, then it
    # refuses the new entries.
    server = Server(1, log=(1, 2), hard_state=HardState(term=2, commit_index=1))
    server.step(
        AppendEntries(sender=2, to=1, term=2, prev_log_index=prev_index, prev_log_term=prev_term)
    )
    assert server.read() == [
        AppendEntriesReply(
            sender=1,
            to=2,
            term=2,
            index=index,
            rejected=rejected,
            hint_index=hint_index,
            hint_term=hint_term,
        )
    ]


@pytest.mark.parametrize(
    ("prev_index", "prev_term", "new", "log", "unstable"),
    [
        (2, 2, (Entry(3, 3),), [1, 2, 3], (Entry(3, 3),)),
        (1, 1, (Entry(3, 2), Entry(4, 3)), [1, 3, 4], (Entry(3, 2), Entry(4, 3))),
        # What is there already stays there: an old message must not truncate the log.
        (0, 0, (Entry(1, 1),), [1, 2], ()),
        (0, 0, (Entry(3, 1),), [3], (Entry(3, 1),)),
    ],
)
def test_a_follower_replaces_only_what_conflicts(
    prev_index: int,
    prev_term: int,
    new: tuple[Entry, ...],
    log: list[int],
    unstable: tuple[Entry, ...],
) -> None:
    # §5.3: If an existing entry conflicts with a new one (same index but different terms), delete
    # the existing entry and all that follow it. Append any new entries not already in the log.
    server = Server(1, log=(1, 2))
    server.step(
        AppendEntries(
            sender=2,
            to=1,
            term=4,
            prev_log_index=prev_index,
            prev_log_term=prev_term,
            entries=new,
        )
    )
    ready = server.core.ready()
    assert tuple(ready.entries) == unstable
    server.complete(ready)
    assert server.terms == log


LEADER_LOG = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)


@pytest.mark.parametrize(
    "log",
    [
        pytest.param((1, 1, 1, 4, 4, 5, 5, 6, 6), id="a"),
        pytest.param((1, 1, 1, 4), id="b"),
        pytest.param((1, 1, 1, 4, 4), id="b-longer"),
        pytest.param((1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6), id="c"),
        pytest.param((1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7), id="d"),
        pytest.param((1, 1, 1, 4, 4, 4, 4), id="e"),
        pytest.param((1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3), id="f"),
    ],
)
def test_a_leader_brings_every_diverged_log_into_line(log: Sequence[int]) -> None:
    # §5.3, Figure 7: the leader handles inconsistencies by forcing the followers' logs to duplicate
    # its own. Node 3 only votes, or the leader could not win against (d).
    committed = HardState(term=8, commit_index=len(LEADER_LOG))
    network = Network(
        Server(1, log=LEADER_LOG, hard_state=committed),
        Server(2, log=log, hard_state=HardState(term=7)),
    )
    network.hup(1)
    assert network[1].core.term == 9
    network.send(grant(RequestVote(sender=1, to=3, term=9)))
    network.prop(1, b"new")
    assert network[1].terms == [*LEADER_LOG, 9, 9]
    assert network[2].log == network[1].log


def test_a_heartbeat_tells_no_commit_index_beyond_what_the_follower_holds() -> None:
    # The follower would commit whatever it has there, which may be another leader's.
    network = Network.of(3)
    network.drop(1, 3)
    network.hup(1)
    network.prop(1)
    network.heal()
    network.ignore(AppendEntries)
    network.beat(1)
    assert (network[1].core.commit_index, network[3].core.commit_index) == (2, 0)


def test_followers_end_up_with_the_commands_in_the_order_proposed() -> None:
    network = Network.of(3)
    network.hup(1)
    for data in (b"a", b"b", b"c"):
        network.prop(1, data)
    assert [network[node].data for node in (1, 2, 3)] == [[b"a", b"b", b"c"]] * 3
    assert network[1].applied == network[2].applied == network[3].applied
