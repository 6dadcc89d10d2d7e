"""What every engine's Records must do, against a plain list of all versions ever made.

An engine joins by a name in MAKERS.
"""

from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rocks_records import rocks_records

from metastore.engines.memory.records import MemoryRecords
from metastore.engines.records import KeyValue, Records, record_bytes, tombstone

Maker = Callable[[], AbstractContextManager[Records]]

MAKERS: dict[str, Maker] = {"memory": lambda: nullcontext(MemoryRecords())}
# Everything still in the running batch, everything written, and a mixture.
for each in (0, 1, 3):
    MAKERS[f"rocksdb-{each}"] = partial(rocks_records, each)

KEYS = [b"a", b"a\x00", b"b", b"bb", b"\xff"]
BOUNDS = [b"", b"a", b"a\x00", b"b", b"c", b"\xff\xff"]


@pytest.fixture(params=list(MAKERS))
def make_records(request: pytest.FixtureRequest) -> Maker:
    return MAKERS[request.param]


@pytest.fixture
def records(make_records: Maker) -> Iterator[Records]:
    with make_records() as made:
        yield made


def put(records: Records, key: bytes, revision: int, value: bytes = b"v") -> KeyValue:
    previous = records.get(key)
    create, version = (revision, 1) if previous is None else (previous[2], previous[4] + 1)
    record = (key, value, create, revision, version, 0)
    records.put(record, previous)
    return record


def delete(records: Records, key: bytes, revision: int) -> KeyValue:
    previous = records.get(key)
    assert previous is not None
    records.delete(tombstone(key, revision), previous)
    return tombstone(key, revision)


def versions(records: Records) -> list[list[KeyValue]]:
    return [list(of_key) for of_key in records.versions()]


class Model:
    """Every version in the order of its making, and what compaction must have taken."""

    def __init__(self) -> None:
        self.made: list[KeyValue] = []
        self.compacted = 0

    def of_key(self, key: bytes) -> list[KeyValue]:
        """What a complete compaction leaves."""
        made = [record for record in self.made if record[0] == key]
        old = [record for record in made if record[3] <= self.compacted]
        kept = [r for r in old[-1:] if r[4] or r[3] == self.compacted]
        return kept + made[len(old) :]

    def get_at(self, key: bytes, revision: int) -> KeyValue | None:
        found = [record for record in self.of_key(key) if record[3] <= revision]
        return found[-1] if found else None

    def live_at(self, start: bytes, end: bytes | None, revision: int) -> list[KeyValue]:
        found = [self.get_at(key, revision) for key in sorted({r[0] for r in self.made})]
        return [r for r in found if r and r[4] and r[0] >= start and (end is None or r[0] < end)]

    def changes(self, first: int, last: int) -> list[KeyValue]:
        first = max(first, self.compacted)
        return [record for record in self.made if first <= record[3] <= last]


def check_reads(records: Records, model: Model, newest: int, start: bytes, end: bytes) -> None:
    for until in (end, None):
        now = model.live_at(start, until, newest)
        assert records.count(start, until) == len(now)
        assert records.select(start, until, 0) == now
        assert records.select(start, until, 2) == now[:2]
        for revision in range(max(1, model.compacted), newest + 1):
            then = model.live_at(start, until, revision)
            assert records.select_at(start, until, revision, 0) == then
            assert records.select_at(start, until, revision, 1) == then[:1]
    assert len(records) == len(model.live_at(b"", None, newest))
    for key in KEYS:
        for revision in range(max(1, model.compacted), newest + 1):
            found, expected = records.get_at(key, revision), model.get_at(key, revision)
            # A tombstone below the compacted revision may be there or not until it is taken.
            assert found == expected or (expected is None and found is not None and not found[4])
    first = max(1, model.compacted)
    assert list(records.changes(first, newest)) == model.changes(first, newest)
    assert list(records.changes(first + 1, newest - 1)) == model.changes(first + 1, newest - 1)


STEPS = st.one_of(
    st.tuples(st.just("put"), st.lists(st.sampled_from(KEYS), min_size=1, unique=True)),
    st.tuples(st.just("delete"), st.lists(st.sampled_from(KEYS), min_size=1, unique=True)),
    st.tuples(st.just("compact"), st.tuples(st.integers(0, 9), st.integers(1, 4))),
    st.tuples(st.just("slice"), st.integers(1, 3)),
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    steps=st.lists(STEPS, max_size=25),
    start=st.sampled_from(BOUNDS),
    end=st.sampled_from(BOUNDS),
)
@pytest.mark.parametrize("name", list(MAKERS))
def test_records_read_as_a_list_of_all_versions_does(
    name: str, steps: list[tuple[str, Any]], start: bytes, end: bytes
) -> None:
    model, newest = Model(), 1
    with MAKERS[name]() as records:
        for step, argument in steps:
            if step == "compact":
                back, changes_max = argument
                model.compacted = max(model.compacted, newest - back)
                records.compact(model.compacted, changes_max)
            elif step == "slice":
                records.compact(model.compacted, argument)
            else:
                newest += 1
                for key in argument:
                    if step == "put":
                        model.made.append(put(records, key, newest))
                    elif records.get(key) is not None:
                        model.made.append(delete(records, key, newest))
            check_reads(records, model, newest, start, end)
        while not records.compact(model.compacted, 1)[0]:
            pass
        check_reads(records, model, newest, start, end)
        expected = [model.of_key(key) for key in KEYS]
        assert versions(records) == [of_key for of_key in expected if of_key]


def test_a_key_has_its_newest_live_version(records: Records) -> None:
    put(records, b"k", 2)
    newest = put(records, b"k", 3)
    assert records.get(b"k") == newest
    delete(records, b"k", 4)
    assert records.get(b"k") is None
    assert len(records) == 0


def test_changes_of_one_revision_keep_the_order_they_were_made_in(records: Records) -> None:
    made = [put(records, key, 2) for key in (b"c", b"a", b"b")]
    made += [delete(records, b"c", 3), put(records, b"0", 3)]
    assert list(records.changes(2, 3)) == made
    assert list(records.changes(3, 9)) == made[3:]
    assert list(records.changes(4, 9)) == []


def test_a_key_that_comes_back_shows_its_absence_in_between(records: Records) -> None:
    first = put(records, b"k", 2)
    grave = delete(records, b"k", 3)
    second = put(records, b"k", 4)
    assert [records.get_at(b"k", revision) for revision in (1, 2, 3, 4)] == [
        *(None, first, grave, second)
    ]
    assert records.select_at(b"", None, 3, 0) == []
    assert records.select_at(b"", None, 2, 0) == [first]
    assert versions(records) == [[first, grave, second]]


def test_a_deleted_key_is_found_between_live_ones_in_the_past(records: Records) -> None:
    made: list[KeyValue] = []
    for revision, key in enumerate((b"c", b"a", b"b"), 2):
        insort(made, put(records, key, revision))
    delete(records, b"b", 5)
    assert records.select_at(b"", None, 4, 0) == made
    assert records.select_at(b"", None, 4, 2) == made[:2]


def test_compaction_takes_what_a_reader_at_its_revision_cannot_see(records: Records) -> None:
    old = put(records, b"k", 2)
    newer = put(records, b"k", 3)
    newest = put(records, b"k", 4)
    assert records.compact(3, 100) == (True, record_bytes(old))
    assert versions(records) == [[newer, newest]]


def test_a_tombstone_stays_for_a_watch_from_the_compacted_revision(records: Records) -> None:
    put(records, b"k", 2)
    grave = delete(records, b"k", 3)
    records.compact(3, 100)
    assert versions(records) == [[grave]]
    assert list(records.changes(3, 3)) == [grave]
    put(records, b"other", 4)
    assert records.compact(4, 100) == (True, record_bytes(grave))
    assert [of_key[0][0] for of_key in records.versions()] == [b"other"]


def test_slices_take_no_more_than_asked_and_come_to_an_end(records: Records) -> None:
    for revision in range(2, 7):
        put(records, b"k", revision)
    one = record_bytes((b"k", b"v", 0, 0, 0, 0))
    freed = [records.compact(6, 2) for _ in range(3)]
    # The first change of a key hides nothing.
    assert freed == [(False, one), (False, 2 * one), (True, one)]


def test_slices_come_to_an_end_in_a_revision_larger_than_a_slice(records: Records) -> None:
    for key in KEYS:
        put(records, key, 2)
    for key in KEYS:
        delete(records, key, 3)
    done = [records.compact(3, 2)[0] for _ in range(5)]
    assert done == [False, False, False, False, True]
    graves = [tombstone(key, 3) for key in KEYS]
    assert versions(records) == [[grave] for grave in graves]
    assert list(records.changes(3, 3)) == graves


def test_compacting_twice_frees_nothing_more(records: Records) -> None:
    put(records, b"k", 2)
    put(records, b"k", 3)
    assert records.compact(3, 100)[1] > 0
    assert records.compact(3, 100) == (True, 0)
