"""When a node counts as silent: if it owes an answer for long, and does not answer a greeting."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fake_node import FakeNode
from watch_talk import watches

from metastore.client import Client, connection, routing
from metastore.client.calls import Call
from metastore.client.connection import DOUBT_S_MAX, SILENCE_S_MAX, Connection
from metastore.transport import schema
from metastore.transport.envelope import ReadLevel

WAIT_S = 10.0  # for something that must happen; never waited out in a passing test
READ = [schema.range_(b"a")]


class Clock:
    """What the connection takes for the time."""

    def __init__(self) -> None:
        self.now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


@pytest.fixture
def asked(cluster: Any, clock: Clock) -> Iterator[Connection]:
    """A connection that a read left on a moment ago; it will not be answered."""
    cluster.leader.default_act = "ignore"
    made = Connection(cluster.context, cluster.leader.client_address)
    clock.now += 1.0
    made.queue(1, Call(READ, ReadLevel.LINEARIZABLE, clock.now + 60))
    made.send_queued()
    yield made
    made.close()


def hear(of: Connection) -> None:
    """Whatever the node sends next."""
    assert of.socket.poll(int(WAIT_S * 1000))
    assert list(of.receive())


def test_a_node_that_was_not_greeted_is_doubtful_but_never_silent(
    asked: Connection, clock: Clock
) -> None:
    assert not asked.is_doubtful(clock.now + SILENCE_S_MAX)
    assert asked.is_doubtful(clock.now + SILENCE_S_MAX + 0.1)
    assert not asked.is_silent(clock.now + 100 * SILENCE_S_MAX)


def test_a_node_that_does_not_answer_the_greeting_is_silent(
    asked: Connection, clock: Clock
) -> None:
    clock.now += SILENCE_S_MAX + 0.1
    asked.greet(2, 0)
    asked.send_queued()
    assert not asked.is_doubtful(clock.now + 0.1), "one greeting is enough"
    assert not asked.is_silent(clock.now + DOUBT_S_MAX)
    assert asked.is_silent(clock.now + DOUBT_S_MAX + 0.1)


def test_a_node_that_answers_the_greeting_is_doubtful_again_as_late_as_at_first(
    asked: Connection, clock: Clock
) -> None:
    clock.now += SILENCE_S_MAX + 0.1
    asked.greet(2, 0)
    asked.send_queued()
    clock.now += DOUBT_S_MAX + 0.1
    hear(asked)
    assert not asked.is_silent(clock.now + 100 * SILENCE_S_MAX)
    assert not asked.is_doubtful(clock.now + SILENCE_S_MAX)
    assert asked.is_doubtful(clock.now + SILENCE_S_MAX + 0.1)


def test_a_greeting_alone_has_as_long_as_any_request(cluster: Any, clock: Clock) -> None:
    cluster.leader.answers_greetings = False
    made = Connection(cluster.context, cluster.leader.client_address)
    clock.now += 1.0
    made.greet(1, 0)
    made.send_queued()
    assert DOUBT_S_MAX < SILENCE_S_MAX
    assert not made.is_silent(clock.now + SILENCE_S_MAX)
    assert made.is_silent(clock.now + SILENCE_S_MAX + 0.1)
    made.close()


def test_greeting_again_gives_the_node_no_more_time(asked: Connection, clock: Clock) -> None:
    clock.now += SILENCE_S_MAX
    asked.greet(2, 0)
    clock.now += DOUBT_S_MAX
    asked.greet(3, 0)
    assert asked.is_silent(clock.now + 0.1)


def test_a_greeting_that_cannot_leave_counts_as_one_without_an_answer(
    asked: Connection, clock: Clock
) -> None:
    clock.now += SILENCE_S_MAX
    asked.greet(2, 0)
    assert asked.is_silent(clock.now + DOUBT_S_MAX + 0.1)


def in_background(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def join(thread: threading.Thread) -> None:
    thread.join(WAIT_S)
    assert not thread.is_alive()


def wait_for_greetings(node: FakeNode, more: int) -> None:
    """Waits until the node got so many greetings more."""
    wanted = node.hellos_count + more
    node.wait_for(lambda: node.hellos_count >= wanted)


def test_a_request_that_takes_long_stays_with_a_node_that_answers_greetings(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SILENCE_S_MAX", 0.05)
    monkeypatch.setattr(routing, "SILENCE_S_MAX", 0.05)
    monkeypatch.setattr(connection, "DOUBT_S_MAX", WAIT_S)  # however slow the node's thread is
    node = cluster.leader
    node.script.append("hold")
    with Client(node.client_address, timeout_s=WAIT_S) as client:
        reader = in_background(lambda: client.get("a"))
        node.wait_for(lambda: len(node.held) == 1)
        wait_for_greetings(node, 3)
        node.release()
        join(reader)
    assert len(node.requests) == 1


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENCE_S_MAX", 0.05)
    monkeypatch.setattr(connection, "DOUBT_S_MAX", 0.05)
    monkeypatch.setattr(routing, "SILENCE_S_MAX", 0.05)


def fall_silent(cluster: Any, client: Client) -> None:
    """Node 1, which the client knows as the leader, answers nothing any more; node 2 leads."""
    client.put("a", "1")
    assert client.known_nodes()
    cluster[1].default_act = "ignore"
    cluster[1].answers_greetings = False
    cluster.leader_id = 2


@pytest.mark.parametrize("level", ["linearizable", "local"])
@pytest.mark.usefixtures("short_patience")
def test_reads_leave_a_node_that_fell_silent(make_cluster: Any, level: str) -> None:
    cluster = make_cluster(2, leader_id=1)
    with Client(cluster[1].client_address) as client:
        fall_silent(cluster, client)
        assert client.get("a", level=level) is not None


@pytest.mark.usefixtures("short_patience")
def test_a_numbered_write_leaves_a_node_that_fell_silent(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=1)
    with Client(cluster[1].client_address) as client:
        fall_silent(cluster, client)
        client.put("a", "2")
    assert cluster[2].headers == cluster[1].headers[-1:]


def test_a_greeting_in_doubt_leaves_even_if_nobody_drives_any_more(cluster: Any) -> None:
    node = cluster.leader
    node.script.append("hold")
    with Client(node.client_address) as client, client.pipeline() as pipeline:
        pipeline.get("a")
        pipeline.send()
        assert client._driver.wait(lambda: len(node.held) == 1, time.monotonic() + WAIT_S)
        hellos_count = node.hellos_count
        client._driver._router.sweep(time.monotonic() + SILENCE_S_MAX + 0.1)
        node.wait_for(lambda: node.hellos_count > hellos_count)
        node.release()


def test_a_watch_made_on_a_node_in_doubt_leaves_it_when_it_is_silent(
    make_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SILENCE_S_MAX", 0.05)
    cluster = make_cluster(2, leader_id=1)
    first = cluster[1]
    with Client(first.client_address, timeout_s=WAIT_S) as client:
        assert client.known_nodes()
        first.default_act, first.answers_greetings, first.answers_watches = "ignore", False, False
        reader = in_background(lambda: client.get("a"))
        wait_for_greetings(first, 1)
        client.watch("b").close()
        cluster.leader_id = 2
        join(reader)
    assert len(watches(cluster[2])) == 1
