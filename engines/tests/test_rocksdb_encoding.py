"""The order of the stored keys is the order that the records are asked for in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.rocksdb.encoding import (
    StoreMeta,
    change_key,
    change_revision,
    decode_record,
    decode_store_meta,
    encode_record,
    encode_store_meta,
    past_key,
    past_start,
    split_past_key,
)

# The bytes that an escape can get wrong.
KEYS = st.lists(st.sampled_from([0, 1, 0xFE, 0xFF]), max_size=5).map(bytes)
REVISIONS = st.one_of(st.integers(0, 3), st.sampled_from([255, 256, (1 << 63) - 1]))
VERSIONS = st.tuples(KEYS, REVISIONS)


@given(VERSIONS, VERSIONS)
def test_versions_are_ordered_by_key_and_then_by_revision(
    one: tuple[bytes, int], other: tuple[bytes, int]
) -> None:
    assert (past_key(*one) < past_key(*other)) == (one < other)


@given(VERSIONS, KEYS)
def test_the_start_of_a_key_stands_between_it_and_the_keys_before(
    version: tuple[bytes, int], key: bytes
) -> None:
    assert (past_key(*version) < past_start(key)) == (version[0] < key)


@given(VERSIONS)
def test_a_stored_version_tells_its_key_and_its_revision(version: tuple[bytes, int]) -> None:
    assert split_past_key(past_key(*version)) == version


def test_changes_are_ordered_by_revision_and_then_by_place() -> None:
    places = [(2, 0), (2, 1), (2, 256), (3, 0), (256, 0)]
    assert sorted(change_key(*place) for place in places) == [change_key(*p) for p in places]
    assert change_revision(change_key(256, 7)) == 256


def test_what_is_stored_comes_back() -> None:
    record = (b"k", b"v", 2, 3, 2, 9)
    assert decode_record(encode_record(record)) == record
    meta = StoreMeta(SnapshotMeta(5, 2, b"members"), 7)
    assert decode_store_meta(encode_store_meta(meta)) == meta


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x05"])
def test_what_is_neither_a_record_nor_an_applied_index_is_damage(data: bytes) -> None:
    for decode in (decode_record, decode_store_meta):
        with pytest.raises(StorageDamaged):
            decode(data)
