"""What every engine's Store owes a node about the past: old revisions, events, compaction."""

from typing import Any

import pytest
from engines_under_test import ALL, OPEN, hash_of, install, read, run, run_each, run_internal

from metastore.engines.records import tombstone
from metastore.transport.schema import (
    COMPACTED,
    FUTURE_REVISION,
    Alarm,
    Code,
    CompareResult,
    CompareTarget,
    Op,
    Operation,
    compare,
    delete_range,
    put,
    range_,
    txn,
)

A1 = (b"a", b"1", 2, 2, 1, 0)
B1 = (b"b", b"1", 3, 3, 1, 0)
A2 = (b"a", b"2", 2, 4, 2, 0)
A_GONE = tombstone(b"a", 5)
B_GONE = tombstone(b"b", 5)
A3 = (b"a", b"3", 6, 6, 1, 0)
C1 = (b"c", b"1", 6, 6, 1, 0)
C2 = (b"c", b"2", 6, 7, 2, 0)
EVENTS = [
    (A1, None),
    (B1, None),
    (A2, A1),
    (A_GONE, A2),
    (B_GONE, B1),
    (C1, None),
    (A3, None),
    (C2, C1),
]


def compact(revision: int) -> Operation:
    return (Op.COMPACT, revision, False)


def finish_compaction(store: Any, changes_max: int = 2) -> None:
    while store.compact_step(changes_max):
        pass


@pytest.fixture
def told(store: Any) -> Any:
    """A store with the history above."""
    fill(store)
    return store


def fill(store: Any) -> None:
    run_each(store, put(b"a", b"1"), put(b"b", b"1"), put(b"a", b"2"), delete_range(*ALL))
    is_new = compare(CompareTarget.VERSION, CompareResult.EQUAL, b"c", 0)
    # Not in key order: events stand in the order of the operations.
    run_each(store, txn([is_new], [put(b"c", b"1"), put(b"a", b"3")]), put(b"c", b"2"))
    assert store.revision == 7


def seen_at(store: Any, revision: int) -> Any:
    result = read(store, range_(*ALL, revision=revision))
    return result if result[0] else list(result[2])


# Reading the past


def test_every_revision_can_be_read(told: Any) -> None:
    states = [[], [A1], [A1, B1], [A2, B1], [], [A3, C1], [A3, C2]]
    assert [seen_at(told, revision) for revision in range(1, 8)] == states
    assert seen_at(told, 8) == (Code.OUT_OF_RANGE, FUTURE_REVISION)


def test_a_transaction_reads_what_it_wrote_at_one_revision(store: Any) -> None:
    run(store, put(b"gone", b""))
    operations = [put(b"k", b"1"), delete_range(b"gone"), range_(*ALL)]
    (result,) = run(store, txn([], operations))
    assert result[:3] == (Code.OK, 3, True)
    assert result[3][2] == (Code.OK, 3, ((b"k", b"1", 3, 3, 1, 0),), False, 1)
    assert store.revision == 3


# Events


def test_history_tells_every_change_with_the_version_before_it(told: Any) -> None:
    assert list(told.history(1, 7)) == EVENTS
    assert list(told.history(5, 6)) == EVENTS[3:7]
    assert list(told.history(8, 9)) == []


def test_events_are_taken_once_in_the_order_of_history(store: Any) -> None:
    run(store, put(b"z", b""))
    assert not store.take_events()
    store.collect_events(True)
    assert not store.take_events()
    run_each(store, put(b"a", b"1"), put(b"b", b"1"))
    store.collect_events(True)  # a second time: nothing is lost
    run(store, delete_range(b"a", b"c"))
    taken = list(store.take_events())
    assert taken == list(store.history(3, 5))
    assert len(taken) == 4
    assert not store.take_events()
    store.collect_events(False)
    run(store, put(b"c", b""))
    assert not store.take_events()


# Compaction


def test_a_compacted_revision_can_be_read_and_none_before_it(told: Any) -> None:
    assert run(told, compact(4)) == ((Code.OK, 7),)
    assert told.compacted_revision == 4
    for _ in range(2):
        assert seen_at(told, 3) == (Code.OUT_OF_RANGE, COMPACTED)
        assert [seen_at(told, r) for r in (4, 5, 6, 7)] == [[A2, B1], [], [A3, C1], [A3, C2]]
        finish_compaction(told)


def test_history_after_a_compaction_has_no_version_before_where_it_was_taken(told: Any) -> None:
    run(told, compact(4))
    finish_compaction(told)
    assert list(told.history(4, 7)) == [(A2, None), *EVENTS[3:]]


def test_compaction_frees_what_cannot_be_read_any_more(told: Any) -> None:
    before = told.size_bytes
    run(told, compact(7))
    finish_compaction(told, changes_max=1)
    assert told.size_bytes < before
    assert seen_at(told, 7) == [A3, C2]
    assert list(told.history(7, 7)) == [(C2, None)]
    empty_again = told.size_bytes
    run(told, delete_range(*ALL))
    run(told, compact(8))
    finish_compaction(told)
    run(told, put(b"a", b"1"))
    run(told, compact(9))
    finish_compaction(told)
    assert told.size_bytes < empty_again
    assert list(told.scan()) == [(b"a", b"1")]


def test_a_leaders_own_compaction_is_one_like_any_other(told: Any) -> None:
    run_internal(told, compact(6))
    assert told.compacted_revision == 6


def test_compaction_of_the_past_or_the_future_is_refused(told: Any) -> None:
    run(told, compact(4))
    assert run(told, compact(4)) == ((Code.OUT_OF_RANGE, COMPACTED),)
    assert run(told, compact(8)) == ((Code.OUT_OF_RANGE, FUTURE_REVISION),)


# Hashes


def test_the_hash_is_of_what_can_be_read_and_not_of_how_it_is_kept(
    open_store: OPEN, tmp_path: Any
) -> None:
    one, other = open_store("one"), open_store("other")
    for store in (one, other):
        fill(store)
        run(store, compact(5))
    finish_compaction(one)
    assert [hash_of(one, r) for r in (0, 5, 6, 7)] == [hash_of(other, r) for r in (0, 5, 6, 7)]
    before = hash_of(one)
    install(one, other, tmp_path / "received")
    assert hash_of(other) == before
    run(one, put(b"k", b"1"))
    run(other, put(b"k", b"2"))
    assert hash_of(one)[2] != hash_of(other)[2]
    assert hash_of(one, 7) == (Code.OK, 8, *before[2:]), "the past has the same hash as before"


def test_a_hash_names_its_revisions(told: Any) -> None:
    result = hash_of(told)
    assert (result[0], result[1], *result[3:]) == (Code.OK, 7, -1, 7)
    run(told, compact(4))
    assert hash_of(told, 6)[3:] == (4, 6)
    assert hash_of(told, 3) == (Code.OUT_OF_RANGE, COMPACTED)
    assert hash_of(told, 8) == (Code.OUT_OF_RANGE, FUTURE_REVISION)


# Alarms


def test_alarms_are_the_leaders_and_forbid_puts(store: Any) -> None:
    run_internal(store, (Op.ALARM, int(Alarm.NOSPACE), True))
    assert list(store.alarms) == [Alarm.NOSPACE]
    assert run(store, put(b"k", b"v"))[0][0] == Code.RESOURCE_EXHAUSTED
    run_internal(store, (Op.ALARM, int(Alarm.NOSPACE), False))
    assert list(store.alarms) == []
    assert run(store, put(b"k", b"v"))[0][0] == Code.OK
