"""How events are cut into frames, slices and turns, shared, and found again after a snapshot."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from watchers import PLENTY, Bench, commit, install

from metastore.engines import watches
from metastore.engines.contract import Event
from metastore.engines.memory.store import MemoryStore
from metastore.engines.records import MOD
from metastore.node import watch_clients, watching
from metastore.transport.schema import delete_range, put, txn
from metastore.transport.watch_frames import WatchFlag, encode_event_list

ALL = (b"\0", b"\0")


def test_large_revisions_come_in_frames_of_about_their_limit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "FRAME_BYTES", 1_000)
    bench.commit(*(put(b"k", bytes([48 + n]) * 300) for n in range(6)))
    bench.watch(1, start=2)
    bench.flush()
    assert [frame[2] for frame in bench.take()[1:]] == [3, 5, 7]


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("credit", [1, 2, PLENTY])
def test_a_revision_over_the_limit_is_split_only_if_fragments_were_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, start: int, credit: int
) -> None:
    monkeypatch.setattr(watches, "FRAME_BYTES", 1_000)

    def watch() -> None:
        bench.watch(1, *ALL, start=start, flags=WatchFlag.FRAGMENT, credit=credit)
        bench.watch(2, *ALL, start=start, client=b"B")

    if not start:
        watch()
    large = txn([], [put(bytes([98 + n]), bytes([48 + n]) * 300) for n in range(5)])
    bench.commit(put(b"a", b"1"), large, put(b"z", b"1"))
    if start:
        watch()
    for _ in range(6):
        bench.flush()
        bench.credit(1, credit)
    in_fragments, whole = bench.take()[1:], bench.take(b"B")[1:]
    for frames in (in_fragments, whole):
        events = [event for frame in frames for event in frame[3]]
        assert [event.partition("@")[2] for event in events] == list("2333334")
    of_large = [f for f in in_fragments if any(event.endswith("@3") for event in f[3])]
    assert [frame[0] for frame in of_large] == ["fragment", "fragment", "events"]
    assert [frame[2] for frame in of_large[:2]] == [2, 2]  # revision 3 is not out yet
    of_large = [f for f in whole if any(event.endswith("@3") for event in f[3])]
    assert [(frame[0], len(frame[3])) for frame in of_large] == [("events", 5)]


def test_a_revision_that_no_frame_can_hold_ends_the_watch_that_wants_it_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "FRAME_BYTES", 1_000)
    monkeypatch.setattr(watches, "REVISION_BYTES_MAX", 1_200)
    bench.watch(1, *ALL)
    bench.watch(2, *ALL, flags=WatchFlag.FRAGMENT)
    bench.watch(3, *ALL, start=1, client=b"B", credit=0)
    bench.commit(put(b"a", b"1"), txn([], [put(bytes([98 + n]), bytes(300)) for n in range(5)]))
    frames = bench.take()
    assert [f[0] for f in frames if f[1] == 1] == ["watched", "events", "canceled"]
    assert (
        frames[-1] == ("canceled", 1, 0, watch_clients.TOO_LARGE)
        or (
            "canceled",
            1,
            0,
            watch_clients.TOO_LARGE,
        )
        in frames
    )
    assert [f[0] for f in frames if f[1] == 2] == ["watched", "events", *["fragment"] * 2, "events"]
    bench.credit(3, 5, client=b"B")
    bench.flush()
    assert [f[0] for f in bench.take(b"B")] == ["watched", "events", "canceled"]


def test_catching_up_is_cut_into_turns_in_which_everybody_has_a_part(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FLUSH_EVENTS_MAX", 20)
    monkeypatch.setattr(watching, "SLICE_EVENTS_MAX", 5)
    bench.commit(*(put(b"k", b"%d" % n) for n in range(100)))
    for number in range(10):
        bench.watch(number, start=1 + 7 * number, client=bytes([number]))
    looked_at: list[int] = []
    history = bench.store.history

    def counted(first: int, last: int) -> Iterator[Event]:
        for event in history(first, last):
            looked_at.append(event[0][MOD])
            yield event

    monkeypatch.setattr(bench.store, "history", counted)
    begun: set[int] = set()
    done: set[int] = set()
    while bench.watching.flush():
        assert len(looked_at) <= 20 + 5 + 4  # the last slice, and one event to see each end
        looked_at.clear()
        for number in range(10):
            frames = bench.take(bytes([number]))
            begun |= {number for frame in frames if frame[0] == "events"}
            done |= {number for frame in frames if frame[2] == 101 and frame[0] == "events"}
        assert not done or len(begun) == 10
    assert begun == set(range(10))
    assert bench.watching.counters()["catching_up"] == 0


def test_watches_of_one_range_share_one_look_at_history_and_one_encoding(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    looks: list[int] = []
    history: Callable[[int, int], Iterator[Event]] = bench.store.history

    def encode(events: Sequence[Event]) -> bytes:
        encoded.append(len(events))
        return encode_event_list(events)

    def look(first: int, last: int) -> Iterator[Event]:
        looks.append(first)
        return history(first, last)

    monkeypatch.setattr(watch_clients, "encode_event_list", encode)
    monkeypatch.setattr(bench.store, "history", look)
    bench.commit(put(b"k", b"a"), put(b"k", b"b"))
    for number in range(100):
        bench.watch(number, *ALL, start=1, client=b"%d" % number)
    bench.flush()
    assert encoded == [2]
    assert looks == [1]
    bench.commit(put(b"k", b"c"))
    assert encoded == [2, 1]
    assert all(len(bench.take(b"%d" % number)) == 3 for number in range(100))


@pytest.mark.parametrize(("limit", "value"), [("SEND_FRAMES_MAX", 3), ("SEND_BYTES_MAX", 100)])
def test_a_call_sends_only_so_much_and_the_rest_follows(
    bench: Bench, limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_clients, limit, value)
    for number in range(10):
        bench.watch(number, client=b"%d" % number)
    bench.commit(put(b"k", b"a"))
    assert sum(len(bench.wire.arrived[b"%d" % number]) == 2 for number in range(10)) == 3
    assert bench.flush() == 3
    assert all(len(bench.take(b"%d" % number)) == 2 for number in range(10))


def test_all_frames_of_a_client_go_in_one_message(bench: Bench) -> None:
    for number in range(50):
        bench.watch(number, *ALL)
    before = len(bench.wire.messages)
    bench.commit(put(b"k", b"a"))
    assert len(bench.wire.messages) == before + 1


def test_an_installed_snapshot_sends_all_watches_to_the_history(
    bench: Bench, tmp_path: Path
) -> None:
    ahead = MemoryStore(tmp_path / "ahead", node_id=2)
    operations = [put(b"k", b"a"), put(b"k", b"b"), put(b"x", b""), delete_range(b"k")]
    for operation in operations:
        commit(ahead, operation)
    bench.commit(operations[0])
    bench.watch(1)
    bench.watch(2, start=5)
    bench.watch(3, start=2, credit=0)
    bench.take()
    install(ahead, bench.store, tmp_path / "received")
    bench.watching.publish()
    bench.flush()
    assert sorted(bench.take()) == [
        ("events", 1, 5, ["k=b@3", "k gone@5"]),
        ("events", 2, 5, ["k gone@5"]),
    ]
    bench.credit(3, 1)
    bench.flush()
    assert bench.take() == [("events", 3, 5, ["k=a@2", "k=b@3", "k gone@5"])]
    bench.commit(put(b"k", b"c"))
    assert bench.take()[:2] == [("events", n, 6, ["k=c@6"]) for n in (1, 2)]
    ahead.close()


def test_an_installed_snapshot_with_a_later_compaction_cancels(
    bench: Bench, tmp_path: Path
) -> None:
    ahead = Bench(tmp_path / "ahead")
    ahead.commit(put(b"k", b"a"), put(b"k", b"b"), put(b"k", b"c"))
    ahead.compact(4)
    bench.commit(put(b"k", b"a"))
    bench.watch(1)
    bench.watch(2, start=4)
    install(ahead.store, bench.store, tmp_path / "received")
    commit(bench.store, put(b"k", b"d"))  # before anything was published
    bench.flush()
    assert sorted(bench.take()[2:]) == [
        ("canceled", 1, 4, ""),
        ("events", 2, 5, ["k=c@4", "k=d@5"]),
    ]
    ahead.store.close()
