"""What other threads tell the loop: a death among them ends the node, whatever else goes on."""

import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from metastore.engines.memory.store import MemoryStore
from metastore.engines.memory.wal import WriteAheadLog
from metastore.node import logs
from metastore.node.exit_codes import ExitCode
from metastore.node.identity import open_data_directory
from metastore.node.loop import DISK_CLOSE_S, NodeLoop
from metastore.node.parts import TERM_LEAP_MAX, Parts
from metastore.node.raft.messages import AppendEntries, RequestVote
from metastore.node.settings_sources import load
from metastore.node.snapshots import Saved
from metastore.node.sockets import ThreadDied
from metastore.node.status_details import details_of

ANY_PORT = "tcp://127.0.0.1:0"


@pytest.fixture
def loop(tmp_path: Path) -> NodeLoop:
    """A node alone, open, on ports that the system chose."""
    binds = [f"--{name}-bind={ANY_PORT}" for name in ("peer", "client", "status", "snapshot")]
    settings = load(["--node-id=1", f"--data-dir={tmp_path}", *binds], {})
    directory = open_data_directory(tmp_path, settings.cluster_id, 1, "memory")
    store = MemoryStore(tmp_path / "snapshots", node_id=1)
    log = WriteAheadLog(tmp_path / "wal")
    loop = NodeLoop(settings, directory.identity, store, log, None, logs.get_logger(node_id=1))
    loop.open()
    return loop


def parts_of(loop: NodeLoop) -> Any:
    return loop._parts


def test_a_node_alone_registers_the_ports_that_the_system_chose(
    loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Parts.publish

    def stop_when_registered(parts: Parts) -> None:
        publish(parts)
        if any(member.directory_id for member in parts.members.membership.members):
            loop.request_stop()

    monkeypatch.setattr(Parts, "publish", stop_when_registered)
    parts = parts_of(loop)
    sockets = parts.sockets
    assert loop.run() == ExitCode.OK
    (own,) = parts.members.membership.members
    bound = (sockets.peers, sockets.clients, sockets.status_server, sockets.receiver)
    assert own.addresses == tuple(part.address for part in bound)


@pytest.mark.parametrize("name", ["status", "snapshot receiver"])
def test_the_death_of_a_serving_thread_ends_the_node_with_its_reason(  # H7
    loop: NodeLoop, name: str
) -> None:
    parts_of(loop).inbox.put(ThreadDied(name, OSError("the handler is broken")))
    with pytest.raises(OSError, match="the handler is broken"):
        loop.run()


def test_a_broken_status_thread_is_such_a_death(
    loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("out of order")

    server = parts_of(loop).sockets.status_server
    monkeypatch.setattr(server, "_reply_to", break_down)
    context: zmq.Context[Any] = zmq.Context()
    request = context.socket(zmq.REQ)
    request.setsockopt(zmq.LINGER, 0)
    request.connect(server.address)
    request.send(msgpack.packb({"method": "status"}))
    with pytest.raises(RuntimeError, match="out of order"):
        loop.run()
    context.destroy(linger=0)


def test_a_message_that_a_node_with_a_lost_tail_refuses_does_not_reach_the_core(
    loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:  # A4
    parts = parts_of(loop)
    stepped: list[object] = []
    monkeypatch.setattr(parts.core, "step", stepped.append)
    monkeypatch.setattr(parts, "lost_tail", Refusing())
    loop._step(parts, RequestVote(sender=2, to=1, term=9))
    assert stepped == []
    loop.request_stop()
    monkeypatch.undo()
    assert loop.run() is ExitCode.OK


def test_a_term_that_leaps_beyond_all_reason_does_not_reach_the_core(
    loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:  # H8
    parts = parts_of(loop)
    stepped: list[object] = []
    monkeypatch.setattr(parts.core, "step", stepped.append)
    bearable = RequestVote(sender=2, to=1, term=parts.core.term + TERM_LEAP_MAX)
    for message in (bearable, RequestVote(sender=2, to=1, term=bearable.term + 1)):
        loop._step(parts, message)
    assert stepped == [bearable]
    assert parts.malformed == {2: 1}
    loop.request_stop()
    monkeypatch.undo()
    assert loop.run() is ExitCode.OK


def test_a_thread_that_left_by_exiting_is_no_good_end() -> None:
    death = ThreadDied("status", SystemExit(0))
    assert "status" in str(death.exception())
    assert isinstance(death.exception(), Exception)


class Refusing:
    """Stands in for a LostTail of which nothing gets through to the core."""

    is_missing, committed_once, ticks = True, 9, 0

    def refuses(self, message: object) -> bool:
        return True

    def tick(self) -> None:
        self.ticks += 1


def test_the_core_of_such_a_node_gets_no_ticks(
    loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:  # A4
    parts, tail = parts_of(loop), Refusing()
    monkeypatch.setattr(parts, "lost_tail", tail)
    monkeypatch.setattr(parts.core, "tick", lambda: pytest.fail("the core was told the time"))
    loop._tick_if_due(parts)
    assert tail.ticks > 0
    loop.request_stop()
    monkeypatch.undo()
    assert loop.run() is ExitCode.OK


def test_requests_that_have_arrived_come_before_what_the_node_proposes_itself(
    loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a node that was paused would let a lease expire whose renewal lies in its socket."""
    parts, order = parts_of(loop), []
    parts.start()
    desk, housekeeping = type(parts.desk), type(parts.upkeep.housekeeping)
    monkeypatch.setattr(desk, "flush", lambda _: order.append("requests"))
    monkeypatch.setattr(housekeeping, "on_tick", lambda _: order.append("own"))
    loop._turn(parts)
    assert order == ["requests", "own"]
    monkeypatch.undo()
    loop._close(parts)


def test_the_longest_turn_of_the_loop_is_told(
    loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks for lost heartbeats must see whether this node's loop stood still."""
    parts, told = parts_of(loop), list[int]()

    def take_long(_: Any) -> None:
        loop._turn_began -= 7.0
        loop._stopped = True

    def close(parts: Any, _: float) -> None:
        told.append(details_of(parts).counters["loop.lag_ms_max"])
        closing(parts, DISK_CLOSE_S)

    closing = type(parts).close
    monkeypatch.setattr(type(parts), "close", close)
    monkeypatch.setattr(loop, "_stop_if_due", take_long)
    loop.run()
    assert 7000 <= told[0] < 60_000


def test_a_tick_that_comes_late_is_told_too(
    loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it was another thread, or another process, that had the processor."""
    parts, turn = parts_of(loop), loop._turn

    def begin_late(parts: Any) -> None:
        loop._next_tick = time.monotonic() - 9.0
        turn(parts)
        loop._stopped = True

    monkeypatch.setattr(loop, "_turn", begin_late)
    loop.run()
    assert 9.0 <= parts.lag_s_max < 60.0


def test_what_a_saved_snapshot_holds_is_left_out_of_the_collector(
    loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, told = parts_of(loop), []
    monkeypatch.setattr(type(parts.upkeep), "on_saved", lambda _: told.append("saved"))
    loop._on_item(parts, Saved(None))
    loop.request_stop()
    assert loop.run() is ExitCode.OK
    assert told == ["saved"]


def test_a_peer_that_an_append_did_not_leave_for_is_probed_from_now_on(
    loop: NodeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:  # H1
    parts, told = parts_of(loop), list[int]()
    parts.start()
    monkeypatch.setattr(parts.core, "report_unreachable", told.append)
    parts.outbox.add(AppendEntries(sender=1, to=2, term=1, prev_log_index=0, prev_log_term=0))
    loop._turn(parts)
    assert told == [2]
    assert parts.sockets.peers.counters()["dropped"] == {0: {"unknown peer": 1}}
    loop._close(parts)
