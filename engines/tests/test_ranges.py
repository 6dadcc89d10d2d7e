"""What a range answers, as etcd 3.5 does: at which revision, in which order, and how many."""

from itertools import pairwise

import pytest
from key_spaces import empty_keys, out_of_range

from metastore.engines.mvcc import KeySpace
from metastore.transport.schema import (
    COMPACTED,
    FUTURE_REVISION,
    Code,
    Operation,
    SortOrder,
    SortTarget,
    delete_range,
    filtered_range,
    put,
    range_,
)

EVERYTHING = (b"\x00", b"\x00")


@pytest.fixture
def keys() -> KeySpace:
    """a, b, c created in this order at 2, 3, 4 with values 3, 2, 1; a put again at 5 and 6, b at
    7."""
    keys: KeySpace = empty_keys()
    for key, value in ((b"a", b"3"), (b"b", b"2"), (b"c", b"1")):
        keys.put(put(key, value))
    for key, value in ((b"a", b"3"), (b"a", b"3"), (b"b", b"2")):
        keys.put(put(key, value))
    return keys


def read(keys: KeySpace, operation: Operation) -> tuple[list[bytes], bool, int]:
    """Found keys, whether there are more, the count."""
    status, revision, found, has_more, count = keys.range(operation)
    assert (status, revision) == (Code.OK, keys.revision)
    return [record[0] for record in found], has_more, count


def test_one_key_is_handed_out_as_it_is_kept(keys: KeySpace) -> None:
    assert keys.range(range_(b"b"))[2][0] is keys.records.get(b"b")
    assert keys.range(range_(b"missing")) == (Code.OK, 7, (), False, 0)


def test_the_end_of_a_range_is_outside_and_a_zero_byte_is_no_end(keys: KeySpace) -> None:
    assert read(keys, range_(b"a", b"c")) == ([b"a", b"b"], False, 2)
    assert read(keys, range_(b"b", b"\x00")) == ([b"b", b"c"], False, 2)
    assert read(keys, range_(*EVERYTHING)) == ([b"a", b"b", b"c"], False, 3)
    assert read(keys, range_(b"c", b"a")) == ([], False, 0)


def test_the_count_ignores_the_limit(keys: KeySpace) -> None:
    assert read(keys, range_(*EVERYTHING, limit=2)) == ([b"a", b"b"], True, 3)
    assert read(keys, range_(*EVERYTHING, limit=3)) == ([b"a", b"b", b"c"], False, 3)
    assert read(keys, range_(*EVERYTHING, limit=-1)) == ([b"a", b"b", b"c"], False, 3)
    assert read(keys, range_(b"a", limit=1)) == ([b"a"], False, 1)
    assert read(keys, range_(*EVERYTHING, limit=1, revision=3)) == ([b"a"], True, 2)


def test_a_range_need_not_be_counted(keys: KeySpace) -> None:
    assert read(keys, range_(*EVERYTHING, limit=2, no_count=True)) == ([b"a", b"b"], True, 2)
    assert read(keys, range_(*EVERYTHING, limit=3, no_count=True))[1:] == (False, 3)
    assert read(keys, range_(*EVERYTHING, count_only=True, no_count=True)) == ([], False, 3)


def test_a_range_that_need_not_be_counted_is_not(
    keys: KeySpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(keys.records), "count", None)
    assert read(keys, range_(*EVERYTHING, limit=2, no_count=True)) == ([b"a", b"b"], True, 2)
    assert read(keys, range_(*EVERYTHING)) == ([b"a", b"b", b"c"], False, 3)


def test_a_count_alone_has_no_keys(keys: KeySpace) -> None:
    assert read(keys, range_(*EVERYTHING, count_only=True, limit=1)) == ([], False, 3)
    assert read(keys, range_(*EVERYTHING, count_only=True, revision=3)) == ([], False, 2)
    assert read(keys, range_(b"a", count_only=True)) == ([], False, 1)
    assert read(keys, range_(b"missing", count_only=True)) == ([], False, 0)


def test_keys_alone_lose_their_value_and_nothing_else(keys: KeySpace) -> None:
    assert keys.range(range_(b"a", keys_only=True))[2] == [(b"a", b"", 2, 6, 3, 0)]
    assert keys.records.get(b"a") == (b"a", b"3", 2, 6, 3, 0)


# The past


def test_an_older_revision_is_read_as_it_was(keys: KeySpace) -> None:
    keys.delete_range(delete_range(b"b"))
    assert read(keys, range_(*EVERYTHING)) == ([b"a", b"c"], False, 2)
    assert keys.range(range_(*EVERYTHING, revision=5)) == (
        *(Code.OK, 8),
        [(b"a", b"3", 2, 5, 2, 0), (b"b", b"2", 3, 3, 1, 0), (b"c", b"1", 4, 4, 1, 0)],
        *(False, 3),
    )
    assert read(keys, range_(b"b", revision=7)) == ([b"b"], False, 1)
    assert read(keys, range_(b"b", revision=8)) == ([], False, 0)
    assert read(keys, range_(b"b", revision=2)) == ([], False, 0)
    keys.put(put(b"b", b"again"))
    assert read(keys, range_(b"b", revision=8)) == ([], False, 0)


def test_a_revision_to_come_is_refused_even_of_an_empty_range(keys: KeySpace) -> None:
    refused = out_of_range(FUTURE_REVISION)
    assert keys.range(range_(b"a", revision=8)) == refused
    assert keys.range(range_(b"z", b"a", revision=8)) == refused
    assert read(keys, range_(b"a", revision=7)) == ([b"a"], False, 1)


def test_the_compacted_revision_is_the_oldest_that_can_be_read(keys: KeySpace) -> None:
    keys.compact((6, 4, False))
    assert keys.range(range_(b"a", revision=3)) == out_of_range(COMPACTED)
    assert read(keys, range_(*EVERYTHING, revision=4)) == ([b"a", b"b", b"c"], False, 3)


def test_a_negative_revision_is_now(keys: KeySpace) -> None:
    keys.compact((6, 4, False))
    assert read(keys, range_(b"a", revision=-3)) == ([b"a"], False, 1)


# Order


@pytest.mark.parametrize(
    ("target", "ascending"),
    [
        (SortTarget.KEY, b"abc"),
        (SortTarget.VERSION, b"cba"),
        (SortTarget.CREATE, b"abc"),
        (SortTarget.MOD, b"cab"),
        (SortTarget.VALUE, b"cba"),
    ],
)
def test_a_range_is_sorted_by_its_target(
    keys: KeySpace, target: SortTarget, ascending: bytes
) -> None:
    for order in (SortOrder.NONE, SortOrder.ASCEND, SortOrder.DESCEND):
        plain = range_(*EVERYTHING)
        found = read(keys, filtered_range(plain, sort_order=order, sort_target=target))[0]
        assert b"".join(found) == (ascending[::-1] if order == SortOrder.DESCEND else ascending)


def test_the_limit_comes_after_the_order(keys: KeySpace) -> None:
    plain = range_(*EVERYTHING, limit=1)
    by_value = filtered_range(plain, sort_order=SortOrder.ASCEND, sort_target=SortTarget.VALUE)
    assert read(keys, by_value) == ([b"c"], True, 3)
    last = filtered_range(plain, sort_order=SortOrder.DESCEND)
    assert read(keys, last) == ([b"c"], True, 3)


def test_a_target_without_an_order_sorts_what_the_limit_lets_through(keys: KeySpace) -> None:
    """Etcd reads one key more than the limit, sorts these, and then cuts: b, not c."""
    plain = range_(*EVERYTHING, limit=1)
    assert read(keys, filtered_range(plain, sort_target=SortTarget.VALUE)) == ([b"b"], True, 3)


# Filters


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"min_mod_revision": 6}, [b"a", b"b"]),
        ({"max_mod_revision": 6}, [b"a", b"c"]),
        ({"min_create_revision": 3}, [b"b", b"c"]),
        ({"max_create_revision": 3}, [b"a", b"b"]),
        ({"min_mod_revision": 5, "max_create_revision": 2}, [b"a"]),
        ({"min_mod_revision": 8}, []),
        ({"max_mod_revision": -3}, []),
    ],
)
def test_bounds_of_revisions_are_inclusive_and_not_counted(
    keys: KeySpace, bounds: dict[str, int], expected: list[bytes]
) -> None:
    assert read(keys, filtered_range(range_(*EVERYTHING), **bounds)) == (expected, False, 3)


def test_the_limit_comes_after_the_filters(keys: KeySpace) -> None:
    plain = range_(*EVERYTHING, limit=1)
    assert read(keys, filtered_range(plain, max_mod_revision=4)) == ([b"c"], False, 3)
    assert read(keys, filtered_range(plain, min_create_revision=3)) == ([b"b"], True, 3)


def test_one_key_may_be_filtered_too(keys: KeySpace) -> None:
    assert read(keys, filtered_range(range_(b"c"), min_mod_revision=5)) == ([], False, 1)


def test_no_filter_changes_what_is_kept(keys: KeySpace) -> None:
    plain = range_(*EVERYTHING, limit=1)
    read(keys, filtered_range(plain, sort_order=SortOrder.DESCEND))
    found = read(keys, range_(*EVERYTHING))[0]
    assert all(one < other for one, other in pairwise(found))
