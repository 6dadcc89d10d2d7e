"""What a client of watches gets told, and how a watch ends."""

import pytest
from watchers import PROGRESS_TICKS, Bench

from metastore.node import watching
from metastore.transport.schema import delete_range, put, txn
from metastore.transport.watch_frames import WatchFlag

ALL = (b"\0", b"\0")


def test_a_watch_is_confirmed_and_then_gets_what_happens_to_its_key(bench: Bench) -> None:
    bench.commit(put(b"k", b"before"))
    bench.watch(1)
    assert bench.take() == [("watched", 1, 2)]
    bench.commit(put(b"k", b"a"), put(b"other", b""), delete_range(b"k"), put(b"k", b"b"))
    assert bench.take() == [
        ("events", 1, 3, ["k=a@3"]),
        ("events", 1, 5, ["k gone@5"]),
        ("events", 1, 6, ["k=b@6"]),
    ]


@pytest.mark.parametrize(
    ("key", "range_end", "seen"),
    [
        (b"b", b"", "b"),
        (b"b", b"d", "bc"),
        (b"b", b"\0", "bcd"),
        (b"\0", b"\0", "abcd"),
        (b"", b"\0", "abcd"),
        (b"", b"b", "a"),
        (b"", b"", ""),
    ],
)
def test_a_range_is_etcds(bench: Bench, key: bytes, range_end: bytes, seen: str) -> None:
    bench.watch(1, key, range_end)
    bench.commit(*(put(bytes([letter]), b"") for letter in b"abcd"))
    assert "".join(event[0] for frame in bench.take()[1:] for event in frame[3]) == seen
    bench.watch(2, key, range_end, start=1)
    bench.flush()
    assert "".join(event[0] for frame in bench.take()[1:] for event in frame[3]) == seen


@pytest.mark.parametrize("range_end", [b"a", b"b"])
def test_a_range_that_can_hold_no_key_is_refused(bench: Bench, range_end: bytes) -> None:
    bench.watch(1, b"b", range_end)
    assert bench.take() == [("canceled", 1, 0, "mvcc: watcher range is empty")]
    assert bench.watching.counters() == {"watches": 0, "clients": 0, "catching_up": 0}


def test_history_is_told_from_the_start_revision_on_in_one_frame(bench: Bench) -> None:
    bench.commit(put(b"k", b"a"), put(b"k", b"b"), put(b"x", b""), put(b"k", b"c"))
    bench.watch(1, start=3)
    bench.watch(2, start=5, client=b"B")
    bench.flush()
    assert bench.take() == [("watched", 1, 5), ("events", 1, 5, ["k=b@3", "k=c@5"])]
    assert bench.take(b"B") == [("watched", 2, 5), ("events", 2, 5, ["k=c@5"])]
    bench.commit(put(b"k", b"d"))
    assert bench.take() == [("events", 1, 6, ["k=d@6"])]


def test_a_watch_from_the_future_is_silent_until_then(bench: Bench) -> None:
    bench.commit(put(b"k", b"a"))
    bench.watch(1, start=6)
    bench.commit(put(b"k", b"b"), put(b"k", b"c"))
    bench.flush()
    assert bench.take() == [("watched", 1, 2)]
    bench.tick(PROGRESS_TICKS)
    assert bench.take() == [("progress", 1, 4)]
    bench.commit(put(b"k", b"d"), put(b"k", b"e"))
    assert bench.take() == [("events", 1, 6, ["k=e@6"])]


def test_a_transaction_arrives_in_one_frame(bench: Bench) -> None:
    bench.commit(put(b"c", b"1"))
    bench.watch(1, *ALL)
    bench.watch(2, *ALL, start=1, client=b"B")
    bench.commit(txn([], [put(b"b", b"1"), put(b"a", b"1"), delete_range(b"c")]))
    bench.flush()
    assert bench.take()[1:] == [("events", 1, 3, ["b=1@3", "a=1@3", "c gone@3"])]
    assert [f[3] for f in bench.take(b"B")[1:]] == [["c=1@2", "b=1@3", "a=1@3", "c gone@3"]]


def test_the_previous_version_comes_only_when_asked_for(bench: Bench) -> None:
    bench.commit(put(b"k", b"a"))
    bench.watch(1)
    bench.watch(2, flags=WatchFlag.PREV_KV)
    bench.watch(3, start=2, flags=WatchFlag.PREV_KV)
    bench.flush()
    bench.take()
    bench.commit(put(b"k", b"b"), delete_range(b"k"), put(b"k", b"c"))
    told: dict[int, list[str]] = {}
    for _, request_id, _, events in bench.take():
        told.setdefault(request_id, []).extend(events)
    assert told[1] == ["k=b@3", "k gone@4", "k=c@5"]
    assert told[2] == ["k=b@3 (was a)", "k gone@4 (was b)", "k=c@5"]
    assert told[3] == told[2]
    bench.watch(4, start=3, flags=WatchFlag.PREV_KV)
    bench.flush()
    assert bench.take()[1:] == [("events", 4, 5, told[2])]


def test_filters_drop_events_and_the_watch_goes_on(bench: Bench) -> None:
    bench.commit(put(b"k", b"a"), delete_range(b"k"))
    bench.watch(1, start=1, flags=WatchFlag.NO_PUT)
    bench.watch(2, start=1, flags=WatchFlag.NO_DELETE)
    bench.watch(3, start=1, flags=WatchFlag.NO_PUT | WatchFlag.NO_DELETE)
    bench.flush()
    bench.commit(put(b"k", b"b"), delete_range(b"k"))
    frames = bench.take()[3:]
    assert sorted(frames) == [
        ("events", 1, 3, ["k gone@3"]),
        ("events", 1, 5, ["k gone@5"]),
        ("events", 2, 3, ["k=a@2"]),
        ("events", 2, 4, ["k=b@4"]),
    ]
    bench.ask_progress(3)
    assert bench.take() == [("progress", 3, 5)]


# Ends


def test_a_compacted_start_is_refused_after_the_confirmation(bench: Bench) -> None:
    bench.commit(put(b"k", b"a"), put(b"k", b"b"), put(b"k", b"c"))
    bench.compact(3)
    bench.watch(1, start=2, credit=0)
    assert bench.take() == [("watched", 1, 4), ("canceled", 1, 3, "")]
    bench.watch(2, start=3)
    bench.flush()
    assert bench.take() == [("watched", 2, 4), ("events", 2, 4, ["k=b@3", "k=c@4"])]


def test_compaction_on_a_deletion_leaves_it_to_those_that_start_there(bench: Bench) -> None:
    bench.commit(put(b"k", b"a"), delete_range(b"k"), put(b"x", b""))  # etcd#17529
    bench.compact(3)
    bench.watch(1, start=3)
    bench.flush()
    assert bench.take()[1:] == [("events", 1, 4, ["k gone@3"])]


@pytest.mark.parametrize(("compacted", "is_canceled"), [(3, False), (4, True)])
def test_compaction_cancels_a_watch_that_needs_what_is_gone(
    bench: Bench, compacted: int, is_canceled: bool
) -> None:
    bench.watch(1, credit=1)
    bench.commit(*(put(b"k", b"%d" % n) for n in range(4)))
    bench.take()
    bench.compact(compacted)
    bench.credit(1, 1)
    bench.flush()
    caught_up = ("events", 1, 5, ["k=1@3", "k=2@4", "k=3@5"])
    assert bench.take() == [("canceled", 1, compacted, "") if is_canceled else caught_up]
    assert bench.watching.count == int(not is_canceled)


def test_a_canceled_watch_gets_nothing_more_and_frees_its_id(bench: Bench) -> None:
    bench.watch(1)
    bench.watch(2)
    bench.cancel(1)
    bench.cancel(1)
    bench.cancel(99, client=b"nobody")
    bench.commit(put(b"k", b"a"))
    assert bench.take()[2:] == [("canceled", 1, 0, ""), ("events", 2, 2, ["k=a@2"])]
    bench.watch(1)
    assert bench.take() == [("watched", 1, 2)]


def test_many_that_compaction_cancels_at_once_are_told_in_turns(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FLUSH_EVENTS_MAX", 2)
    bench.commit(put(b"k", b"a"), put(b"k", b"b"))
    for number in range(6):
        bench.watch(number, start=2)
    bench.compact(3)
    assert bench.flush() == 3
    assert bench.watching.counters() == {"watches": 0, "clients": 0, "catching_up": 0}


def test_an_id_in_use_is_refused_and_its_watch_goes_on(bench: Bench) -> None:
    bench.watch(1)
    bench.watch(1, b"other")
    bench.watch(1, client=b"B")
    bench.commit(put(b"k", b"a"))
    assert bench.take()[1:] == [("error", 1), ("events", 1, 2, ["k=a@2"])]
    assert len(bench.take(b"B")) == 2


@pytest.mark.parametrize(
    ("limit", "value"),
    [("WATCHES_MAX", 2), ("WATCHES_PER_CLIENT_MAX", 2), ("RANGE_BYTES_MAX", 20)],
)
def test_watches_are_bounded(
    bench: Bench, limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, limit, value)
    for number in range(3):
        bench.watch(number, b"12345", b"6789" + bytes([number]))
    assert bench.take()[2:] == [("canceled", 2, 0, watching.TOO_MANY)]
    bench.cancel(0)
    bench.watch(3, b"12345", b"67890")
    assert bench.take()[1:] == [("watched", 3, 1)]


def test_events_are_collected_only_while_somebody_watches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[bool] = []
    collect = bench.store.collect_events

    def noted(wanted: bool) -> None:
        collected.append(wanted)
        collect(wanted)

    monkeypatch.setattr(bench.store, "collect_events", noted)
    bench.commit(put(b"k", b"a"))
    bench.watch(1)
    bench.watch(2)
    bench.cancel(1)
    assert collected == [True]
    bench.cancel(2)
    assert collected == [True, False]
    bench.commit(put(b"k", b"b"))
    bench.watch(3)
    bench.commit(put(b"k", b"c"))
    assert bench.take()[-1:] == [("events", 3, 4, ["k=c@4"])]


def test_the_end_of_the_node_is_told_to_all(bench: Bench) -> None:
    bench.watch(1)
    bench.watch(2)
    bench.watch(3, client=b"B")
    bench.watching.close("the node is stopping")
    assert bench.take()[2:] == [("canceled", n, 0, "the node is stopping") for n in (1, 2)]
    assert bench.take(b"B")[1:] == [("canceled", 3, 0, "the node is stopping")]
    assert bench.watching.counters() == {"watches": 0, "clients": 0, "catching_up": 0}


def test_what_a_client_may_not_watch_any_more_is_ended_with_the_reason(bench: Bench) -> None:
    bench.watch(1, b"app/a")
    bench.watch(2, b"b", b"c")
    bench.watch(1, b"b", client=b"B")
    bench.take()
    bench.take(b"B")
    asked = []

    def why_not(identity: bytes, key: bytes, range_end: bytes) -> str:
        asked.append((identity, key, range_end))
        return "not yours" if identity == b"A" and not key.startswith(b"app/") else ""

    bench.watching.cancel_denied(why_not)
    assert asked == [(b"A", b"app/a", b""), (b"A", b"b", b"c"), (b"B", b"b", b"")]
    assert bench.take() == [("canceled", 2, 0, "not yours")]
    assert bench.take(b"B") == []
    bench.commit(put(b"app/a", b""), put(b"b", b""))
    assert len(bench.take()) == len(bench.take(b"B")) == 1


def test_a_connection_has_watches_until_the_last_one_ends(bench: Bench) -> None:
    assert not bench.watching.has_watches(b"A")
    bench.watch(1)
    assert bench.watching.has_watches(b"A")
    bench.watching.cancel_denied(lambda *_: "gone")
    assert not bench.watching.has_watches(b"A")
