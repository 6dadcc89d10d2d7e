"""Registration over real sockets: who is asked, in which order, how long, and when it ends.

What answers mean is in test_registration_answers.py.
"""

import socket as sockets
import threading
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from scripted_nodes import INFO, OWN, REPORT_S, Recorder, accepted, failed, free_address

from metastore.node.members import registration
from metastore.node.members.registration import Registered
from metastore.transport.envelope import ErrorCode
from metastore.transport.member_ops import ChangeKind
from metastore.transport.security import CurveClient, new_keys

pytestmark = pytest.mark.timeout(60)


def test_the_leader_hears_who_and_where_the_node_is_and_names_the_members(
    node: Any, asking: Any
) -> None:
    leader = node(1)
    assert asking([leader.address]).answer() == Registered((INFO,), 1, 3)
    ((join,),) = [request.changes for request in leader.joins]
    assert join == (ChangeKind.JOIN, 4, "learner", *OWN.addresses, 99, "", "")


def test_the_leader_is_found_through_a_follower_that_shows_it(node: Any, asking: Any) -> None:
    leader, follower = node(1), node(2)
    follower.leader_id, follower.shown = 1, [(1, leader.address, ""), (2, follower.address, "")]
    assert isinstance(asking([follower.address]).answer(), Registered)
    assert (len(leader.joins), len(follower.joins)) == (1, 0)


def test_the_leader_is_found_through_a_refusal_that_names_it(node: Any, asking: Any) -> None:
    leader, deposed = node(1), node(2)
    deposed.shown = [(1, leader.address, "")]
    deposed.answers = [failed(ErrorCode.NOT_LEADER, leader_id=1)]
    assert isinstance(asking([deposed.address]).answer(), Registered)
    assert (len(leader.joins), len(deposed.joins)) == (1, 1)


def test_it_waits_for_somebody_to_answer_and_says_so_once(
    node: Any, asking: Any, log: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PATIENCE_S", "PATIENCE_S_MAX"):
        monkeypatch.setattr(registration, name, 0.02)
    later, rounds = free_address(), SimpleQueue[None]()
    asked = asking([])

    def addresses() -> list[str]:
        rounds.put(None)
        return [later]

    asked.registrar._addresses = addresses
    asked.registrar.ask()
    for _ in range(8):
        rounds.get(timeout=REPORT_S)
    assert log.reasons.get(timeout=REPORT_S) == f"nobody answers at {later}"
    assert log.reasons.empty()
    monkeypatch.setattr(registration, "PATIENCE_S_MAX", 2.0)
    node(1, later)
    assert isinstance(asked.reports.get(timeout=REPORT_S), Registered)


def test_without_any_address_it_says_how_to_give_one(asking: Any, log: Recorder) -> None:
    asked = asking([])
    asked.registrar.ask()
    assert "start the node with --join ADDRESS" in log.reasons.get(timeout=REPORT_S)


def test_a_reason_that_comes_back_with_another_registration_is_told_again(
    node: Any, asking: Any, log: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "QUIET_ROUNDS", 0)
    leader = node(1)
    asked = asking([leader.address])
    for _ in range(2):
        leader.answers = [failed(ErrorCode.UNAVAILABLE, "busy"), accepted()]
        assert isinstance(asked.answer(), Registered)
        assert log.reasons.get(timeout=REPORT_S) == f"busy at {leader.address}"


def test_no_more_than_so_many_addresses_are_asked_in_a_round(
    node: Any, asking: Any, log: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "ADDRESSES_MAX", 1)
    follower, beyond = node(1), node(2)
    follower.answers = [failed(ErrorCode.NOT_LEADER)]
    asking([follower.address, beyond.address]).registrar.ask()
    assert log.reasons.get(timeout=REPORT_S) == f"nobody leads at {follower.address}"
    assert not beyond.joins


def test_two_nodes_that_point_to_each_other_are_asked_once_a_round(
    node: Any, asking: Any, log: Recorder
) -> None:
    one, two = node(1), node(2)
    one.leader_id, one.shown = 2, [(2, two.address, "")]
    two.leader_id, two.shown = 1, [(1, one.address, "")]
    seen: SimpleQueue[tuple[int, int]] = SimpleQueue()
    log.on_reason = lambda: seen.put((one.hellos, two.hellos))
    asking([one.address]).registrar.ask()
    rounds = registration.QUIET_ROUNDS + 1
    assert seen.get(timeout=REPORT_S) == (rounds, rounds)


def test_addresses_that_were_shown_are_remembered_for_the_next_time(node: Any, asking: Any) -> None:
    first, second = node(1), node(2)
    first.shown = [(1, first.address, ""), (2, second.address, "")]
    asked = asking([first.address])
    assert isinstance(asked.answer(), Registered)
    asked.addresses = []
    first.leader_id, first.answers = 0, [failed(ErrorCode.NOT_LEADER)]
    assert isinstance(asked.answer(), Registered)
    assert len(second.joins) == 1


def test_asking_again_meanwhile_adds_nothing_and_asking_later_begins_anew(
    node: Any, asking: Any
) -> None:
    leader = node(1)
    reached, release = threading.Event(), threading.Event()
    leader.before_answer = lambda: (reached.set(), release.wait(REPORT_S))[0]
    leader.answers = [failed(ErrorCode.UNAVAILABLE), accepted()]
    asked = asking([leader.address])
    asked.registrar.ask()
    assert reached.wait(REPORT_S)
    asked.registrar.ask()
    release.set()
    assert isinstance(asked.reports.get(timeout=REPORT_S), Registered)
    assert isinstance(asked.answer(), Registered)
    with pytest.raises(Empty):
        asked.reports.get_nowait()
    assert len(leader.joins) == 3


def test_closing_ends_it_whatever_it_waits_for(asking: Any) -> None:
    idle, silent = asking([]), asking([free_address()])
    with sockets.create_server(("127.0.0.1", 0)) as deaf:
        mute = asking([f"tcp://127.0.0.1:{deaf.getsockname()[1]}"])
        for asked in (silent, mute):
            asked.registrar.ask()
        for asked in (idle, silent, mute):
            asked.registrar.close()
            asked.registrar.close()
            assert not asked.registrar._thread.is_alive()
            assert asked.reports.empty()
            assert asked.deaths.empty()


def test_the_death_of_the_thread_is_told(asking: Any) -> None:
    asked = asking([])
    broken = OSError("broken")

    def addresses() -> list[str]:
        raise broken

    asked.registrar._addresses = addresses
    asked.registrar.ask()
    assert asked.deaths.get(timeout=REPORT_S) is broken


def test_every_key_that_a_node_may_have_is_tried_and_the_fitting_one_first_the_next_time(
    node: Any, asking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, right, wrong = new_keys(), new_keys(), new_keys()
    leader = node(1, keys=right)
    tried: list[str] = []
    real = registration.Conversation

    def recorded(context: Any, address: str, curve: CurveClient, wait: Any) -> Any:
        tried.append(curve.server_key)
        return real(context, address, curve, wait)

    monkeypatch.setattr(registration, "Conversation", recorded)
    curves = [CurveClient(own, wrong.public), CurveClient(own, right.public)]
    asked = asking([leader.address], curves=lambda: curves)
    assert isinstance(asked.answer(), Registered)
    assert tried[:2] == [wrong.public, right.public]
    before = len(tried)
    assert isinstance(asked.answer(), Registered)
    assert tried[before] == right.public
