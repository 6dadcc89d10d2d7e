"""Every version of every key, in memory: a dict of live records beside the versions they replaced.

Reading order 8 of the engines. Implements records.Records; knows nothing of operations or leases.
Records are shared tuples, never copied. One owner thread; what `freeze` gives may be read by one
more, and the order of two steps in `put` and `delete` is what makes that right.
"""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from operator import itemgetter

from metastore.engines.memory.key_order import KeyOrder
from metastore.engines.records import MOD, VERSION, KeyValue, record_bytes
from metastore.engines.snapshot_format import Order, shared_revisions

DISSOLVED_AT_ONCE = 1000  # records; freeing them takes well below a millisecond

_mod = itemgetter(MOD)


class MemoryRecords:
    """Filled at once from versions by key (the keys in order, the versions of a key ascending), or
    empty. `order` says how the changes of one revision follow each other: (revision, its keys);
    without it they follow in key order. Versions older than `compacted` are no changes any more."""

    __slots__ = ("_changes", "_first", "_gone", "_keys", "_live", "_looked_at", "_past", "get")

    def __init__(
        self,
        versions: Iterable[Sequence[KeyValue]] = (),
        order: Iterable[tuple[int, Sequence[bytes]]] = (),
        compacted: int = 0,
    ) -> None:
        self._live: dict[bytes, KeyValue] = {}
        self._past: dict[bytes, list[KeyValue]] = {}  # superseded ones and tombstones, ascending
        self._changes: list[KeyValue] = []  # ascending by revision; those before _first are gone
        self._first = 0
        self._looked_at = 0  # changes from _first on that compaction has done, but that stay
        gone: list[bytes] = []
        for of_key in versions:
            self._load(of_key, gone)
            self._changes.extend(record for record in of_key if record[MOD] >= compacted)
        self._keys = KeyOrder(self._live)
        self._gone = KeyOrder(gone)  # keys of which only past versions are left
        self._changes.sort(key=_mod)
        self._put_in_order(order)
        self.get = self._live.get  # the hot path: no call in between

    def _load(self, versions: Sequence[KeyValue], gone: list[bytes]) -> None:
        newest = versions[-1]
        key = newest[0]
        if not newest[VERSION]:
            gone.append(key)
            self._past[key] = list(versions)
            return
        self._live[key] = newest
        if len(versions) > 1:
            self._past[key] = list(versions[:-1])

    def _put_in_order(self, order: Iterable[tuple[int, Sequence[bytes]]]) -> None:
        changes = self._changes
        for revision, keys in order:
            low = bisect_left(changes, revision, key=_mod)
            high = bisect_right(changes, revision, low, key=_mod)
            places = {key: place for place, key in enumerate(keys)}
            changes[low:high] = sorted(changes[low:high], key=lambda kv: places[kv[0]])

    def __len__(self) -> int:
        return len(self._live)

    def put(self, record: KeyValue, previous: KeyValue | None) -> None:
        key = record[0]
        past = self._past
        if previous is None:
            if key in past:
                self._gone.remove(key)
            self._keys.add(key)
        elif key in past:
            past[key].append(previous)
        else:
            past[key] = [previous]
        # Last: a thread that reads a frozen state looks here first and in the past afterwards.
        self._live[key] = record
        self._changes.append(record)

    def delete(self, grave: KeyValue, previous: KeyValue) -> None:
        key = grave[0]
        # Before it goes from the live ones, for the same reason.
        self._past.setdefault(key, []).extend((previous, grave))
        del self._live[key]
        self._keys.remove(key)
        self._gone.add(key)
        self._changes.append(grave)

    def get_at(self, key: bytes, revision: int) -> KeyValue | None:
        record = self.get(key)
        if record is not None and record[MOD] <= revision:
            return record
        past = self._past.get(key, ())
        older = bisect_right(past, revision, key=_mod)
        return past[older - 1] if older else None

    def count(self, start: bytes, end: bytes | None) -> int:
        return self._keys.count(start, end)

    def select(self, start: bytes, end: bytes | None, limit: int) -> list[KeyValue]:
        live = self._live
        return [live[key] for key in self._keys.select(start, end, limit)]

    def select_at(
        self, start: bytes, end: bytes | None, revision: int, limit: int
    ) -> list[KeyValue]:
        keys = merge(self._keys.select(start, end), self._gone.select(start, end))
        found = (self.get_at(key, revision) for key in keys)
        live = (record for record in found if record is not None and record[VERSION])
        return list(islice(live, limit if limit > 0 else None))

    def changes(self, first: int, last: int) -> Iterator[KeyValue]:
        changes = self._changes
        low = bisect_left(changes, first, self._first, key=_mod)
        for place in range(low, bisect_right(changes, last, low, key=_mod)):
            yield changes[place]

    def compact(self, revision: int, changes_max: int) -> tuple[bool, int]:
        """See Records. What `freeze` gave must not be in use."""
        changes = self._changes
        stays = bisect_left(changes, revision, self._first, key=_mod)
        end = bisect_right(changes, revision, stays, key=_mod)
        start = stays + self._looked_at if self._first == stays else self._first
        last = min(end, start + changes_max)
        freed = 0
        for place in range(start, last):
            freed += self._compact_key(changes[place], revision)
        self._first = min(last, stays)
        self._looked_at = max(0, last - stays)
        self._forget()
        return last == end, freed

    def _compact_key(self, change: KeyValue, revision: int) -> int:
        """Takes what `change` hides; answers the bytes freed."""
        key = change[0]
        past = self._past.get(key)
        if past is None:
            return 0
        hidden = bisect_left(past, change[MOD], key=_mod)
        if not change[VERSION] and change[MOD] < revision:
            hidden += 1
        freed = sum(map(record_bytes, past[:hidden]))
        del past[:hidden]
        if not past:
            del self._past[key]
            if key not in self._live:
                self._gone.remove(key)
        return freed

    def _forget(self) -> None:
        """Moving the rest of a list to its front costs as much as the rest is long; so never for
        fewer than half of it."""
        if self._first * 2 >= len(self._changes):
            del self._changes[: self._first]
            self._first = 0

    def versions(self) -> Iterator[Sequence[KeyValue]]:
        if self._changes:
            return self.freeze(self._changes[-1][MOD]).versions()
        # All of it is older than the compaction: a store that was restored from a backup.
        newest = max(map(_mod, chain(self._live.values(), *self._past.values())), default=0)
        return self.freeze(newest).versions()

    def dissolve(self) -> None:
        """The end of records that nobody will read again, on any thread: in small steps, with turns
        for the others in between. Letting go of a million of them at once would hold up every
        thread for as long as that takes."""
        live, past, changes = self._live, self._past, self._changes
        while self._keys.remove_last(DISSOLVED_AT_ONCE) or live or past or changes:
            for held in (live, past):
                for _ in range(min(len(held), DISSOLVED_AT_ONCE)):
                    held.popitem()
            del changes[-DISSOLVED_AT_ONCE:]
            self._gone.remove_last(DISSOLVED_AT_ONCE)
            time.sleep(0)

    def freeze(self, revision: int) -> "FrozenRecords":
        """The state as of now, `revision` being the newest; costs a list of the keys. Right as long
        as nothing is compacted."""
        keys = [*self._keys.select(b"", None)], [*self._gone.select(b"", None)]
        changes = (self._changes, self._first, len(self._changes))
        return FrozenRecords(keys, self._live, self._past, changes, revision)


class FrozenRecords:
    """The versions up to a revision, for any one thread, while the owner goes on writing."""

    __slots__ = ("_changes", "_keys", "_live", "_past", "_revision")

    def __init__(
        self,
        keys: tuple[list[bytes], list[bytes]],
        live: dict[bytes, KeyValue],
        past: dict[bytes, list[KeyValue]],
        changes: tuple[list[KeyValue], int, int],
        revision: int,
    ) -> None:
        self._keys = keys
        self._live = live
        self._past = past
        self._changes = changes
        self._revision = revision

    def versions(self) -> Iterator[Sequence[KeyValue]]:
        """As Records.versions; nothing newer than the revision."""
        revision = self._revision
        for key in merge(*self._keys):
            # In this order: a record that the owner moves in between is then seen twice, not never.
            newest = self._live.get(key)
            versions = self._past.get(key, [])[:]
            if newest is not None and (not versions or versions[-1][MOD] < newest[MOD]):
                versions.append(newest)
            while versions[-1][MOD] > revision:
                versions.pop()
            yield versions

    def order(self, first: int) -> Iterator[Order]:
        """The revisions from `first` on that changed more than one key, and those keys in the order
        of their changes."""
        changes, low, high = self._changes
        places = range(bisect_left(changes, first, low, high, key=_mod), high)
        return shared_revisions(changes[place] for place in places)
