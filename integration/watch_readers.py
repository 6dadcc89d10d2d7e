"""What was written, replayed beside the cluster, and watchers whose events are compared with it.

For test_watches.py.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from metastore.client import Client, Compacted, DeleteResult, Event, PutResult, Revision, Watch, ops

PREFIX = "watched/"
KEYS = tuple(f"{PREFIX}{number:02}" for number in range(20))
KEYS_END = PREFIX + "\x7f"


class Change(NamedTuple):
    kind: str
    key: bytes
    value: bytes
    previous: bytes | None


Seen = list[tuple[int, list[Change]]]  # by revision


class Written:
    """Writes by one client at a time, and what each revision changed: taken from the answers and
    from a dict beside, not from a node's history."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.revision = 1
        self.changes: dict[int, list[Change]] = {}
        self._chance = random.Random(seed)
        self._held: dict[bytes, bytes] = {}
        self._count = 0

    def write(self, client: Client, count: int) -> None:
        """Puts, deletes, deletes of ranges, and transactions of several keys."""
        for _ in range(count):
            chosen = self._chance.random()
            key = self._chance.choice(KEYS)
            if chosen < 0.5:
                self.put_all(client, [key])
            elif chosen < 0.7:
                self.delete(client, key)
            elif chosen < 0.8:
                self.delete(client, key, self._chance.choice(KEYS))
            else:
                self.put_all(client, self._chance.sample(KEYS, self._chance.randint(2, 12)))

    def touch_everything(self, client: Client) -> None:
        """Whatever a watcher looks at, this is seen by it: a put and a deletion of every key."""
        self.put_all(client, KEYS)
        self.delete(client, KEYS[0], KEYS_END)

    def put_all(self, client: Client, keys: Sequence[str]) -> int:
        """At one revision."""
        self._count += 1
        value = f"value {self._count}"
        done = client.txn((), [ops.put(key, value) for key in keys])
        assert all(isinstance(result, PutResult) for result in done.results)
        changes = []
        for key in map(str.encode, keys):
            changes.append(Change("put", key, value.encode(), self._held.get(key)))
            self._held[key] = value.encode()
        self._note(done.revision, changes)
        return done.revision

    def delete(self, client: Client, key: str, range_end: str = "") -> DeleteResult:
        start, end = key.encode(), range_end.encode() or key.encode() + b"\0"
        gone = sorted(held for held in self._held if start <= held < end)
        done = client.delete_range(key, range_end)
        assert done.deleted == len(gone)
        self._note(done.revision, [Change("delete", k, b"", self._held.pop(k)) for k in gone])
        return done

    def _note(self, revision: int, changes: list[Change]) -> None:
        if changes:
            assert revision == self.revision + 1, "somebody else wrote, too"
            self.revision = revision
            self.changes[revision] = changes


@dataclass
class Reader:
    """A watcher, what it asked for, and what it has seen."""

    watch: Watch
    key: bytes
    range_end: bytes
    start_revision: int
    with_previous: bool
    filters: tuple[str, ...]
    is_slow: bool = False
    seen: Seen = field(default_factory=list)
    compacted: int = 0  # it was told that everything below is gone

    def __post_init__(self) -> None:
        self._revisions = self.watch.revisions()

    @classmethod
    def open(
        cls,
        client: Client,
        key: str = KEYS[0],
        range_end: str = KEYS_END,
        *,
        start_revision: int = 2,
        with_previous: bool = False,
        filters: tuple[str, ...] = (),
        is_slow: bool = False,
    ) -> "Reader":
        watch = client.watch(
            key,
            range_end,
            start_revision=start_revision,
            prev_kv=with_previous,
            filters=filters,
        )
        end = range_end.encode() or key.encode() + b"\0"
        return cls(watch, key.encode(), end, start_revision, with_previous, filters, is_slow)

    @classmethod
    def drawn(cls, client: Client, chance: random.Random, *, is_slow: bool) -> "Reader":
        first, last = sorted(chance.sample(KEYS, 2))
        key, range_end = chance.choice([(first, ""), (first, last), (KEYS[0], KEYS_END)])
        return cls.open(
            client,
            key,
            range_end,
            start_revision=chance.choice([0, 1, 2]),
            with_previous=chance.random() < 0.5,
            filters=chance.choice([(), (), ("put",), ("delete",)]),
            is_slow=is_slow,
        )

    def expected(self, written: Written) -> Seen:
        wanted: Seen = []
        for revision in sorted(written.changes):
            changes = [
                change if self.with_previous else change._replace(previous=None)
                for change in written.changes[revision]
                if self.key <= change.key < self.range_end and change.kind not in self.filters
            ]
            if changes and revision >= self.start_revision:
                wanted.append((revision, changes))
        return wanted

    def read(self, written: Written) -> None:
        """Until it has seen the last of what was written for it, or was told that it is too late;
        nothing if it has it."""
        expected = self.expected(written)
        last = expected[-1][0] if expected else 0
        try:
            while not self.compacted and (self.seen[-1][0] if self.seen else 0) < last:
                self._take(next(self._revisions))  # the test's time-out ends a wait in vain
        except Compacted as error:
            self.compacted = error.revision

    def _take(self, revision: Revision) -> None:
        self.seen.append((revision.revision, [_to_change(event) for event in revision.events]))

    def check(self, written: Written) -> None:
        """Everything once, in order, each revision complete; if it came too late, all up to some
        revision before the compacted one."""
        expected = self.expected(written)
        if self.compacted:
            assert len(self.seen) < len(expected), f"seed {written.seed}"
            expected = expected[: len(self.seen)]
            assert not expected or expected[-1][0] < self.compacted
        assert self.seen == expected, f"seed {written.seed}: {self.key!r} {self.filters}"
        if not self.compacted:
            assert self.watch.get(0) is None, f"seed {written.seed}: something came again"


def _to_change(event: Event) -> Change:
    previous = None if event.previous is None else event.previous.value
    return Change(event.kind, event.item.key, event.item.value, previous)
