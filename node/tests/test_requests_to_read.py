"""A read is served at the level it asks for, by a node that may; each one ends."""

from collections.abc import Callable

import pytest
from runtime import Runtime, ask, errors, get, put, results

from metastore.node import reads as pending_reads
from metastore.node.hashes import HASHES_MAX, Hashed
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


# --- which requests are reads


READS = (
    schema.range_(b"k"),
    schema.filtered_range(schema.range_(b"k")),
    schema.txn([], [schema.range_(b"k")], [schema.range_(b"j")]),
    (int(schema.Op.LEASE_TIME_TO_LIVE), 7, True),
    (int(schema.Op.LEASES),),
    (int(schema.Op.ALARMS),),
    (int(schema.Op.HASH), 0),
)


@pytest.mark.parametrize("operation", READS, ids=lambda operation: str(operation[0]))
def test_a_read_of_any_kind_is_answered_without_the_log(
    make_runtime: MakeRuntime, operation: schema.Operation
) -> None:
    node = make_runtime(THREE)
    ask(node, 1, schema.encode_request([operation]), ReadLevel.LOCAL)
    if operation[0] == schema.Op.HASH:
        node.desk.on_hashed(node.hashed.get(timeout=10))
    assert results(node) == [1]
    assert len(node.pending) == 0


@pytest.mark.parametrize(
    "operations",
    [
        [schema.txn([], [schema.range_(b"k")], [schema.put(b"k", b"v")])],
        [schema.range_(b"k"), schema.put(b"k", b"v")],
        [(int(schema.Op.SESSION), 1, 1, 0), schema.range_(b"k")],
    ],
    ids=["a put in one branch", "a put after a range", "a session's header"],
)
def test_what_may_change_something_goes_through_the_log(
    make_runtime: MakeRuntime, operations: list[schema.Operation]
) -> None:
    node = make_runtime(THREE)
    ask(node, 1, schema.encode_request(operations), ReadLevel.LOCAL)
    node.turn()
    [error] = errors(node)
    assert error.code == ErrorCode.NOT_LEADER


# --- hashes


def hash_request(revision: int = 0) -> bytes:
    return schema.encode_request([(int(schema.Op.HASH), revision)])


def test_a_hash_waits_for_its_read_index_as_any_read_does(leader: Runtime) -> None:
    ask(leader, 1, hash_request())
    leader.settle()
    assert leader.hashed.empty()
    assert len(leader.reads) == 1


def test_a_hash_is_worked_out_elsewhere_and_answered_when_it_is_there(alone: Runtime) -> None:
    ask(alone, 5, hash_request())
    alone.settle()
    assert alone.answers() == []
    alone.desk.on_hashed(alone.hashed.get(timeout=10))
    [answer] = alone.answers()
    assert isinstance(answer, envelope.Results)
    [result] = schema.decode_results(answer.results)
    assert (answer.request_id, result[0], len(result)) == (5, schema.Code.OK, 5)


def test_only_so_many_hashes_are_worked_out_at_a_time(
    alone: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone.store, "hash_at", lambda revision, done: None)
    for number in range(HASHES_MAX + 1):
        ask(alone, number, hash_request(number), ReadLevel.LOCAL)
    [error] = errors(alone)
    assert (error.request_id, error.code) == (HASHES_MAX, ErrorCode.UNAVAILABLE)
    question = (0, alone.store.last_applied)
    alone.desk.on_hashed(Hashed(question, schema.encode_results([])))
    ask(alone, 99, hash_request(99), ReadLevel.LOCAL)
    assert results(alone) == [0], "the one that is done, and none is refused"


def test_one_work_answers_all_who_ask_for_the_same_hash_of_the_same_state(
    alone: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    monkeypatch.setattr(alone.store, "hash_at", lambda revision, done: begun.append(revision))
    question = (0, alone.store.last_applied)
    for number in range(HASHES_MAX + 1):
        ask(alone, number, hash_request(), ReadLevel.LOCAL)
    alone.desk.on_hashed(Hashed(question, schema.encode_results([])))
    assert begun == [0]
    assert results(alone) == list(range(HASHES_MAX + 1))
    ask(alone, 99, hash_request(), ReadLevel.LOCAL)
    assert begun == [0, 0], "what is done is not kept"


def test_a_hash_of_another_revision_or_of_a_later_state_is_worked_out_by_itself(
    alone: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    monkeypatch.setattr(alone.store, "hash_at", lambda revision, done: begun.append(revision))
    ask(alone, 1, hash_request(), ReadLevel.LOCAL)
    ask(alone, 2, hash_request(1), ReadLevel.LOCAL)
    ask(alone, 3, put(1))
    alone.settle()
    ask(alone, 4, hash_request(), ReadLevel.LOCAL)
    assert begun == [0, 1, 0]


def test_a_malformed_hash_is_refused(alone: Runtime) -> None:
    ask(alone, 1, schema.encode_request([(int(schema.Op.HASH), b"x")]), ReadLevel.LOCAL)
    [error] = errors(alone)
    assert error.code == ErrorCode.INVALID


def test_reads_beyond_what_may_wait_are_refused(
    leader: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_reads, "READS_BYTES_MAX", 2 * len(get()))
    for number in range(3):
        ask(leader, number, get())
    [refused] = errors(leader)
    assert (refused.request_id, refused.code) == (2, ErrorCode.UNAVAILABLE)
    assert "slow down" in refused.message
    ask(leader, 3, get(), ReadLevel.LOCAL)
    assert [answer.request_id for answer in leader.answers()] == [3]
