"""Watches of clients that take little, nothing for a while, or are gone; and signs of progress."""

import pytest
from watchers import PLENTY, PROGRESS_TICKS, Bench, commit

from metastore.node import watch_clients, watching
from metastore.transport.schema import put

ALL = (b"\0", b"\0")


# Credit and room


def test_every_frame_costs_a_credit_and_what_is_behind_comes_together(bench: Bench) -> None:
    bench.watch(1, credit=1)
    bench.commit(*(put(b"k", b"%d" % n) for n in range(4)))
    bench.flush()
    assert bench.take()[1:] == [("events", 1, 2, ["k=0@2"])]
    bench.credit(1, 2)
    bench.flush()
    assert bench.take() == [("events", 1, 5, ["k=1@3", "k=2@4", "k=3@5"])]
    bench.commit(put(b"k", b"4"), put(b"k", b"5"))
    bench.flush()
    assert bench.take() == [("events", 1, 6, ["k=4@6"])]


def test_a_watch_without_credit_makes_no_work(bench: Bench) -> None:
    bench.commit(put(b"k", b"a"))
    bench.watch(1, start=1, credit=0)
    bench.commit(put(b"k", b"b"))
    assert not bench.watching.flush()
    assert bench.watching.counters()["catching_up"] == 0
    assert len(bench.take()) == 1


@pytest.mark.parametrize("credits", [(3, 0), (1, 2)])
def test_credit_is_bounded(
    bench: Bench, credits: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "CREDIT_MAX", 2)
    bench.watch(1, credit=credits[0])
    if credits[1]:
        bench.credit(1, credits[1])
    bench.commit(*(put(b"k", b"%d" % n) for n in range(4)))
    bench.flush()
    assert len(bench.take()) == 1 + 2


def test_a_client_without_room_gets_it_all_with_a_later_tick(bench: Bench) -> None:
    bench.watch(1)
    bench.take()
    bench.wire.slow.add(b"A")
    bench.commit(put(b"k", b"a"), put(b"k", b"b"))
    assert not bench.watching.flush()  # nothing to be done now
    bench.tick()
    bench.flush()
    assert bench.take() == []
    bench.wire.slow.clear()
    bench.commit(put(b"k", b"c"))
    assert bench.take() == []  # not before what came before it
    bench.tick()
    bench.flush()
    assert bench.take() == [("events", 1, 4, ["k=a@2", "k=b@3", "k=c@4"])]


def test_a_message_without_room_costs_no_credit(bench: Bench) -> None:
    bench.watch(1, credit=1)
    bench.wire.slow.add(b"A")
    bench.commit(put(b"k", b"a"))
    bench.wire.slow.clear()
    bench.tick()
    bench.flush()
    assert len(bench.take()) == 2


def test_answers_wait_for_room_and_come_before_events(bench: Bench) -> None:
    bench.commit(put(b"k", b"a"))
    bench.wire.slow.add(b"A")
    bench.watch(1, start=2)
    bench.watch(2, b"b", b"a")
    bench.watch(3)
    bench.cancel(3)
    bench.flush()
    bench.wire.slow.clear()
    bench.watch(4)
    bench.commit(put(b"k", b"b"))
    bench.tick()
    bench.flush()
    frames = bench.take()
    assert [frame[:2] for frame in frames[:5]] == [
        ("watched", 1),
        ("canceled", 2),
        ("watched", 3),
        ("canceled", 3),
        ("watched", 4),
    ]
    assert sorted(frames[5:]) == [
        ("events", 1, 3, ["k=a@2", "k=b@3"]),
        ("events", 4, 3, ["k=b@3"]),
    ]


def test_an_answer_that_waited_is_sent_once_and_then_its_client_is_forgotten(bench: Bench) -> None:
    bench.watch(1)
    bench.wire.slow.add(b"A")
    bench.cancel(1)
    bench.watch(2, b"b", b"a")
    bench.wire.slow.clear()
    bench.tick()
    assert [frame[0] for frame in bench.take()] == ["watched", "canceled", "canceled"]
    assert bench.watching.counters()["clients"] == 0
    bench.watch(3)
    for _ in range(2):
        bench.wire.slow.add(b"A")
        bench.watch(4 + len(bench.wire.messages))
        bench.wire.slow.clear()
        bench.tick()
    assert [frame[0] for frame in bench.take()].count("watched") == 3


def test_a_client_that_is_gone_before_it_was_answered_leaves_nothing(bench: Bench) -> None:
    bench.commit(put(b"k", b"a"), put(b"k", b"b"))
    bench.compact(3)
    bench.wire.gone.add(b"A")
    for start in (0, 2, 3):
        bench.watch(1, start=start)
        assert bench.watching.counters() == {"watches": 0, "clients": 0, "catching_up": 0}


def test_a_client_that_asks_on_and_never_reads_is_let_go(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_clients, "ANSWERS_WAITING_MAX", 10)
    bench.wire.slow.add(b"A")
    bench.watch(1)
    for number in range(20):
        bench.watch(2 + number, b"b", b"a")
    assert bench.watching.count == 0


def test_a_client_that_is_gone_is_noticed_with_its_next_event(bench: Bench) -> None:
    for number in range(3):
        bench.watch(number, *ALL)
    bench.watch(0, client=b"B")
    bench.wire.gone.add(b"A")
    bench.commit(put(b"k", b"a"))
    assert bench.watching.counters() == {"watches": 1, "clients": 1, "catching_up": 0}
    assert len(bench.take(b"B")) == 2


@pytest.mark.parametrize("credit", [0, PLENTY])
def test_a_client_that_is_gone_is_noticed_without_events(bench: Bench, credit: int) -> None:
    bench.watch(1, credit=credit)
    bench.commit(put(b"k", b"a"))
    bench.tick(PROGRESS_TICKS)
    bench.wire.gone.add(b"A")
    bench.tick(PROGRESS_TICKS - 1)
    assert bench.watching.count == 1
    bench.tick()
    assert bench.watching.count == 0


def test_a_client_without_room_that_is_gone_is_noticed(bench: Bench) -> None:
    bench.watch(1, credit=1)
    bench.wire.slow.add(b"A")
    bench.commit(put(b"k", b"a"))
    bench.wire.gone.add(b"A")
    bench.tick()
    bench.flush()
    assert bench.watching.count == 0


# Signs of progress


def test_progress_is_shown_to_every_watch_without_traffic(bench: Bench) -> None:
    bench.watch(1, b"busy")
    bench.watch(2, b"quiet")
    bench.watch(3, b"busy", credit=0)
    bench.commit(put(b"x", b""), put(b"busy", b""))
    bench.take()
    messages = len(bench.wire.messages)
    bench.tick(PROGRESS_TICKS)
    assert bench.take() == [("progress", 2, 3), ("progress", 3, 2)]
    assert len(bench.wire.messages) == messages + 1
    bench.tick(PROGRESS_TICKS)
    assert bench.take() == [("progress", 1, 3), ("progress", 2, 3), ("progress", 3, 2)]


def test_progress_on_request_comes_after_all_earlier_events(bench: Bench) -> None:
    bench.commit(put(b"k", b"a"), put(b"k", b"b"))
    bench.watch(1, start=2, credit=0)
    bench.ask_progress(1)
    bench.flush()
    assert bench.take() == [("watched", 1, 3)]
    bench.credit(1, 1)
    bench.flush()
    assert bench.take() == [("events", 1, 3, ["k=a@2", "k=b@3"]), ("progress", 1, 3)]
    bench.ask_progress(1)
    assert bench.take() == [("progress", 1, 3)]


def test_progress_on_request_does_not_overtake_what_was_applied_just_now(bench: Bench) -> None:
    bench.watch(1)
    commit(bench.store, put(b"k", b"a"))  # not published yet
    bench.ask_progress(1)
    assert bench.take()[1:] == [("events", 1, 2, ["k=a@2"]), ("progress", 1, 2)]


def test_progress_on_request_waits_for_room(bench: Bench) -> None:
    bench.watch(1)
    bench.take()
    bench.wire.slow.add(b"A")
    bench.ask_progress(1)
    bench.wire.slow.clear()
    bench.tick()
    assert bench.take() == [("progress", 1, 1)]
    bench.tick()
    assert bench.take() == []
