"""A read is served at the level it asks for, by a node that may; each one ends."""

from collections.abc import Callable

import pytest
from runtime import Runtime, ask, errors, get, results

from metastore.node.raft.messages import (
    Heartbeat,
    HeartbeatReply,
)
from metastore.node.reads import READ_TIMEOUT_TICKS
from metastore.transport import envelope, schema
from metastore.transport.envelope import ErrorCode, ReadLevel

MakeRuntime = Callable[..., Runtime]
THREE = (1, 2, 3)


def test_a_local_read_is_served_at_once_by_any_node(make_runtime: MakeRuntime) -> None:
    node = make_runtime(THREE)
    ask(node, 1, get(), ReadLevel.LOCAL)
    assert results(node) == [1]


def test_a_linearizable_read_waits_for_a_quorum_that_confirms_the_leader(
    leader: Runtime,
) -> None:
    ask(leader, 1, get())
    leader.settle()
    assert leader.answers() == []
    sequence = max(
        message.read_sequence for message in leader.sent() if isinstance(message, Heartbeat)
    )
    leader.step(HeartbeatReply(sender=3, to=1, term=leader.core.term, read_sequence=sequence))
    assert results(leader) == [1]


def test_a_lease_read_without_a_lease_waits_for_a_quorum(leader: Runtime) -> None:
    leader.core.end_lease()
    ask(leader, 1, get(), ReadLevel.LEASE)
    leader.settle()
    assert leader.answers() == []
    assert len(leader.reads) == 1


def test_a_lease_read_under_a_lease_is_served_at_once(alone: Runtime) -> None:
    assert alone.core.lease_index_or_none() is not None
    ask(alone, 1, get(), ReadLevel.LEASE)
    assert results(alone) == [1]


def test_a_lease_read_waits_while_committed_entries_are_not_applied_yet(
    alone: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = alone.store.last_applied + 1
    monkeypatch.setattr(type(alone.core), "lease_index_or_none", lambda _: ahead)
    ask(alone, 1, get(), ReadLevel.LEASE)
    assert alone.answers() == []
    assert len(alone.reads) == 1


def test_a_request_that_reads_and_writes_is_proposed(alone: Runtime) -> None:
    request = schema.encode_request([schema.range_(b"k"), schema.put(b"k", b"v")])
    ask(alone, 1, request, ReadLevel.LOCAL)
    assert alone.answers() == []
    alone.settle()
    assert results(alone) == [1]
    assert alone.store.key_count == 1


def test_reads_that_nobody_can_decode_are_refused_as_invalid(alone: Runtime) -> None:
    two = schema.encode_request([schema.range_(b"a"), schema.range_(b"b")])
    ask(alone, 1, two[:-1])
    [refused] = errors(alone)
    assert (refused.request_id, refused.code) == (1, ErrorCode.INVALID)


def test_a_single_read_that_nobody_can_decode_is_answered_by_the_store(alone: Runtime) -> None:
    ask(alone, 1, get()[:-1], ReadLevel.LOCAL)
    [answer] = alone.answers()
    assert isinstance(answer, envelope.Results)
    assert schema.decode_results(answer.results)[0][0] == schema.Code.INVALID_ARGUMENT


def test_reads_that_no_quorum_confirms_end(leader: Runtime) -> None:
    ask(leader, 1, get())
    leader.turn()
    leader.desk.tick += READ_TIMEOUT_TICKS
    leader.desk.expire_reads()
    [refused] = errors(leader)
    assert (refused.request_id, refused.code) == (1, ErrorCode.UNAVAILABLE)


def test_a_confirmed_read_whose_index_never_arrives_here_ends_too(leader: Runtime) -> None:
    ask(leader, 1, get())
    context = leader.reads.to_ask(0)
    assert context is not None
    leader.reads.confirm(context, 1000)
    leader.desk.serve_reads()
    leader.desk.tick += READ_TIMEOUT_TICKS
    leader.desk.expire_reads()
    assert [error.code for error in errors(leader)] == [ErrorCode.UNAVAILABLE]
    assert len(leader.reads) == 0
