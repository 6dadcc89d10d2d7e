"""What only the memory engine's records do: being loaded, being frozen, sorting late."""

from collections.abc import Callable
from functools import partial
from itertools import product

import pytest
from test_records import delete, put, versions

from metastore.engines.memory import key_order
from metastore.engines.memory.key_order import KeyOrder
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.records import MOD, KeyValue, tombstone


def history() -> MemoryRecords:
    """Several keys in one revision against their order, a key deleted, one back again."""
    records = MemoryRecords()
    for key in (b"b", b"a", b"c"):
        put(records, key, 2)
    put(records, b"b", 3)
    delete(records, b"c", 4)
    delete(records, b"a", 4)
    put(records, b"c", 5)
    return records


def test_records_come_back_as_they_were_frozen() -> None:
    records = history()
    frozen = records.freeze(5)
    loaded = MemoryRecords(frozen.versions(), frozen.order(0))
    assert versions(loaded) == versions(records)
    assert list(loaded.changes(1, 9)) == list(records.changes(1, 9))
    assert loaded.select(b"", None, 0) == records.select(b"", None, 0)
    assert loaded.select_at(b"", None, 3, 0) == records.select_at(b"", None, 3, 0)
    assert len(loaded) == 2
    assert loaded.get(b"a") is None
    put(loaded, b"a", 6)
    assert loaded.get_at(b"a", 5) == tombstone(b"a", 4)


def test_only_revisions_of_several_changes_need_their_order_told() -> None:
    frozen = history().freeze(5)
    assert list(frozen.order(0)) == [(2, [b"b", b"a", b"c"]), (4, [b"c", b"a"])]
    assert list(frozen.order(4)) == [(4, [b"c", b"a"])]


def test_versions_below_the_compacted_revision_are_no_changes() -> None:
    records = history()
    loaded = MemoryRecords(records.versions(), compacted=4)
    assert [record[MOD] for record in loaded.changes(1, 9)] == [4, 4, 5]


def test_frozen_records_do_not_follow_their_owner() -> None:
    records = history()
    expected, order = versions(records), list(records.freeze(5).order(0))
    frozen = records.freeze(5)
    for key in (b"a", b"b", b"new"):
        put(records, key, 6)
    put(records, b"d", 6)
    delete(records, b"c", 7)
    delete(records, b"b", 7)
    put(records, b"b", 8)
    assert [list(of_key) for of_key in frozen.versions()] == expected
    assert list(frozen.order(0)) == order


def test_a_frozen_version_is_found_though_its_key_is_written_at_that_moment() -> None:
    """A write between the look at the live record and the one at the past: each in turn."""
    for write, moment in product((put, delete), ("before", "after")):
        records = MemoryRecords()
        first = put(records, b"k", 2)
        frozen = records.freeze(2)
        frozen._live = _Interrupted(frozen._live, **{moment: partial(write, records, b"k", 3)})
        assert list(frozen.versions()) == [[first]]


def test_a_replaced_record_is_in_the_past_before_it_leaves_the_live_ones() -> None:
    """The other half of the same promise: what a second thread sees between two steps."""
    for write in (put, delete):
        records = MemoryRecords()
        first = put(records, b"k", 2)
        watched = _Watched(records._live, partial(past_of, records))
        records._live = watched
        write(records, b"k", 3)
        assert watched.past_at_change[0] == first


def past_of(records: MemoryRecords) -> list[KeyValue]:
    return list(records._past.get(b"k", ()))


class _Interrupted(dict[bytes, KeyValue]):
    """The live records, written to just before or after somebody looks at one."""

    def __init__(
        self,
        live: dict[bytes, KeyValue],
        before: Callable[[], object] = object,
        after: Callable[[], object] = object,
    ) -> None:
        self._now = live
        self._before, self._after = before, after

    def get(self, key: bytes, default: object = None) -> object:  # type: ignore[override]
        self._before()
        found = self._now.get(key, default)
        self._after()
        return found


class _Watched(dict[bytes, KeyValue]):
    def __init__(self, live: dict[bytes, KeyValue], past: Callable[[], list[KeyValue]]) -> None:
        super().__init__(live)
        self._past = past
        self.past_at_change: list[KeyValue] = []

    def __setitem__(self, key: bytes, record: KeyValue) -> None:
        self.past_at_change = self._past()
        super().__setitem__(key, record)

    def __delitem__(self, key: bytes) -> None:
        self.past_at_change = self._past()
        super().__delitem__(key)


def test_keys_that_wait_for_their_order_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_order, "UNSORTED_KEYS_MAX", 5)
    keys = KeyOrder()
    for place in range(100):
        keys.add(b"%03d" % place)
        assert len(keys._unsorted) < 5
    assert list(keys.select(b"", None)) == [b"%03d" % place for place in range(100)]


def test_a_key_may_leave_while_it_waits_for_its_order() -> None:
    keys = KeyOrder([b"a"])
    keys.add(b"c")
    keys.add(b"b")
    keys.remove(b"c")
    assert list(keys.select(b"", None)) == [b"a", b"b"]
    assert keys.count(b"b", b"a") == 0


def test_forgotten_changes_are_freed() -> None:
    records = MemoryRecords()
    for revision in range(2, 102):
        put(records, b"k", revision)
    while not records.compact(101, 7)[0]:
        assert len(records._changes) <= 2 * sum(1 for _ in records.changes(0, 200)) + 7
    assert len(records._changes) == 1


def test_versions_that_are_all_older_than_the_compaction_are_walked() -> None:
    """As in a store that was restored: there is no change left, and yet there are keys."""
    versions = [[(b"a", b"1", 2, 2, 1, 0)], [(b"b", b"1", 3, 3, 1, 0)]]
    records = MemoryRecords(versions, (), compacted=9)
    assert [list(of_key) for of_key in records.versions()] == versions
