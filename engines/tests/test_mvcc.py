"""Puts, deletes, leases, revisions and events, as etcd 3.5 answers them."""

import pytest
from key_spaces import LEASE, LeaseTable, all_versions, content, empty_keys, invalid

from metastore.engines.records import record_bytes, tombstone
from metastore.transport.schema import (
    KEY_NOT_FOUND,
    KEY_NOT_PROVIDED,
    LEASE_NOT_FOUND,
    LEASE_PROVIDED,
    VALUE_PROVIDED,
    Code,
    delete_range,
    put,
    range_,
    txn,
)


def test_the_first_write_of_an_empty_store_is_revision_2() -> None:
    keys = empty_keys()
    assert keys.revision == 1
    assert keys.put(put(b"k", b"v")) == (Code.OK, 2, None)
    assert keys.records.get(b"k") == (b"k", b"v", 2, 2, 1, 0)


def test_a_put_counts_the_version_and_keeps_the_creation() -> None:
    keys = empty_keys()
    keys.put(put(b"k", b"1"))
    before = keys.records.get(b"k")
    assert keys.put(put(b"k", b"2", prev_kv=True)) == (Code.OK, 3, before)
    assert keys.put(put(b"k", b"2")) == (Code.OK, 4, None)
    assert keys.records.get(b"k") == (b"k", b"2", 2, 4, 3, 0)


def test_a_key_that_was_deleted_starts_again() -> None:
    keys = empty_keys()
    keys.put(put(b"k", b"1"))
    keys.delete_range(delete_range(b"k"))
    keys.put(put(b"k", b"2"))
    assert keys.records.get(b"k") == (b"k", b"2", 4, 4, 1, 0)


def test_a_delete_takes_all_its_keys_in_one_revision() -> None:
    keys = empty_keys()
    for key in (b"b", b"a", b"c"):
        keys.put(put(key, b"v"))
    gone = [keys.records.get(key) for key in (b"a", b"b")]
    assert keys.delete_range(delete_range(b"a", b"c", prev_kv=True)) == (Code.OK, 5, 2, gone)
    assert list(keys.records.changes(5, 5)) == [tombstone(b"a", 5), tombstone(b"b", 5)]
    assert keys.delete_range(delete_range(b"c", b"\x00")) == (Code.OK, 6, 1, ())


def test_a_delete_of_nothing_makes_no_revision() -> None:
    keys = empty_keys()
    keys.put(put(b"k", b"v"))
    for nothing in (delete_range(b"a"), delete_range(b"l", b"m"), delete_range(b"z", b"a")):
        assert keys.delete_range(nothing) == (Code.OK, 2, 0, ())
    assert keys.revision == 2


def test_no_operation_takes_an_empty_key() -> None:
    keys = empty_keys()
    refused = invalid(KEY_NOT_PROVIDED)
    assert keys.put(put(b"", b"v")) == refused
    assert keys.put(put(b"", b"v", ignore_value=True)) == refused
    assert keys.delete_range(delete_range(b"", b"\x00")) == refused
    assert keys.range(range_(b"")) == refused
    assert keys.range(range_(b"", b"\x00")) == refused
    assert keys.revision == 1


# What a put leaves as it is


def test_a_put_may_keep_the_value_or_the_lease() -> None:
    keys = empty_keys()
    keys.put(put(b"k", b"v", lease=LEASE))
    keys.put(put(b"k", b"", lease=LEASE, ignore_value=True))
    assert keys.records.get(b"k") == (b"k", b"v", 2, 3, 2, LEASE)
    keys.put(put(b"k", b"w", ignore_lease=True))
    assert keys.records.get(b"k") == (b"k", b"w", 2, 4, 3, LEASE)


@pytest.mark.parametrize("kept", ["ignore_value", "ignore_lease"])
def test_what_a_missing_key_has_cannot_be_kept(kept: str) -> None:
    keys = empty_keys()
    keys.put(put(b"k", b"v"))
    keys.delete_range(delete_range(b"k"))
    assert keys.put(put(b"k", b"", **{kept: True})) == invalid(KEY_NOT_FOUND)
    assert keys.revision == 3


def test_what_is_kept_cannot_be_given() -> None:
    keys = empty_keys()
    keys.put(put(b"k", b"v"))
    both = put(b"k", b"w", lease=9, ignore_value=True, ignore_lease=True)
    assert keys.put(both) == invalid(VALUE_PROVIDED)
    assert keys.put(put(b"k", b"w", lease=9, ignore_lease=True)) == invalid(LEASE_PROVIDED)
    assert keys.revision == 2


# Leases


def test_a_key_hangs_on_the_lease_of_its_last_put_only() -> None:
    leases = LeaseTable(LEASE, 6)
    keys = empty_keys(leases)
    keys.put(put(b"k", b"v", lease=LEASE))
    assert leases.keys == {LEASE: {b"k"}, 6: set()}
    keys.put(put(b"k", b"v", lease=6))
    assert leases.keys == {LEASE: set(), 6: {b"k"}}
    keys.put(put(b"k", b"v"))
    assert leases.keys == {LEASE: set(), 6: set()}
    keys.put(put(b"k", b"v", lease=6))
    assert leases.keys == {LEASE: set(), 6: {b"k"}}


def test_a_deleted_key_hangs_on_no_lease() -> None:
    leases = LeaseTable(LEASE)
    keys = empty_keys(leases)
    keys.put(put(b"k", b"v", lease=LEASE))
    keys.delete_range(delete_range(b"k"))
    assert leases.keys == {LEASE: set()}


def test_an_unknown_lease_is_the_first_thing_a_put_is_refused_for() -> None:
    keys = empty_keys()
    not_found = (Code.NOT_FOUND, LEASE_NOT_FOUND)
    assert keys.put(put(b"k", b"v", lease=9)) == not_found
    assert keys.put(put(b"k", b"", lease=9, ignore_value=True)) == not_found
    assert keys.revision == 1


def test_the_keys_of_a_lease_go_in_one_revision_and_in_order() -> None:
    leases = LeaseTable(LEASE)
    keys = empty_keys(leases)
    for key in (b"b", b"a"):
        keys.put(put(key, b"v", lease=LEASE))
    assert keys.delete_keys([b"b", b"missing", b"a"]) == 2
    assert list(keys.records.changes(4, 9)) == [tombstone(b"a", 4), tombstone(b"b", 4)]
    assert leases.keys == {LEASE: set()}
    assert keys.delete_keys([b"a"]) == 0
    assert keys.revision == 4


# Events and size


def test_every_version_is_an_event_with_what_was_before() -> None:
    keys = empty_keys()
    keys.put(put(b"unheard", b"v"))
    keys.events = []
    keys.put(put(b"k", b"1"))
    keys.put(put(b"k", b"2"))
    keys.txn(txn((), [delete_range(b"k"), put(b"l", b"v")]))
    keys.delete_keys([b"l"])
    one, two = (b"k", b"1", 3, 3, 1, 0), (b"k", b"2", 3, 4, 2, 0)
    other = (b"l", b"v", 5, 5, 1, 0)
    assert keys.events == [
        (one, None),
        (two, one),
        (tombstone(b"k", 5), two),
        (other, None),
        (tombstone(b"l", 6), other),
    ]
    assert list(keys.history(3, 6)) == keys.events
    assert list(keys.history(4, 4)) == keys.events[1:2]


def test_a_key_put_again_after_its_deletion_had_nothing_before() -> None:
    keys = empty_keys()
    keys.events = []
    keys.put(put(b"k", b"1"))
    keys.delete_range(delete_range(b"k"))
    keys.put(put(b"k", b"2"))
    assert keys.events[-1] == ((b"k", b"2", 4, 4, 1, 0), None)
    assert list(keys.history(4, 4)) == keys.events[-1:]


def test_the_size_counts_every_version_and_tombstone() -> None:
    keys = empty_keys()
    keys.put(put(b"key", b"value"))
    keys.put(put(b"key", b"v"))
    keys.put(put(b"key", b"", ignore_value=True))
    keys.delete_range(delete_range(b"key"))
    assert keys.size_bytes == sum(map(record_bytes, all_versions(keys)))
    assert content(keys) == {}
