"""How events are cut for watches, and where a watch stands afterwards."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.engines import watches
from metastore.engines.contract import Event
from metastore.engines.records import tombstone
from metastore.engines.watched_ranges import Range
from metastore.engines.watches import Due, Piece, Position, View, Watches, cut, read_slice

EVERYTHING: Range = (b"\0", b"\0")


def event(key: bytes, revision: int, value: bytes = b"", *, old: bytes | None = None) -> Event:
    before = None if old is None else (key, old, 1, 1, 1, 0)
    return ((key, value, revision, revision, 1, 0), before)


def gone(key: bytes, revision: int) -> Event:
    return (tombstone(key, revision), (key, b"old", 1, 1, 1, 0))


def keys_of(piece: Piece) -> bytes:
    return b"".join(record[0] for record, _ in piece.events or ())


# Cutting


def test_whole_revisions_share_a_piece_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "FRAME_BYTES", 3 * 65)
    events = [event(b"a", 2), event(b"b", 3), event(b"c", 3), event(b"d", 4), event(b"e", 9)]
    pieces = cut(events, View(), Position(2), 12)
    assert [keys_of(piece) for piece in pieces] == [b"abc", b"de"]
    assert [piece.end for piece in pieces] == [(4, 0), (12, 0)]
    assert [piece.revision for piece in pieces] == [3, 11]


def test_a_revision_over_the_limit_stays_whole_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "FRAME_BYTES", 2 * 65)
    events = [event(b"a", 2), *(event(key, 3) for key in (b"b", b"c", b"d")), event(b"e", 4)]
    pieces = cut(events, View(), Position(2), 5)
    assert [keys_of(piece) for piece in pieces] == [b"a", b"bcd", b"e"]
    assert not any(piece.is_fragment for piece in pieces)


def test_fragments_say_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "FRAME_BYTES", 2 * 65)
    keys = [b"b", b"c", b"d", b"e", b"f"]
    events = [event(b"a", 2), *(event(key, 3) for key in keys), event(b"g", 4)]
    view = View(in_fragments=True)
    pieces = cut(events, view, Position(2), 5)
    told = [(keys_of(piece), piece.is_fragment, piece.end) for piece in pieces]
    assert told == [
        (b"a", False, (3, 0)),
        (b"bc", True, (3, 2)),
        (b"de", True, (3, 4)),
        (b"fg", False, (5, 0)),
    ]
    assert [piece.revision for piece in pieces] == [2, 2, 2, 4]
    for number, piece in enumerate(pieces):
        rest = cut(events, view, piece.end, 5)
        assert [(keys_of(it), it.is_fragment, it.end) for it in rest] == told[number + 1 :]


def test_previous_versions_count_and_go_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [event(b"a", 2, old=b"x" * 200), event(b"b", 3, old=b"y" * 200)]
    monkeypatch.setattr(watches, "FRAME_BYTES", 300)
    (piece,) = cut(events, View(), Position(2), 4)
    assert [previous for _, previous in piece.events or ()] == [None, None]
    pieces = cut(events, View(with_previous=True), Position(2), 4)
    assert [piece.events for piece in pieces] == [[events[0]], [events[1]]]


@pytest.mark.parametrize(
    ("view", "left"),
    [
        (View(), b"abc"),
        (View(without_puts=True), b"b"),
        (View(without_deletes=True), b"ac"),
        (View(without_puts=True, without_deletes=True), b""),
    ],
)
def test_filters_leave_the_rest(view: View, left: bytes) -> None:
    events = [event(b"a", 2), gone(b"b", 2), event(b"c", 3)]
    assert b"".join(map(keys_of, cut(events, view, Position(2), 4))) == left


def test_what_no_frame_can_hold_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "FRAME_BYTES", 65)
    monkeypatch.setattr(watches, "REVISION_BYTES_MAX", 2 * 65)
    events = [event(b"a", 2), *(event(key, 3) for key in (b"b", b"c", b"d")), event(b"e", 4)]
    pieces = cut(events, View(), Position(2), 5)
    assert [piece.events and len(piece.events) for piece in pieces] == [1, None]


@given(st.integers(0, 1 << 30))
def test_any_pieces_make_the_whole_again(seed: int) -> None:
    chance = random.Random(seed)
    events: list[Event] = []
    for revision in range(2, chance.randint(3, 12)):
        for number in range(chance.choice((1, 1, 2, 6))):
            events.append(event(b"%d" % number, revision, bytes(chance.choice((0, 50, 400)))))
    view = View(in_fragments=chance.random() < 0.5)
    seen: list[Event] = []
    start = position = Position(chance.randint(1, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watches, "FRAME_BYTES", 500)
        while pieces := cut(events, view, position, 20):
            for piece in pieces[: chance.randint(1, 2)]:
                seen += piece.events or ()
                assert piece.end > position
                position = piece.end
                assert view.in_fragments or not position.sent
                assert piece.is_fragment == bool(position.sent)
                complete = {record[3] for record, _ in seen}
                assert piece.revision == position.revision - 1
                assert all(revision <= piece.revision + 1 for revision in complete)
    assert seen == [(record, None) for record, _ in events if record[3] >= start.revision]


# Slices of history


def test_a_slice_ends_between_revisions_once_it_is_large_enough() -> None:
    history = [event(b"a", 2), event(b"b", 3), event(b"c", 3), event(b"d", 4)]
    assert read_slice(iter(history), 1, 5) == (history[:1], 3)
    assert read_slice(iter(history), 2, 5) == (history[:3], 4)
    assert read_slice(iter(history), 3, 5) == (history[:3], 4)
    assert read_slice(iter(history), 4, 5) == (history, 5)
    assert read_slice(iter(history), 9, 5) == (history, 5)
    assert read_slice(iter(()), 9, 5) == ([], 5)
    assert read_slice(iter(history), 9, 5, bytes_max=2 * 65) == (history[:3], 4)


# Positions


@pytest.fixture
def all_watches() -> Watches:
    made = Watches()
    made.published = 5
    return made


def told(dues: Sequence[Due]) -> dict[str, tuple[bytes, Position]]:
    return {due.watch.owner: (b"".join(map(keys_of, due.pieces)), due.end) for due in dues}


def test_only_synced_watches_get_what_is_published(all_watches: Watches) -> None:
    synced = all_watches.add("synced", EVERYTHING, View(), 6, 1)
    behind = all_watches.add("behind", EVERYTHING, View(), 5, 1)
    waiting = all_watches.add("waiting", EVERYTHING, View(), 5, 0)
    future = all_watches.add("future", (b"a", b""), View(), 8, 1)
    other = all_watches.add("other", (b"x", b""), View(), 6, 0)
    for watch in (synced, behind, waiting, future, other):
        all_watches.settle(watch, watch.position)
    assert list(all_watches.ready) == [behind]
    dues = all_watches.publish([event(b"a", 6), event(b"b", 7), event(b"a", 8)], 8)
    assert told(dues) == {"synced": (b"aba", (9, 0)), "future": (b"a", (9, 0))}
    for due in dues:
        all_watches.settle(due.watch, due.end)
    positions = [all_watches.position_of(w).revision for w in (synced, behind, waiting, other)]
    assert positions == [9, 5, 5, 9]


def test_who_catches_up_takes_those_within_along_and_queues_up_again(all_watches: Watches) -> None:
    history = [event(b"a", 3), event(b"b", 4), event(b"a", 5)]
    for name, watched, start in [
        ("first", EVERYTHING, 3),
        ("within", EVERYTHING, 4),
        ("after", EVERYTHING, 5),
        ("other", (b"x", b""), 3),
    ]:
        watch = all_watches.add(name, watched, View(), start, 9)
        all_watches.settle(watch, watch.position)
    dues, looked_at = all_watches.catch_up(iter(history), 2)
    assert looked_at == 2
    assert told(dues) == {
        "first": (b"ab", (5, 0)),
        "within": (b"b", (5, 0)),
        "other": (b"", (5, 0)),
    }
    for due in dues:
        all_watches.settle(due.watch, due.end)
    assert [watch.owner for watch in all_watches.ready] == ["after", "first", "within", "other"]
    dues, _ = all_watches.catch_up(iter(history[2:]), 2)
    assert len(dues) == 4
    for due in dues:
        all_watches.settle(due.watch, due.end)
    assert not all_watches.ready
    assert all(due.watch.is_synced for due in dues)


def test_a_slice_is_shared_by_a_bounded_number(
    all_watches: Watches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "TOGETHER_MAX", 3)
    for number in range(5):
        watch = all_watches.add(str(number), EVERYTHING, View(), 5, 1)
        all_watches.settle(watch, watch.position)
    dues, _ = all_watches.catch_up([event(b"a", 5)], 9)
    assert sorted(told(dues)) == ["0", "1", "2"]


def test_equal_watches_at_one_position_share_their_pieces(all_watches: Watches) -> None:
    for number in range(100):
        view = View(with_previous=number >= 50)
        watch = all_watches.add(number, EVERYTHING, view, 6, 1)
        all_watches.settle(watch, watch.position)
    dues = all_watches.publish([event(b"a", 6)], 6)
    assert len({id(due.pieces) for due in dues}) == 2


@pytest.mark.parametrize(
    ("events", "revision"),
    [([], 9), ([event(b"a", 9)], 9), ([event(b"a", 6)], 9), ([event(b"a", 6)], 7)],
)
def test_a_gap_in_what_is_published_sends_all_to_the_history(
    all_watches: Watches, events: list[Event], revision: int
) -> None:
    synced = all_watches.add("synced", EVERYTHING, View(), 6, 1)
    waits = all_watches.add("no credit", EVERYTHING, View(), 6, 0)
    future = all_watches.add("future", EVERYTHING, View(), 20, 1)
    for watch in (synced, waits, future):
        all_watches.settle(watch, watch.position)
    assert all_watches.publish(events, revision) == ()
    assert list(all_watches.ready) == [synced]
    assert [w.position for w in (synced, waits)] == [(6, 0), (6, 0)]
    assert [w.is_synced for w in (synced, waits, future)] == [False, False, True]


def test_a_removed_watch_leaves_nothing_behind(all_watches: Watches) -> None:
    made = [all_watches.add(n, EVERYTHING, View(), start, 1) for n, start in enumerate((6, 6, 3))]
    for watch in made:
        all_watches.settle(watch, watch.position)
    all_watches.remove(made[0])
    assert len(all_watches.publish([event(b"a", 6)], 6)) == 1
    all_watches.remove(made[1])
    all_watches.remove(made[2])
    assert (all_watches.count, list(all_watches.ready)) == (0, [])
    assert all_watches.publish([event(b"a", 7)], 7) == []
    assert not list(all_watches._spots)
