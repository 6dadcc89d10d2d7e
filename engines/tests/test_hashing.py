"""One number for replicas with the same contents, whatever else differs between them."""

from key_spaces import empty_keys

from metastore.engines.hashing import hash_versions, visible
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.mvcc import KeySpace
from metastore.engines.records import KeyValue, tombstone
from metastore.transport.schema import Op, delete_range, put


def written() -> KeySpace:
    keys: KeySpace = empty_keys()
    for place in range(3):
        keys.put(put(b"a", b"%d" % place))
        keys.put(put(b"b", b"%d" % place))
    keys.delete_range(delete_range(b"a"))
    keys.put(put(b"c", b""))
    return keys


def hash_of(keys: KeySpace, revision: int = 0) -> int:
    compacted = keys.compacted_revision
    return hash_versions(keys.records.versions(), compacted, revision or keys.revision)


def test_equal_histories_have_equal_hashes() -> None:
    assert hash_of(written()) == hash_of(written())


def test_every_field_counts() -> None:
    record: KeyValue = (b"k", b"v", 2, 3, 4, 5)
    others = [
        *((b"l", *record[1:]), (b"k", b"w", *record[2:]), (b"k", b"v", 1, 3, 4, 5)),
        *((b"k", b"v", 2, 4, 4, 5), (b"k", b"v", 2, 3, 5, 5), (b"k", b"v", 2, 3, 4, 6)),
    ]
    hashes = {hash_versions([[kv]], 0, 9) for kv in [record, *others]}
    assert len(hashes) == 7


def test_bytes_do_not_slip_from_one_key_into_its_neighbour() -> None:
    one = hash_versions([[(b"ab", b"c", 2, 2, 1, 0)]], 0, 9)
    assert one != hash_versions([[(b"a", b"bc", 2, 2, 1, 0)]], 0, 9)


def test_a_hash_at_a_revision_ignores_what_came_later() -> None:
    keys = written()
    then = hash_of(keys)
    revision = keys.revision
    keys.put(put(b"b", b"later"))
    keys.delete_range(delete_range(b"c"))
    assert hash_of(keys, revision) == then != hash_of(keys)


def test_a_hash_does_not_depend_on_how_far_compaction_got() -> None:
    for revision in range(2, 10):
        keys = written()
        keys.compact((int(Op.COMPACT), revision, False))
        lazy = hash_of(keys)
        while keys.compact_step(1):
            assert hash_of(keys) == lazy
        assert hash_of(keys) == lazy


def test_a_hash_survives_a_snapshot() -> None:
    keys = written()
    loaded = MemoryRecords(keys.records.versions())
    assert hash_versions(loaded.versions(), 0, keys.revision) == hash_of(keys)


def test_only_what_a_reader_can_come_to_see_is_visible() -> None:
    two, three, five = (b"k", b"", 2, 2, 1, 0), (b"k", b"", 2, 3, 2, 0), (b"k", b"", 2, 5, 3, 0)
    grave = tombstone(b"k", 6)
    versions = [two, three, five, grave]
    assert list(visible(versions, 0, 9)) == versions
    assert list(visible(versions, 4, 5)) == [three, five]
    assert list(visible(versions, 5, 6)) == [five, grave]
    assert list(visible(versions, 6, 6)) == [grave]
    assert list(visible(versions, 7, 7)) == []
    assert list(visible(versions, 0, 1)) == []
