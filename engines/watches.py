"""Which watch gets which events next, and where it goes on afterwards.

Reading order 12 of the engines. Pure: sends nothing, knows no client. A watch is only a position,
the revision that it needs next; nothing is queued for it, so a slow reader costs no memory. A
*synced* watch has all that was published and gets what is published next. All others catch up from
the history, in slices: a slice starts where the first of the ready ones stands, and every other
ready one that stands inside of it gets its part of it, too. Afterwards they queue up again at the
back, so that each has its turn.

Watches of one range with the same view that stand at the same position share the events' encoding.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from metastore.engines.contract import Event
from metastore.engines.records import KEY, MOD, is_tombstone, record_bytes
from metastore.engines.watched_ranges import Range, WatchedRanges

FRAME_BYTES: Final = 1 << 20  # what a frame is filled up to with whole revisions
TOGETHER_MAX: Final = 1_024  # watches that share a slice of history
REVISION_BYTES_MAX: Final = 60 << 20  # of a view on a revision that may not come in fragments


class View(NamedTuple):
    """What a watch wants of the events of its range."""

    with_previous: bool = False
    without_puts: bool = False
    without_deletes: bool = False
    in_fragments: bool = False


class Position(NamedTuple):
    """What a watch needs next: this revision, without so many of the events that its view has."""

    revision: int
    sent: int = 0


class Piece:
    """What goes into one frame. `events` None: this revision cannot be sent in one frame."""

    __slots__ = ("_encoded", "end", "events", "is_fragment", "revision")

    def __init__(
        self, events: Sequence[Event] | None, end: Position, *, is_fragment: bool = False
    ) -> None:
        self.events = events
        self.end = end  # what is needed after it
        self.revision = end.revision - 1  # everything up to and including it has been sent with it
        self.is_fragment = is_fragment
        self._encoded: bytes | None = None

    def encoded(self, encode: Callable[[Sequence[Event]], bytes]) -> bytes:
        """The events, encoded once for all who share them, and not before the first can have it."""
        if self._encoded is None:
            self._encoded = encode(self.events or ())
        return self._encoded


class Due(NamedTuple):
    """The next pieces of one watch, and where it stands after all of them."""

    watch: "Watch"
    start: Position
    pieces: Sequence[Piece]
    end: Position


class Spot:
    """A range, and the synced watches on it."""

    __slots__ = ("count", "synced", "watched")

    def __init__(self, watched: Range) -> None:
        self.watched = watched
        self.count = 0
        self.synced: dict[Watch, None] = {}


class Watch:
    """`owner` is the caller's. `position` of a synced watch may lie back, see position_of."""

    __slots__ = ("credit", "is_synced", "owner", "position", "spot", "view")

    def __init__(self, owner: Any, spot: Spot, view: View, position: Position, credit: int) -> None:
        self.owner = owner
        self.spot = spot
        self.view = view
        self.position = position
        self.credit = credit  # so many pieces may be sent
        self.is_synced = False


class Watches:
    """All watches of a node. A watch is synced, ready (to catch up), or waits (for credit, or
    because the caller said so). Owned by one thread."""

    def __init__(self) -> None:
        self.count = 0
        self.published = 0  # the newest revision that synced watches have
        self.ready: dict[Watch, None] = {}  # in the order of their turns
        self._spots: WatchedRanges[Spot] = WatchedRanges()

    def add(self, owner: Any, watched: Range, view: View, start: int, credit: int) -> Watch:
        """`start`: the first revision wanted. To be settled by the caller."""
        spot = self._spots.get(watched)
        if spot is None:
            spot = Spot(watched)
            self._spots.put(watched, spot)
        spot.count += 1
        self.count += 1
        return Watch(owner, spot, view, Position(start), credit)

    def remove(self, watch: Watch) -> None:
        self.wait(watch, watch.position)
        self.count -= 1
        watch.spot.count -= 1
        if not watch.spot.count:
            self._spots.remove(watch.spot.watched)

    def position_of(self, watch: Watch) -> Position:
        if watch.is_synced:
            return max(watch.position, Position(self.published + 1))
        return watch.position

    def settle(self, watch: Watch, position: Position) -> None:
        """It goes on from here, with its credit as it is now."""
        self.wait(watch, position)
        if position.revision > self.published:
            watch.is_synced = True
            watch.spot.synced[watch] = None
        elif watch.credit:
            self.ready[watch] = None

    def wait(self, watch: Watch, position: Position) -> None:
        """It stays here until it is settled again."""
        watch.position = position
        watch.is_synced = False
        watch.spot.synced.pop(watch, None)
        self.ready.pop(watch, None)

    def publish(self, events: Sequence[Event], revision: int) -> Sequence[Due]:
        """Events since the last call, up to the newest `revision`; what they mean for synced
        watches. Each of the watches must be settled (or wait) afterwards."""
        first = self.published + 1
        if not events or events[0][0][MOD] != first or events[-1][0][MOD] != revision:
            # A snapshot was installed: what happened in between is in the history only.
            self._fall_behind(revision)
            return ()
        self.published = revision
        by_spot: dict[Spot, list[Event]] = {}
        for event in events:
            for spot in self._spots.find(event[0][KEY]):
                if spot.synced:
                    by_spot.setdefault(spot, []).append(event)
        synced = ((spot, list(spot.synced)) for spot in by_spot)
        return self._cut_for(synced, by_spot, Position(first), revision + 1)

    def _fall_behind(self, revision: int) -> None:
        synced = [watch for spot in self._spots for watch in spot.synced]
        positions = [self.position_of(watch) for watch in synced]
        self.published = revision
        for watch, position in zip(synced, positions, strict=True):
            self.settle(watch, position)

    def catch_up(self, history: Iterable[Event], events_max: int) -> tuple[Sequence[Due], int]:
        """A slice for the first of the ready watches and all others that stand within. `history`
        goes from that one's revision to the published one. Each of the watches must be settled (or
        wait) afterwards. Also answers how many events were looked at."""
        start = next(iter(self.ready)).position.revision
        events, end = read_slice(history, events_max, self.published + 1)
        by_watchers: dict[Spot, list[Watch]] = {}
        within = (watch for watch in self.ready if start <= watch.position.revision < end)
        for watch in islice(within, TOGETHER_MAX):
            by_watchers.setdefault(watch.spot, []).append(watch)
        by_spot: dict[Spot, list[Event]] = {}
        for event in events:
            for spot in self._spots.find(event[0][KEY]):
                if spot in by_watchers:
                    by_spot.setdefault(spot, []).append(event)
        dues = self._cut_for(by_watchers.items(), by_spot, Position(start), end)
        return dues, len(events)

    def _cut_for(
        self,
        watchers: Iterable[tuple[Spot, list[Watch]]],
        by_spot: dict[Spot, list[Event]],
        first: Position,
        end: int,
    ) -> Sequence[Due]:
        dues: list[Due] = []
        for spot, watches in watchers:
            shared: dict[tuple[View, Position], Sequence[Piece]] = {}
            for watch in watches:
                start = max(watch.position, first)
                pieces: Sequence[Piece] | None = shared.get((watch.view, start))
                if pieces is None:
                    pieces = cut(by_spot.get(spot, ()), watch.view, start, end)
                    shared[watch.view, start] = pieces
                # One that starts in the future is not pulled back by a slice that ends before.
                dues.append(Due(watch, start, pieces, max(start, Position(end))))
        return dues


def read_slice(
    history: Iterable[Event], events_max: int, end: int, bytes_max: int = 4 * FRAME_BYTES
) -> tuple[Sequence[Event], int]:
    """Whole revisions, until it is enough; and the revision that comes next (`end` at the end)."""
    events: list[Event] = []
    size, revision = 0, 0
    for event in history:
        if event[0][MOD] != revision:
            revision = event[0][MOD]
            if len(events) >= events_max or size >= bytes_max:
                return events, revision
        events.append(event)
        size += _event_bytes(event)
    return events, end


def _event_bytes(event: Event) -> int:
    previous = event[1]
    return record_bytes(event[0]) + (record_bytes(previous) if previous is not None else 0)


def cut(events: Sequence[Event], view: View, start: Position, end: int) -> Sequence[Piece]:
    """The view on events of one range, from `start` up to but without revision `end`, in pieces. A
    revision stands in one piece, unless the view allows fragments. Nothing follows a piece without
    events."""
    pieces: list[Piece] = []
    filling: list[Event] = []
    size = 0

    def close(end: Position, *, is_fragment: bool = False) -> None:
        nonlocal filling, size
        if filling:
            pieces.append(Piece(filling, end, is_fragment=is_fragment))
        filling, size = [], 0

    for revision, run in _runs(events, view, start):
        run_size = sum(map(_event_bytes, run))
        if filling and size + run_size > FRAME_BYTES:
            close(Position(revision))
        if run_size <= FRAME_BYTES or len(run) == 1:
            filling += run
            size += run_size
        elif view.in_fragments:
            sent = start.sent if revision == start.revision else 0
            for event in run:
                if filling and size + _event_bytes(event) > FRAME_BYTES:
                    close(Position(revision, sent), is_fragment=True)
                filling.append(event)
                size += _event_bytes(event)
                sent += 1
        elif run_size <= REVISION_BYTES_MAX:
            filling = run
            size = run_size
        else:
            pieces.append(Piece(None, Position(revision)))
            return pieces
    close(Position(end))
    return pieces


def _runs(
    events: Sequence[Event], view: View, start: Position
) -> Iterable[tuple[int, list[Event]]]:
    """Per revision, the events that the view has and that were not sent yet."""
    by_revision: dict[int, list[Event]] = {}
    for record, previous in events:
        if record[MOD] < start.revision:
            continue
        if view.without_deletes if is_tombstone(record) else view.without_puts:
            continue
        event = (record, previous if view.with_previous else None)
        by_revision.setdefault(record[MOD], []).append(event)
    if start.sent and start.revision in by_revision:
        del by_revision[start.revision][: start.sent]
    return by_revision.items()
