"""Whatever happens to a watch, it sees every event once, in order and in whole revisions, or is
told that they were compacted: random histories, watches, credits, pauses, reconnects and snapshots,
held against a plain model of the key space."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from watchers import PROGRESS_TICKS, Bench, commit, install

from metastore.engines import watches
from metastore.engines.memory.store import MemoryStore
from metastore.engines.watched_ranges import is_in_range
from metastore.node import watch_clients, watching
from metastore.transport.schema import Op, Operation, delete_range, put, txn
from metastore.transport.watch_frames import (
    Canceled,
    Events,
    Watched,
    WatchEvent,
    WatchFlag,
    decode_event_list,
    encode_cancel,
    encode_credit,
    encode_watch,
)

KEYS = [b"a", b"b", b"c", b"d"]
RANGES = [(b"a", b""), (b"c", b""), (b"\0", b"\0"), (b"b", b"d"), (b"b", b"\0"), (b"e", b"f")]
STEPS = 300
VIEWERS_MAX = 12
ENOUGH = 1_000


class Model:
    """Every event by revision, worked out without the store."""

    def __init__(self) -> None:
        self.live: dict[bytes, Any] = {}
        self.revisions: dict[int, list[WatchEvent]] = {}
        self.revision = 1
        self.compacted = 0

    def apply(self, operation: Operation) -> None:
        events: list[WatchEvent] = []
        nested = operation[2] if operation[0] == Op.TXN else [operation]
        for one in nested:
            self._apply(one, events)
        if events:
            self.revision += 1
            self.revisions[self.revision] = events

    def _apply(self, operation: Operation, events: list[WatchEvent]) -> None:
        revision = self.revision + 1
        if operation[0] == Op.PUT:
            _, key, value, _, _ = operation
            old = self.live.get(key)
            create, version = (old[2], old[4] + 1) if old else (revision, 1)
            self.live[key] = (key, value, create, revision, version, 0)
            events.append((self.live[key], old))
            return
        _, key, range_end, _ = operation
        for found in sorted(it for it in self.live if is_in_range(it, (key, range_end))):
            events.append(((found, b"", 0, revision, 0, 0), self.live.pop(found)))

    def seen(self, revision: int, viewer: "Viewer") -> list[WatchEvent]:
        seen: list[WatchEvent] = []
        for record, old in self.revisions.get(revision, ()):
            filtered = WatchFlag.NO_PUT if record[4] else WatchFlag.NO_DELETE
            is_inside = is_in_range(record[0], (viewer.key, viewer.range_end))
            if is_inside and not viewer.flags & filtered:
                seen.append((record, old if viewer.flags & WatchFlag.PREV_KV else None))
        return seen


@dataclass(eq=False)
class Viewer:
    """One client with one watch, that keeps its own account."""

    identity: bytes
    key: bytes
    range_end: bytes
    flags: int
    next_revision: int
    credit: int
    number: int = 1
    is_confirmed: bool = False
    fragments: list[WatchEvent] = field(default_factory=list)

    def reconnect(self, identity: bytes, credit: int) -> bytes:
        """The frame with which it goes on elsewhere."""
        self.identity, self.credit, self.number = identity, credit, self.number + 1
        self.is_confirmed = False
        self.fragments = []
        return encode_watch(
            self.number, self.key, self.range_end, self.next_revision, self.flags, credit
        )


class World:
    def __init__(self, seed: int, directory: Path) -> None:
        self.chance = random.Random(seed)
        self.directory = directory
        self.bench = Bench(directory / "store")
        self.wire = self.bench.wire
        self.model = Model()
        self.viewers: list[Viewer] = []
        self.clients = 0
        self.events_seen = self.fragments_seen = self.canceled = 0

    def operation(self) -> Operation:
        chance = self.chance
        key = chance.choice(KEYS)
        value = bytes(chance.choice((0, 10, 150)))
        match chance.randrange(6):
            case 0:
                return delete_range(key)
            case 1:
                return delete_range(*chance.choice(RANGES))
            case 2:
                keys = chance.sample(KEYS, chance.randint(1, 4))
                return txn(
                    [],
                    [put(it, value) if chance.random() < 0.7 else delete_range(it) for it in keys],
                )
        return put(key, value)

    def step(self) -> None:
        chance, watching_ = self.chance, self.bench.watching
        match chance.randrange(16):
            case 0 | 1 if len(self.viewers) < VIEWERS_MAX:
                self.begin()
            case 2 if self.viewers:
                self.reconnect(chance.choice(self.viewers))
            case 3 | 4 if self.viewers:
                self.give_credit(chance.choice(self.viewers), chance.randint(1, 3))
            case 5 if self.viewers:
                self.wire.slow ^= {chance.choice(self.viewers).identity}
            case 6:
                watching_.tick()
            case 7 | 8:
                watching_.flush()
            case 9 if self.model.revision > self.model.compacted + 1 and chance.random() < 0.15:
                self.model.compacted = chance.randint(self.model.compacted + 1, self.model.revision)
                is_physical = chance.random() < 0.5
                self.bench.commit((Op.COMPACT, self.model.compacted, is_physical))
            case 11:
                self.bench.store.compact_step(2)
            case 10 if chance.random() < 0.15:
                self.install_from_one_ahead()
            case _:
                operation = self.operation()
                self.model.apply(operation)
                self.bench.commit(operation)
        self.check_arrivals()

    def begin(self) -> None:
        chance = self.chance
        self.clients += 1
        start = chance.choice((0, chance.randint(1, self.model.revision + 5)))
        flags = chance.choice((0, 1, 2, 4, 6)) | chance.choice((0, WatchFlag.FRAGMENT))
        key, range_end = chance.choice(RANGES)
        viewer = Viewer(b"%d" % self.clients, key, range_end, flags, start, 0)
        self.viewers.append(viewer)
        self.open(viewer, viewer.identity)

    def open(self, viewer: Viewer, identity: bytes) -> None:
        frame = viewer.reconnect(identity, self.chance.choice((0, 1, 3, 30)))
        if not viewer.next_revision:
            viewer.next_revision = self.model.revision + 1
        self.bench.ask(frame, identity)

    def reconnect(self, viewer: Viewer) -> None:
        """Loses what is on its way; the old connection is closed, or forgotten with its watch."""
        self.wire.take(viewer.identity)
        self.clients += 1
        if self.chance.random() < 0.5:
            self.wire.gone.add(viewer.identity)
            self.wire.slow.discard(viewer.identity)
        elif viewer.identity not in self.wire.slow:
            self.bench.ask(encode_cancel(viewer.number), viewer.identity)
            self.wire.take(viewer.identity)
        self.open(viewer, b"%d" % self.clients)

    def give_credit(self, viewer: Viewer, count: int) -> None:
        viewer.credit += count
        self.bench.ask(encode_credit(viewer.number, count), viewer.identity)

    def install_from_one_ahead(self) -> None:
        """A snapshot of another replica, which has applied more."""
        directory = self.directory / f"ahead-{self.model.revision}-{self.clients}"
        ahead = MemoryStore(directory, node_id=2)
        install(self.bench.store, ahead, directory / "down")
        for _ in range(self.chance.randint(0, 8)):
            operation = self.operation()
            self.model.apply(operation)
            commit(ahead, operation)
        install(ahead, self.bench.store, directory / "up")
        ahead.close()
        self.bench.watching.publish()

    def check_arrivals(self) -> None:
        for viewer in list(self.viewers):
            for frame in self.wire.take(viewer.identity):
                self.check_frame(viewer, cast(Any, frame))

    def check_frame(self, viewer: Viewer, frame: Watched | Events | Canceled) -> None:
        assert frame.request_id == viewer.number
        if isinstance(frame, Watched):
            assert not viewer.is_confirmed
            viewer.is_confirmed = True
            return
        assert viewer.is_confirmed
        if isinstance(frame, Canceled):
            assert frame.reason == ""
            assert viewer.next_revision < frame.compact_revision <= self.model.compacted
            self.viewers.remove(viewer)
            self.canceled += 1
            return
        events = decode_event_list(frame.events)
        if events:
            assert viewer.credit > 0
            viewer.credit -= 1
            self.events_seen += len(events)
        if frame.is_fragment:
            assert viewer.flags & WatchFlag.FRAGMENT
        whole = [*viewer.fragments, *events]
        expected: list[WatchEvent] = []
        for revision in range(viewer.next_revision, frame.revision + 1):
            expected += self.model.seen(revision, viewer)
        if frame.is_fragment or (viewer.fragments and not events):
            next_ = max(viewer.next_revision, frame.revision + 1)
            parts = expected + self.model.seen(next_, viewer)
            assert same(whole, parts[: len(whole)])
            assert len(whole) < len(parts)
            self.fragments_seen += frame.is_fragment
            viewer.fragments = whole
            return
        assert same(whole, expected)
        viewer.fragments = []
        viewer.next_revision = max(viewer.next_revision, frame.revision + 1)

    def finish(self) -> None:
        """With room and credit for all, everybody gets all."""
        self.wire.slow.clear()
        for viewer in list(self.viewers):
            self.give_credit(viewer, ENOUGH)
        self.bench.tick(PROGRESS_TICKS)
        self.bench.flush()
        self.check_arrivals()
        for viewer in self.viewers:
            self.bench.ask_progress(viewer.number, viewer.identity)
        self.check_arrivals()
        for viewer in self.viewers:
            assert viewer.next_revision > self.model.revision
            assert not viewer.fragments
        self.bench.store.close()


def same(left: list[WatchEvent], right: list[WatchEvent]) -> bool:
    """Equal, but for previous versions that a compaction took."""
    return len(left) == len(right) and all(
        ours == theirs or (ours[0] == theirs[0] and ours[1] is None)
        for ours, theirs in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("first_seed", range(0, 40, 10))
def test_every_watch_sees_everything_once_or_is_told_of_a_compaction(
    first_seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "FRAME_BYTES", 400)
    monkeypatch.setattr(watching, "FLUSH_EVENTS_MAX", 20)
    monkeypatch.setattr(watching, "SLICE_EVENTS_MAX", 5)
    monkeypatch.setattr(watch_clients, "SEND_FRAMES_MAX", 6)
    worlds = [World(seed, tmp_path / str(seed)) for seed in range(first_seed, first_seed + 10)]
    for world in worlds:
        for _ in range(STEPS):
            world.step()
        world.finish()
    # Or it would prove nothing.
    assert sum(world.events_seen for world in worlds) > 1_000
    assert sum(world.fragments_seen for world in worlds) > 10
    assert sum(world.canceled for world in worlds) > 10
