"""Compaction: forbidden at once, gone slice by slice."""

import pytest
from key_spaces import all_versions, empty_keys, out_of_range

from metastore.engines import mvcc
from metastore.engines.mvcc import KeySpace
from metastore.engines.records import record_bytes, tombstone
from metastore.transport.schema import (
    COMPACTED,
    FUTURE_REVISION,
    Code,
    Op,
    Operation,
    delete_range,
    put,
)


def compact(revision: int, *, physical: bool = False) -> Operation:
    return (int(Op.COMPACT), revision, physical)


def written(times: int = 5) -> KeySpace:
    """The same key at revisions 2, 3, ..."""
    keys: KeySpace = empty_keys()
    for place in range(times):
        keys.put(put(b"k", b"%d" % place))
    return keys


def test_compaction_changes_no_revision_and_forbids_older_ones() -> None:
    keys = written()
    assert keys.compact(compact(4)) == (Code.OK, 6)
    assert (keys.revision, keys.compacted_revision) == (6, 4)


def test_what_is_compacted_or_to_come_cannot_be_compacted() -> None:
    keys = written()
    keys.compact(compact(4))
    for revision in (4, 3, 0, -1):
        assert keys.compact(compact(revision)) == out_of_range(COMPACTED)
    assert keys.compact(compact(7)) == out_of_range(FUTURE_REVISION)
    assert keys.compacted_revision == 4
    assert keys.compact(compact(6)) == (Code.OK, 6)


def test_versions_go_in_slices_and_their_size_with_them() -> None:
    keys = written()
    assert not keys.compact_step(100)
    keys.compact(compact(5))
    assert len(all_versions(keys)) == 5
    assert keys.compact_step(2)
    assert 2 < len(all_versions(keys)) < 5
    while keys.compact_step(2):
        pass
    assert [record[3] for record in all_versions(keys)] == [5, 6]
    assert keys.size_bytes == sum(map(record_bytes, all_versions(keys)))
    assert not keys.compact_step(2)


def test_what_is_done_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = written()
    keys.compact(compact(5, physical=True))
    monkeypatch.setattr(type(keys.records), "compact", None)
    assert not keys.compact_step(2)


def test_a_physical_compaction_is_over_when_it_is_answered() -> None:
    keys = written()
    keys.compact(compact(6, physical=True))
    assert [record[3] for record in all_versions(keys)] == [6]
    assert not keys.compact_step(1)


def test_a_long_physical_compaction_goes_on_in_the_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mvcc, "COMPACT_AT_ONCE_CHANGES", 2)
    keys = written()
    keys.compact(compact(6, physical=True))
    assert len(all_versions(keys)) > 1
    while keys.compact_step(1):
        pass
    assert [record[3] for record in all_versions(keys)] == [6]


def test_a_store_without_keys_has_no_size_left() -> None:
    keys = written()
    keys.delete_range(delete_range(b"k"))
    keys.put(put(b"other", b""))
    keys.delete_range(delete_range(b"other"))
    keys.put(put(b"x", b""))
    keys.compact(compact(keys.revision, physical=True))
    assert keys.size_bytes == record_bytes((b"x", b"", 0, 0, 0, 0))


def test_nothing_goes_while_somebody_reads_the_old_versions() -> None:
    keys = written()
    keys.compaction_pauses = 1
    keys.compact(compact(6, physical=True))
    assert not keys.compact_step(100)
    assert len(all_versions(keys)) == 5
    keys.compaction_pauses = 0
    keys.compact_step(100)
    assert len(all_versions(keys)) == 1


def test_a_key_space_opened_again_goes_on_compacting() -> None:
    before = written()
    before.compact(compact(6))
    keys = empty_keys()
    again = KeySpace(before.records, keys._leases, revision=6, compacted_revision=6)
    again.compact_step(100)
    assert len(all_versions(again)) == 1


def test_the_change_of_the_compacted_revision_is_still_told_without_what_was_before() -> None:
    keys = written(3)
    keys.delete_range(delete_range(b"k"))
    events = list(keys.history(4, 5))
    assert events[0][1] is not None
    for is_physical in (False, True):
        keys.compact(compact(3 if not is_physical else 4, physical=is_physical))
    assert list(keys.history(4, 5)) == [
        ((b"k", b"2", 2, 4, 3, 0), None),
        (tombstone(b"k", 5), (b"k", b"2", 2, 4, 3, 0)),
    ]


def test_what_was_before_does_not_depend_on_how_far_compaction_got() -> None:
    keys = written(3)
    keys.compact(compact(4))
    lazy = list(keys.history(4, 4))
    keys.compact_step(100)
    assert list(keys.history(4, 4)) == lazy == [((b"k", b"2", 2, 4, 3, 0), None)]
