"""Replication between one leader and its followers: what is sent, answered and sent again (§5.3).

Comments name the upstream test that covers the same ground.
"""

from collections.abc import Sequence

import pytest
from in_office import appends, in_office, progress_of, proposed
from raft_network import Network, Server, accept, entries_of

from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    Propose,
)
from metastore.node.raft.model import Entry, HardState, Role
from metastore.node.raft.progress import ProgressState


@pytest.mark.parametrize("holes", [(), (3,)])
def test_a_follower_forwards_a_proposal_to_the_leader(holes: Sequence[int]) -> None:
    # TestProposalByProxy; §8
    network = Network.of(3, holes=holes)
    network.hup(1)
    network.prop(2)
    assert [type(one) for one in network.delivered].count(Propose) == 1
    expected = [Entry(1, 1), Entry(1, 2, data=b"somedata")]
    assert all(server.log == expected for server in network.servers.values())
    assert network[1].core.term == 1


@pytest.mark.parametrize(
    ("prev_term", "prev_index", "leader_commit", "new", "last", "commit", "refused"),
    [
        # does not connect
        (3, 2, 3, (), 2, 0, True),
        (3, 3, 3, (), 2, 0, True),
        # connects, with and without conflict
        (1, 1, 1, (), 2, 1, False),
        (0, 0, 1, (Entry(2, 1),), 1, 1, False),
        (2, 2, 3, (Entry(2, 3), Entry(2, 4)), 4, 3, False),
        (2, 2, 4, (Entry(2, 3),), 3, 3, False),
        (1, 1, 4, (Entry(2, 2),), 2, 2, False),
        # commits what the message covers and no more
        (1, 1, 3, (), 2, 1, False),
        (1, 1, 3, (Entry(2, 2),), 2, 2, False),
        (2, 2, 3, (), 2, 2, False),
        (2, 2, 4, (), 2, 2, False),
    ],
)
def test_a_follower_takes_what_connects_and_commits_what_the_message_covers(
    prev_term: int,
    prev_index: int,
    leader_commit: int,
    new: tuple[Entry, ...],
    last: int,
    commit: int,
    refused: bool,
) -> None:
    # TestHandleMsgApp; Figure 2, receiver of AppendEntries
    server = Server(1, log=(1, 2), hard_state=HardState(term=2))
    server.step(
        AppendEntries(
            sender=2,
            to=1,
            term=2,
            prev_log_term=prev_term,
            prev_log_index=prev_index,
            commit_index=leader_commit,
            entries=new,
        )
    )
    (reply,) = server.read()
    assert isinstance(reply, AppendEntriesReply)
    assert reply.rejected is refused
    assert (server.core.last_index, server.core.commit_index) == (last, commit)


@pytest.mark.parametrize(("told", "commit"), [(3, 3), (1, 2)])
def test_a_heartbeat_raises_the_commit_index_and_is_answered_once(told: int, commit: int) -> None:
    # TestHandleHeartbeat
    server = Server(1, log=(1, 2, 3), hard_state=HardState(term=3, commit_index=2))
    server.step(Heartbeat(sender=2, to=1, term=3, commit_index=told))
    assert server.core.commit_index == commit
    assert server.read() == [HeartbeatReply(sender=1, to=2, term=3)]


def test_a_heartbeat_reply_of_a_peer_that_is_behind_sends_its_entries_again() -> None:
    # TestHandleHeartbeatResp: nothing else notices a lost append
    server = in_office(Server(1, voters=(1, 2), log=(1, 2, 3)))
    reply = HeartbeatReply(sender=2, to=1, term=server.core.term)
    for _ in range(2):
        server.step(reply)
        (append,) = appends(server.read())
    server.step(accept(append))
    server.step(*map(accept, appends(server.read())))
    server.read()
    server.step(reply)
    assert server.read() == []


def test_a_peer_that_has_not_answered_its_probe_is_sent_nothing_more() -> None:
    # TestMsgAppRespWaitReset
    server = Server(1)
    to_2, to_3 = appends(server.elect())
    server.step(accept(to_2))
    assert server.core.commit_index == 1
    server.read()
    (append,) = proposed(server)
    assert (append.to, append.prev_log_index, len(append.entries)) == (2, 1, 1)
    server.step(accept(to_3))
    (append,) = appends(server.read())
    assert (append.to, append.prev_log_index, len(append.entries)) == (3, 1, 1)


@pytest.mark.parametrize(
    ("index", "rejected", "match", "next_index", "sent_after", "commit"),
    [
        (3, True, 0, 3, [], 0),  # stale: not the position that was probed
        (2, True, 0, 2, [1], 0),  # probes one entry earlier
        (2, False, 2, 4, [2, 2], 2),  # commits, and tells both
        (0, False, 0, 4, [0], 0),  # confirms that the logs connect at the very start
    ],
)
def test_a_leader_learns_from_the_replies_where_the_logs_agree(
    index: int, rejected: bool, match: int, next_index: int, sent_after: list[int], commit: int
) -> None:
    # TestLeaderAppResp
    server = in_office(Server(1, log=(1, 1), hard_state=HardState()))
    server.step(
        AppendEntriesReply(sender=2, to=1, term=1, index=index, rejected=rejected, hint_index=index)
    )
    progress = progress_of(server, 2)
    assert (progress.match_index, progress.next_index) == (match, next_index)
    sent = appends(server.read())
    assert [append.prev_log_index for append in sent] == sent_after
    assert [append.commit_index for append in sent] == [commit] * len(sent)


def test_a_heartbeat_tells_the_commit_index_as_far_as_the_peer_is_known_to_match() -> None:
    # TestBcastBeat
    server = Server(1)
    server.lead()
    for _ in range(10):
        last = proposed(server)
    server.step(accept(last[1]))
    server.read()
    progress_of(server, 2).match_index = 5
    server.core.beat()
    assert server.read() == [
        Heartbeat(sender=1, to=2, term=1, commit_index=5),
        Heartbeat(sender=1, to=3, term=1, commit_index=11),
    ]


@pytest.mark.parametrize(
    ("role", "count"), [(Role.LEADER, 2), (Role.CANDIDATE, 0), (Role.FOLLOWER, 0)]
)
def test_only_a_leader_sends_heartbeats(role: Role, count: int) -> None:
    # TestRecvMsgBeat
    server = Server(1)
    if role is Role.LEADER:
        server.lead()
    elif role is Role.CANDIDATE:
        server.core.campaign()
        server.read()
    server.core.beat()
    sent = server.read()
    assert [type(message) for message in sent] == [Heartbeat] * count


@pytest.mark.parametrize(
    ("state", "next_index"), [(ProgressState.REPLICATE, 6), (ProgressState.PROBE, 2)]
)
def test_sending_moves_next_index_only_while_replicating(
    state: ProgressState, next_index: int
) -> None:
    # TestLeaderIncreaseNext
    server = in_office(Server(1, voters=(1, 2), log=(1, 2, 3)))
    progress = progress_of(server, 2)
    progress.state, progress.next_index = state, 2
    proposed(server)
    assert progress.next_index == next_index


@pytest.mark.parametrize(
    ("leader_log", "follower_log", "hint", "probe", "compacted"),
    [
        ((1, 2, 2, 4, 4, 4, 4), (1, 2, 2, *[3] * 8), (3, 7), (2, 3), 0),
        ((1, 2, 2, 3, 4, 4, 4, 5), (1, 2, 2, *[3] * 8), (3, 8), (3, 4), 0),
        ((1,) * 4, (1, 2, 2, 4), (1, 1), (1, 1), 0),
        ((1,) * 6, (1, 2, 2, 4), (1, 1), (1, 1), 0),
        ((1,) * 4, (1, 2, 2, 4, 4, 4), (1, 1), (1, 1), 0),
        ((1, 1, 1, 4, 5), (1, 1, 1, 4), (4, 4), (4, 4), 0),
        ((2, *[5] * 8), (2, *[4] * 5), (4, 6), (2, 1), 0),
        ((2,) * 5, (2, *[4] * 7), (2, 1), (2, 1), 0),
        # the follower no longer knows the term at the position it refuses
        ((1, 1, 3), (1, 1, 3, 3, 3), (0, 3), (1, 2), 5),
    ],
)
def test_one_rejection_skips_a_whole_term(
    leader_log: Sequence[int],
    follower_log: Sequence[int],
    hint: tuple[int, int],
    probe: tuple[int, int],
    compacted: int,
) -> None:
    # TestFastLogRejection; §5.3, end
    term = HardState(term=max(leader_log[-1], follower_log[-1]))
    leader = Server(1, voters=(1, 2), log=leader_log, hard_state=term)
    follower = Server(2, voters=(1, 2), log=follower_log, hard_state=term)
    if compacted:
        follower.storage.compact(compacted)
    (append,) = appends(leader.elect())
    assert append.prev_log_index == len(leader_log)
    # Not through step() and read(): a log compacted above its commit index breaks an invariant.
    follower.core.step(append)
    (reply,) = follower.core.ready().messages
    assert isinstance(reply, AppendEntriesReply)
    assert reply.rejected
    assert (reply.hint_term, reply.hint_index) == hint
    leader.step(reply)
    (append,) = appends(leader.read())
    assert (append.prev_log_term, append.prev_log_index) == probe


def test_a_late_rejection_does_not_move_the_probe_below_what_matches() -> None:
    # TestLogReplicationWithReorderedMessage
    leader = in_office(Server(1, voters=(1, 2)))
    follower = Server(2, voters=(1, 2))
    progress_of(leader, 2).become_replicate()
    (first,) = proposed(leader, b"a")
    (second,) = proposed(leader, b"b")

    follower.step(second)
    (late_rejection,) = follower.read()
    assert late_rejection == AppendEntriesReply(
        sender=2, to=1, term=1, index=2, rejected=True, hint_index=0
    )
    follower.step(first)
    (acknowledgement,) = follower.read()
    assert acknowledgement == AppendEntriesReply(sender=2, to=1, term=1, index=2)

    leader.step(acknowledgement)
    leader.core.report_unreachable(2)
    leader.read()
    progress = progress_of(leader, 2)
    assert (progress.state, progress.match_index) == (ProgressState.PROBE, 2)
    leader.step(late_rejection)
    (probe,) = appends(leader.read())
    assert probe.prev_log_index == 2
    assert probe.entries == (Entry(1, 3, data=b"b"),)


def test_a_heartbeat_makes_commit_news_that_may_be_lost_worth_telling_again() -> None:
    # The heartbeat told a lower commit index than the append before it, which may never arrive.
    server = Server(1)
    server.lead()
    to_2, to_3 = proposed(server)
    server.step(accept(to_3))
    assert [(one.to, one.commit_index) for one in appends(server.read())] == [(2, 2), (3, 2)]
    server.core.beat()
    server.read()
    server.step(accept(to_2))
    (news,) = appends(server.read())
    assert (news.to, news.entries, news.commit_index) == (2, (), 2)


def test_an_empty_append_does_not_pause_a_probe() -> None:
    # The empty one costs nothing and may be lost; the entries after it must not wait for it.
    server = Server(1, voters=(1, 2))
    server.lead()
    server.core.report_unreachable(2)
    server.step(HeartbeatReply(sender=2, to=1, term=1))
    (probe,) = appends(server.read())
    assert probe.entries == ()
    (append,) = proposed(server)
    assert len(append.entries) == 1


def test_a_late_duplicate_of_an_append_keeps_the_entries_after_it() -> None:
    # §5.3: only a conflict may truncate; those entries may be acknowledged already
    server = Server(1)
    entries = entries_of((1, 1, 1))
    old = AppendEntries(sender=2, to=1, term=1, entries=entries[:1])
    server.step(old, AppendEntries(sender=2, to=1, term=1, entries=entries))
    server.read()
    server.step(old)
    assert server.read() == [AppendEntriesReply(sender=1, to=2, term=1, index=1)]
    assert server.log == list(entries)
