"""Registration over real sockets: which answers end it, which are waited out, whose count."""

from typing import Any

import pytest
from scripted_nodes import REPORT_S, Answer, Recorder, accepted, failed, free_address, refused

from metastore.node.identity_errors import JoinRefused, LostData, RemovedFromCluster
from metastore.node.members import registration
from metastore.node.members.registration import RefusedForGood, Registered
from metastore.transport import envelope, schema
from metastore.transport.envelope import ErrorCode
from metastore.transport.member_ops import LOST_DATA, REMOVED

pytestmark = pytest.mark.timeout(60)


def error_of(report: object) -> Exception:
    assert isinstance(report, RefusedForGood)
    return report.error


@pytest.mark.parametrize(
    "for_now",
    [
        failed(ErrorCode.UNAVAILABLE, "another change is under way"),
        failed(ErrorCode.OUTCOME_UNKNOWN),
        failed(ErrorCode.NOT_LEADER),
        failed("permission_denied", "its key is not in the access file"),
        refused(schema.Code.RESOURCE_EXHAUSTED, "metastore: too many members"),
        lambda id: envelope.encode_results_frame(id, b"\xc1"),
        refused(0, "a refusal without a code"),
    ],
)
def test_what_may_pass_is_asked_again(node: Any, asking: Any, for_now: Answer) -> None:
    leader = node(1)
    leader.answers = [for_now, for_now, accepted()]
    assert isinstance(asking([leader.address]).answer(), Registered)
    assert len(leader.joins) == 3


@pytest.mark.parametrize(
    ("final", "kind", "text"),
    [
        (refused(9, REMOVED + "; ..."), RemovedFromCluster, "node 4 was removed from the cluster"),
        (
            refused(9, LOST_DATA + ": run `metastore member replace 4`"),
            LostData,
            "this node has lost its data: run `metastore member replace 4`",
        ),
        (refused(3, "metastore: no such role"), JoinRefused, "no such role"),
        (refused(9, "metastore: node 2 has that address"), JoinRefused, "node 2 has that address"),
        (failed(ErrorCode.INVALID, "no request"), JoinRefused, "no request"),
    ],
)
def test_what_cannot_pass_ends_the_registration(
    node: Any, asking: Any, final: Answer, kind: type[Exception], text: str
) -> None:
    leader = node(1)
    leader.answers = [final]
    error = error_of(asking([leader.address]).answer())
    assert type(error) is kind
    assert str(error).startswith(text)
    assert len(leader.joins) == 1


def test_only_strangers_at_all_addresses_are_a_wrong_setting(node: Any, asking: Any) -> None:
    refusing, other = node(1), node(2)
    refusing.greeting = failed(ErrorCode.WRONG_CLUSTER, "this is cluster 8")
    other.cluster_id = 9
    error = error_of(asking([refusing.address, other.address]).answer())
    assert isinstance(error, JoinRefused)
    assert f"this is cluster 8 at {refusing.address}" in str(error)
    assert f"a node of cluster 9 answers at {other.address}" in str(error)
    assert not refusing.joins + other.joins, "a stranger is not told who we are"


def test_what_the_node_says_itself_does_not_count_among_strangers(node: Any, asking: Any) -> None:
    stranger, itself = node(1), node(4)
    stranger.greeting = failed(ErrorCode.WRONG_CLUSTER, "this is cluster 8")
    itself.leader_id = 0
    error = error_of(asking([stranger.address, itself.address]).answer())
    said = f"this is cluster 8 at {stranger.address}"
    assert str(error) == f"{registration.ONLY_FOREIGN} (they say: {said})"
    assert not itself.joins


def test_a_node_that_leads_registers_with_itself(node: Any, asking: Any) -> None:
    itself = node(4)
    assert isinstance(asking([itself.address]).answer(), Registered)


def test_a_stranger_at_one_address_is_passed_over(node: Any, asking: Any) -> None:
    stranger, leader = node(1), node(2)
    stranger.greeting = failed(ErrorCode.WRONG_CLUSTER, "this is cluster 8")
    asked = asking([stranger.address, leader.address])
    assert isinstance(asked.answer(), Registered)


def test_a_stranger_is_not_the_last_word_while_others_are_down(
    node: Any, asking: Any, log: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "PATIENCE_S", 0.1)
    stranger, later = node(1), free_address()
    stranger.greeting = failed(ErrorCode.WRONG_CLUSTER, "this is cluster 8")
    asked = asking([stranger.address, later])
    asked.registrar.ask()
    reason = log.reasons.get(timeout=REPORT_S)
    assert reason == f"this is cluster 8 at {stranger.address}; nobody answers at {later}"
    node(2, later)
    assert isinstance(asked.reports.get(timeout=REPORT_S), Registered)


def test_who_talks_nonsense_has_not_answered(
    node: Any, asking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "PATIENCE_S", 0.1)
    foolish, leader = node(1), node(2)
    foolish.greeting = lambda id: b"\xff" * 40
    assert isinstance(asking([foolish.address, leader.address]).answer(), Registered)


def test_an_answer_to_another_question_is_none(
    node: Any, asking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "PATIENCE_S", 0.1)
    confused, leader = node(1), node(2)
    confused.greeting = lambda id: confused.welcome(id + 1000)
    asked = asking([confused.address, leader.address])
    assert isinstance(asked.answer(), Registered)
    assert not confused.joins


@pytest.mark.parametrize("address", ["", "tcp://*:1", "nonsense"])
def test_an_address_that_is_none_is_passed_over(node: Any, asking: Any, address: str) -> None:
    leader = node(1)
    assert isinstance(asking([address, leader.address]).answer(), Registered)
