"""The limits of the gate: connections, and requests in flight; what is counted, and forgotten."""

from collections.abc import Sequence

import pytest
from doors import BUSY, FULL, GET, IDLE_TICKS, JOB, NODE, OPS, PUT, WEB, A, B, C, Door

from metastore.node.access import gate as gates
from metastore.node.access.file import AccessFile
from metastore.transport.backup_frames import BackupRequest, Fetch
from metastore.transport.envelope import ClientFrame, Error, Hello, encode_results_frame
from metastore.transport.watch_frames import Cancel, Credit, ProgressRequest, Watch

# Requests in flight


@pytest.mark.parametrize("frame", [GET, Hello(1, 0), BackupRequest(1), Fetch(1, 1, 0, 1)])
def test_a_connection_may_wait_for_so_many_answers(door: Door, frame: ClientFrame) -> None:
    assert [door.comes(A, frame) for _ in range(5)] == [None, None, None, BUSY, BUSY]
    assert door.comes(B, frame) is None
    door.gate.ended(A, 2)
    assert [door.comes(A, frame) for _ in range(3)] == [None, None, BUSY]
    assert door.refused == {"(anybody)": {"in_flight": 3}}


@pytest.mark.parametrize(
    "frame", [Watch(1, b"k", b"", 0, 0, 1), Credit(1, 1), Cancel(1), ProgressRequest(1)]
)
def test_frames_of_watches_wait_for_no_answer(door: Door, frame: ClientFrame) -> None:
    assert [door.comes(A, frame) for _ in range(9)] == [None] * 9
    assert door.comes(A) is None


@pytest.mark.parametrize("frame", [PUT, Watch(1, b"other", b"", 0, 0, 1)])
def test_the_answer_of_a_refusal_is_nobody_elses(access: AccessFile, frame: ClientFrame) -> None:
    """Or a client could raise its limit by asking for what is forbidden."""
    door = Door(access)
    assert [door.comes(A, GET, WEB) for _ in range(3)] == [None] * 3
    for _ in range(3):
        assert door.comes(A, frame, WEB) is not None
    assert door.comes(A, GET, WEB) == BUSY


def test_the_answer_of_a_stolen_id_is_nobody_elses(access: AccessFile) -> None:
    door = Door(access)
    assert [door.comes(A, GET, WEB) for _ in range(3)] == [None] * 3
    assert door.comes(A, GET, OPS)[1] == gates.FOREIGN_KEY
    assert door.comes(A, GET, WEB) == BUSY


def test_answers_that_nobody_waits_for_give_no_room(door: Door) -> None:
    assert door.comes(A) is None
    door.gate.ended(A, 9)
    door.gate.ended(B, 9)
    assert [door.comes(A) for _ in range(4)] == [None, None, None, BUSY]


def test_what_leaves_is_counted_and_sent(door: Door) -> None:
    sent: list[tuple[bytes, int]] = []

    def reply(identity: bytes, frames: Sequence[bytes]) -> bool:
        sent.append((identity, len(frames)))
        return True

    assert [door.comes(A) for _ in range(3)] == [None] * 3
    assert door.gate.answering(reply)(A, [encode_results_frame(5, b"")] * 2) is True
    assert sent == [(A, 2)]
    assert [door.comes(A) for _ in range(3)] == [None, None, BUSY]


def test_who_is_refused_gets_an_answer_to_its_frame(door: Door) -> None:
    assert [door.gate.refuses(A, GET, "") for _ in range(4)] == [False, False, False, True]
    assert door.answers == [(A, Error(GET.request_id, BUSY[0], BUSY[1], 0))]


# Connections


def test_one_connection_too_many_is_refused_until_another_is_idle(door: Door) -> None:
    assert door.is_done(A)
    door.ticks(IDLE_TICKS // 2)
    assert door.is_done(B)
    assert door.comes(C) == FULL
    assert door.is_done(A)  # it has been here before
    door.ticks(IDLE_TICKS)
    assert door.comes(C) == FULL
    door.ticks(1)
    assert door.connections == 0
    assert door.is_done(C)
    assert door.refused == {"(anybody)": {"connections": 2}}


def test_every_frame_shows_that_a_connection_is_in_use(door: Door) -> None:
    assert door.is_done(A)
    for frame in (GET, Credit(1, 1), Hello(1, 0)):
        door.ticks(IDLE_TICKS)
        assert door.is_done(A, frame)
    assert door.connections == 1


def test_who_waits_for_an_answer_or_watches_is_not_idle(door: Door) -> None:
    assert door.comes(A) is None
    assert door.is_done(B)
    door.watching.add(B)
    door.ticks(3 * IDLE_TICKS)
    assert door.comes(C) == FULL
    door.gate.ended(A)
    door.watching.clear()
    door.ticks(1)
    assert door.connections == 0


def test_the_nodes_of_the_cluster_always_find_room(access: AccessFile) -> None:
    door = Door(access)
    assert door.is_done(A, GET, WEB)
    assert door.is_done(B, GET, JOB)
    assert door.comes(C, Hello(1, 0), OPS) == FULL
    assert door.is_done(b"D", Hello(1, 0), NODE)
    assert door.refused == {"ops": {"connections": 1}}


def test_a_tick_looks_at_some_connections_and_in_time_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gates, "LOOKED_AT", 1)
    door = Door(connections_max=200)
    for number in range(200):
        assert door.is_done(b"%d" % number)
    door.ticks(IDLE_TICKS)
    assert door.connections == 200
    door.ticks(1)
    assert 190 < door.connections < 200
    door.ticks(IDLE_TICKS)
    assert door.connections == 0


def test_who_is_in_use_keeps_no_other_from_being_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gates, "LOOKED_AT", 1)
    door = Door()
    assert door.is_done(A)
    assert door.is_done(B)
    door.watching.add(A)
    door.ticks(IDLE_TICKS + 2)
    assert door.connections == 1
    assert door.is_done(C)
