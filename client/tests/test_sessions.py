"""Writes with numbers: what is sent again, where, how often it counts, and when nobody can tell."""

import threading
from typing import Any

import pytest

from metastore.client import (
    Client,
    InvalidRequest,
    NotLeader,
    OutcomeUnknown,
    Unavailable,
    sessions,
)
from metastore.client.calls import Call
from metastore.client.sessions import Session, add_header
from metastore.transport import schema
from metastore.transport.auth_ops import as_user
from metastore.transport.envelope import ReadLevel

WAIT_S = 10.0


def client_of(node: Any, **options: Any) -> Client:
    return Client(node.client_address, **options)


def numbers(node: Any) -> list[int]:
    return [header[2] for header in node.headers]


def test_writes_are_numbered_in_one_session_and_reads_are_not(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        for key in ("a", "b", "c"):
            client.put(key, "1")
            client.get(key)
    headers = cluster.leader.headers
    assert len({header[1] for header in headers}) == 1
    assert [header[2:] for header in headers] == [(1, 1), (2, 2), (3, 3)]
    assert len(cluster.leader.requests) == 6


def test_a_session_is_opened_at_the_first_write_and_closed_with_the_client(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        client.get("a")
        assert cluster.session_changes == []
        client.put("a", "1")
        (session,) = cluster.sessions
    node = cluster.leader
    node.wait_for(lambda: len(cluster.session_changes) == 2)
    assert cluster.session_changes == [
        (schema.Op.SESSION_OPEN, session),
        (schema.Op.SESSION_CLOSE, session),
    ]


def test_without_sessions_none_is_opened(cluster: Any) -> None:
    with client_of(cluster.leader, use_sessions=False) as client:
        client.put("a", "1")
    assert (cluster.session_changes, cluster.leader.headers) == ([], [])


@pytest.mark.parametrize("act", ["hang_up", "serve_and_hang_up", "outcome_unknown"])
def test_a_write_whose_answer_is_lost_is_sent_again_under_its_number(
    cluster: Any, act: str
) -> None:
    cluster.leader.script.append(act)
    with client_of(cluster.leader) as client:
        assert client.put("a", "1").revision == 2
    assert cluster.leader.headers[0] == cluster.leader.headers[1]
    assert len(cluster.applied) == 1


def test_a_write_whose_answer_is_lost_goes_to_the_new_leader_under_its_number(
    make_cluster: Any,
) -> None:
    cluster = make_cluster(2, leader_id=1)
    with client_of(cluster[1]) as client:
        client.put("a", "1")
        cluster[1].script.append("hold")
        writer = threading.Thread(target=client.put, args=("a", "2"))
        writer.start()
        cluster[1].wait_for(lambda: len(cluster[1].held) == 1)
        _, request = cluster[1].held.pop()
        cluster.apply(request.request)  # it happened, but nobody was told
        cluster.leader_id = 2
        cluster[1].stop()
        writer.join(WAIT_S)
        assert not writer.is_alive()
    assert cluster[2].headers == cluster[1].headers[-1:]
    assert len(cluster.applied) == 2


def test_a_session_forgotten_before_the_first_sending_is_opened_anew(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        client.put("a", "1")
        cluster.sessions.clear()
        with client.pipeline() as pipeline:
            futures = [pipeline.put(str(number), "v") for number in range(3)]
        assert [future.result().revision for future in futures] == [3, 4, 5]
    first, *refused_then_accepted = cluster.leader.headers
    assert {header[1] for header in refused_then_accepted[:3]} == {first[1]}
    assert first[1] not in {header[1] for header in refused_then_accepted[3:]}
    assert [header[2] for header in refused_then_accepted[3:]] == [1, 2, 3]


def test_a_session_forgotten_after_an_answer_was_lost_leaves_the_outcome_unknown(
    cluster: Any,
) -> None:
    with client_of(cluster.leader) as client:
        client.put("a", "1")
        cluster.sessions.clear()
        cluster.leader.script.append("hang_up")
        with pytest.raises(OutcomeUnknown, match="session not found"):
            client.put("a", "2")
        client.put("a", "3")  # and the next write has a session again
    assert len(cluster.applied) == 2


def test_an_answer_too_large_to_be_kept_is_unknown_but_known_to_be_applied(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        client.put("a", "1")
        (replies,) = cluster.sessions.values()
        refusal = [[int(schema.Code.FAILED_PRECONDITION), schema.REPLY_TOO_LARGE]]
        replies[2] = schema.encode_results(refusal)
        with pytest.raises(OutcomeUnknown, match="was applied"):
            client.put("a", "2")


def test_a_refusal_of_the_operation_itself_is_not_taken_for_the_sessions(cluster: Any) -> None:
    exists = [int(schema.Code.FAILED_PRECONDITION), schema.LEASE_EXISTS]
    cluster.answers[schema.Op.LEASE_GRANT] = exists
    with client_of(cluster.leader) as client, pytest.raises(InvalidRequest, match="exists"):
        client.lease(10, 7)
    assert len(cluster.leader.headers) == 1


def test_a_number_that_counts_as_answered_before_it_was_used_is_replaced(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        client.put("a", "1")
        (replies,) = cluster.sessions.values()
        refusal = [[int(schema.Code.FAILED_PRECONDITION), schema.SESSION_ANSWERED]]
        replies[2] = schema.encode_results(refusal)
        assert client.put("a", "2").revision == 3
    assert numbers(cluster.leader) == [1, 2, 3]


def test_a_numbered_write_is_unknown_at_its_deadline_however_it_was_refused_last(
    cluster: Any,
) -> None:
    node = cluster.leader
    with client_of(node) as client:
        client.put("a", "1")
        node.script.append("outcome_unknown")
        node.default_act = "unavailable"
        with pytest.raises(OutcomeUnknown):
            client.put("a", "2", timeout_s=0.3)
        with pytest.raises(Unavailable):
            client.put("a", "3", timeout_s=0.3)


def test_what_may_have_happened_is_not_called_invalid_later(cluster: Any) -> None:
    cluster.leader.script.extend(["serve", "hang_up", "invalid"])
    with client_of(cluster.leader) as client:
        client.put("a", "1")
        with pytest.raises(OutcomeUnknown, match="so it says"):
            client.put("a", "2")


def test_closing_leaves_a_lost_write_unknown(cluster: Any) -> None:
    node = cluster.leader
    client = client_of(node, timeout_s=60)
    client.put("a", "1")
    node.script.append("hang_up")
    node.default_act = "unavailable"
    failures: list[BaseException] = []

    def write() -> None:
        try:
            client.put("a", "2")
        except Exception as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    node.wait_for(lambda: len(node.requests) >= 3)
    client.close()
    writer.join(WAIT_S)
    assert [type(error) for error in failures] == [OutcomeUnknown]


def test_a_refused_session_ends_the_writes_that_wait_for_it(cluster: Any) -> None:
    cluster.answers[schema.Op.SESSION_OPEN] = [12, "no sessions here"]
    with client_of(cluster.leader) as client:
        with pytest.raises(InvalidRequest, match="no sessions here"):
            client.put("a", "1")
        del cluster.answers[schema.Op.SESSION_OPEN]
        client.put("a", "1")


def test_a_pinned_client_does_not_wait_for_a_session_elsewhere(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=2)
    with client_of(cluster[1], is_pinned=True) as client, pytest.raises(NotLeader):
        client.put("a", "1")


def test_a_leases_keep_alive_needs_no_number_and_is_sent_again(cluster: Any) -> None:
    cluster.answers[schema.Op.LEASE_KEEP_ALIVE] = [0, 1, 10]
    cluster.leader.script.append("hang_up")
    operation = (int(schema.Op.LEASE_KEEP_ALIVE), 5)
    with client_of(cluster.leader) as client:
        assert client.batch([operation])[0].ttl_s == 10  # type: ignore[union-attr]
    assert cluster.leader.headers == []
    assert len(cluster.leader.requests) == 2


@pytest.mark.parametrize("count", [1, 14, 15, 16, 17, schema.OPERATIONS_MAX - 1])
def test_a_header_is_put_before_an_encoded_request_as_if_encoded_with_it(count: int) -> None:
    operations = [schema.put(b"%d" % number, b"v") for number in range(count)]
    largest = (1 << 63) - 1
    framed = add_header(schema.encode_request(operations), count, largest, 3, 2)
    header, *rest = schema.decode_request(framed)
    assert header == (schema.Op.SESSION, largest, 3, 2)
    assert rest == operations
    overhead = len(framed) - len(schema.encode_request(operations))
    assert overhead <= sessions.HEADER_BYTES_MAX


def test_a_users_header_needs_no_number_and_comes_after_the_sessions() -> None:
    header, keep_alive = as_user("u", 3), (int(schema.Op.LEASE_KEEP_ALIVE), 5)
    named = [
        Call([header, operation], ReadLevel.LOCAL, 0.0, use_sessions=True)
        for operation in (schema.range_(b"a"), keep_alive, schema.put(b"a", b"1"))
    ]
    assert [one.is_read for one in named] == [True, False, False]
    assert [one.wants_session for one in named] == [False, False, True]
    assert sessions.Session().number(named[2])
    numbered = schema.decode_request(named[2].request)
    assert [operation[0] for operation in numbered] == [schema.Op.SESSION, schema.Op.AS, 1]


def call() -> Call:
    return Call([schema.put(b"a", b"1")], ReadLevel.LINEARIZABLE, 0.0, use_sessions=True)


def below(numbered: Call) -> int:
    header = schema.decode_request(numbered.request)[0]
    return int(header[3])


def test_everything_below_the_first_unanswered_number_counts_as_answered() -> None:
    session = Session()
    first, second, third, fourth = (call() for _ in range(4))
    assert all(session.number(each) for each in (first, second, third))
    assert [below(each) for each in (first, second, third)] == [1, 1, 1]
    second.finish(())
    session.number(fourth)
    assert below(fourth) == 1
    first.finish(())
    fifth = call()
    session.number(fifth)
    assert below(fifth) == 3


def test_a_call_that_left_the_session_holds_no_number_back() -> None:
    session = Session()
    first, second = call(), call()
    session.number(first)
    first.session = None
    session.number(second)
    assert below(second) == 2


def test_no_more_numbers_are_given_out_than_the_cluster_keeps_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "UNANSWERED_MAX", 3)
    session = Session()
    calls = [call() for _ in range(5)]
    assert [session.number(each) for each in calls] == [True, True, True, False, False]
    calls[1].finish(())
    assert not session.number(calls[3])
    calls[0].finish(())
    assert session.number(calls[3])


def test_a_write_over_the_sessions_limit_waits_its_turn(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "UNANSWERED_MAX", 4)
    with client_of(cluster.leader) as client:
        with client.pipeline(window=64) as pipeline:
            futures = [pipeline.put(str(number), "v") for number in range(40)]
        assert [future.result().revision for future in futures] == list(range(2, 42))
    assert numbers(cluster.leader) == list(range(1, 41))
