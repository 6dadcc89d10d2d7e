"""No promise leaves before it is durable, and nothing waits that promises nothing."""

from collections.abc import Callable
from dataclasses import replace

from leader_messages import append, normal, put
from runtime import CLIENT, Runtime

from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    RequestVote,
    RequestVoteReply,
)
from metastore.transport import envelope

MakeRuntime = Callable[..., Runtime]
THREE = (1, 2, 3)


def test_a_vote_leaves_only_once_it_is_durable(make_runtime: MakeRuntime) -> None:
    node = make_runtime(THREE)
    node.step(RequestVote(sender=2, to=1, term=2, last_log_index=1, last_log_term=1))
    assert node.sent() == []
    assert node.disk.outstanding == 1
    node.work()
    assert node.sent() == [RequestVoteReply(sender=1, to=2, term=2, rejected=False)]


def test_an_acknowledgement_of_entries_leaves_only_once_they_are_durable(
    make_runtime: MakeRuntime,
) -> None:
    node = make_runtime(THREE)
    node.step(append([normal(2), normal(3)]))
    assert not any(isinstance(message, AppendEntriesReply) for message in node.sent())
    node.work()
    [reply] = node.sent()
    assert isinstance(reply, AppendEntriesReply)
    assert (reply.index, reply.rejected) == (3, False)


def test_a_commit_index_alone_is_acknowledged_without_the_disk(make_runtime: MakeRuntime) -> None:
    node = make_runtime(THREE)
    node.step(append([normal(2, put(b"k"))]))
    node.work()
    node.sent()
    node.step(append([], commit=2, prev=2))
    assert node.disk.jobs == []
    assert node.sent() == [AppendEntriesReply(sender=1, to=2, term=2, index=2)]
    assert node.store.last_applied == 2


def test_a_commit_index_waits_behind_entries_that_the_disk_has_not_yet_reported(
    make_runtime: MakeRuntime,
) -> None:
    """Else the core would call entries stable that the mirror does not hold yet."""
    node = make_runtime(THREE)
    node.step(append([normal(2, put(b"k"))]))
    durable = node.disk.work()  # synced, but the loop has not heard of it
    node.step(append([], commit=2, prev=2))
    assert node.sent() == []
    node.effects.on_durable(durable)
    node.work()
    replies = node.sent()
    assert replies[-1] == AppendEntriesReply(sender=1, to=2, term=2, index=2)
    assert node.store.last_applied == 2


def test_a_commit_index_that_the_disk_was_spared_never_replaces_a_later_vote(
    make_runtime: MakeRuntime,
) -> None:
    node = make_runtime(THREE)
    node.step(append([normal(2, put(b"k"))]))
    node.settle()
    node.step(append([], commit=2, prev=2))
    node.step(RequestVote(sender=3, to=1, term=9, last_log_index=9, last_log_term=2, forced=True))
    node.settle()
    assert node.log.recover().hard_state == (9, 3, 2)
    node.step(replace(append([normal(3)], commit=2, prev=2), term=9))
    node.settle()
    assert node.log.recover().hard_state == (9, 3, 2)


def test_a_single_voter_commits_and_answers_only_after_its_own_sync(
    make_runtime: MakeRuntime,
) -> None:
    """A6."""
    node = make_runtime()
    node.lead()
    node.desk.request(CLIENT, envelope.Request(7, 0, put(b"k")))
    node.turn()
    assert node.answers() == []
    assert node.store.key_count == 0
    node.work()
    assert [answer.request_id for answer in node.answers()] == [7]
    assert node.store.key_count == 1


def test_the_leader_sends_entries_to_its_followers_before_its_own_sync(
    make_runtime: MakeRuntime,
) -> None:
    node = make_runtime(THREE)
    node.lead()
    first = node.core.last_index
    node.step(AppendEntriesReply(sender=2, to=1, term=node.core.term, index=first))
    node.settle()
    node.sent()
    node.desk.request(CLIENT, envelope.Request(7, 0, put(b"k")))
    node.turn()
    assert node.disk.outstanding == 1
    [sent] = [m for m in node.sent() if isinstance(m, AppendEntries) and m.entries]
    assert (sent.to, sent.entries[-1].index) == (2, first + 1)


def test_the_leader_counts_its_own_entry_only_once_it_is_durable(
    make_runtime: MakeRuntime,
) -> None:
    node = make_runtime(THREE)
    node.lead()
    node.desk.request(CLIENT, envelope.Request(7, 0, put(b"k")))
    node.turn()
    last = node.core.last_index
    node.step(AppendEntriesReply(sender=2, to=1, term=node.core.term, index=last))
    assert node.answers() == []
    node.settle()
    assert [answer.request_id for answer in node.answers()] == [7]


def test_a_heartbeat_is_answered_without_waiting_for_the_disk(make_runtime: MakeRuntime) -> None:
    node = make_runtime(THREE)
    node.step(append([normal(2)]))
    node.settle()
    node.sent()
    node.step(append([normal(3)], prev=2))
    node.step(Heartbeat(sender=2, to=1, term=2, commit_index=1))
    assert node.disk.outstanding == 1
    assert [type(message) for message in node.sent()] == [HeartbeatReply]
