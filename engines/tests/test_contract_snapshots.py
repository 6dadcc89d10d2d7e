"""What every engine's Store owes a node about snapshots: one moment, whole or refused (D3, D5)."""

import queue
from pathlib import Path
from typing import Any

import pytest
from engines_under_test import (
    ALL,
    ENGINES,
    OPEN,
    export,
    hash_of,
    install,
    read,
    run,
    run_each,
    save,
)

from metastore.engines.contract import LogRecord, SnapshotMeta, StorageDamaged
from metastore.transport.schema import (
    COMPACTED,
    Code,
    Op,
    delete_range,
    encode_batch,
    encode_request,
    put,
    range_,
    txn,
)


def state_of(store: Any) -> Any:
    first = max(store.compacted_revision, 1)
    history = list(store.history(first, store.revision))
    return store.applied, list(store.scan()), history, hash_of(store)


# Saving


def test_a_store_opened_again_is_where_its_snapshot_is_or_later(open_store: OPEN) -> None:
    store = open_store()
    entries = [
        LogRecord(2, index, 0, encode_batch([encode_request([put(b"k%d" % index, b"v")])]))
        for index in range(2, 8)
    ]
    store.skip(1, 1, b"members")
    store.apply(entries[:4])
    meta = save(store)
    assert meta == store.latest_snapshot() == SnapshotMeta(5, 2, b"members")
    store.apply(entries[4:])
    expected = state_of(store)
    again = open_store()
    assert again.latest_snapshot() == meta
    assert 5 <= again.last_applied <= 7
    again.apply([entry for entry in entries if entry.index > again.last_applied])
    assert state_of(again) == expected


def test_a_snapshot_right_after_a_configuration_contains_it(
    open_store: OPEN, tmp_path: Path
) -> None:  # D3 (ii)
    store, target = open_store(), open_store("target")
    store.skip(1, 1, b"old members")
    run(store, put(b"k", b"v"))
    store.skip(3, 4, b"new members")
    assert save(store) == SnapshotMeta(3, 4, b"new members")
    assert install(store, target, tmp_path / "received") == target.applied
    assert target.applied.configuration == b"new members"
    assert open_store().applied == SnapshotMeta(3, 4, b"new members")


def test_a_snapshot_has_the_state_of_its_call_whatever_is_applied_meanwhile(
    open_store: OPEN, tmp_path: Path
) -> None:
    store, target = open_store(), open_store("target")
    run(store, *(put(b"k%04d" % place, b"oldest") for place in range(1000)))
    run(store, *(put(b"k%04d" % place, b"old") for place in range(3000)))
    expected = state_of(store)
    done: queue.Queue[Exception | None] = queue.Queue()
    meta = store.save_snapshot(done.put)
    run(store, *(put(b"k%04d" % place, b"new") for place in range(3000)))
    run(store, delete_range(*ALL))
    run(store, (Op.COMPACT, store.revision, True))
    while store.compact_step(100):
        pass
    assert done.get(timeout=30) is None
    received = export(store, meta, tmp_path / "received")
    target.prepare_snapshot(meta, received)
    target.install_snapshot(meta, received)
    assert state_of(target) == expected
    assert target.key_count == 3000


def test_compaction_goes_on_once_the_snapshot_is_written(store: Any) -> None:
    run_each(store, put(b"k", b"1"), put(b"k", b"2"), put(b"k", b"3"))
    before = store.size_bytes
    run(store, (Op.COMPACT, store.revision, False))
    save(store)
    hash_of(store)
    while store.compact_step(1):
        pass
    assert store.size_bytes < before


def test_one_snapshot_follows_another(store: Any) -> None:
    assert store.latest_snapshot() is None
    for index in range(1, 4):
        run(store, put(b"k", b"%d" % index))
        assert save(store).index == index
    assert store.export_snapshot(store.latest_snapshot()).stat().st_size > 0


def test_a_snapshot_that_is_not_there_cannot_be_exported(store: Any) -> None:
    run(store, put(b"k", b"v"))
    save(store)
    for meta in (SnapshotMeta(5, 1), SnapshotMeta(1, 9)):
        with pytest.raises(FileNotFoundError, match=f"no snapshot {meta.index}"):
            store.export_snapshot(meta)


# Receiving


@pytest.mark.parametrize("to_engine", ENGINES)
def test_a_received_snapshot_replaces_the_state_and_lasts(
    open_store: OPEN, to_engine: str, tmp_path: Path
) -> None:
    source, target = open_store("source"), open_store("target", engine=to_engine)
    run_each(target, put(b"old", b""), put(b"a", b"other"))
    run_each(source, put(b"a", b"1"), put(b"b", b"1"), put(b"a", b"2"), delete_range(b"b"))
    # In another order than that of the keys, and with one that is gone.
    run(source, txn([], [put(b"z", b""), put(b"c", b""), delete_range(b"a"), put(b"k", b"")]))
    run(source, (Op.COMPACT, 3, False))
    expected = state_of(source)
    meta = install(source, target, tmp_path / "received")
    for is_reopened in (False, True):
        store = open_store("target", engine=to_engine) if is_reopened else target
        assert store.latest_snapshot() == meta
        assert state_of(store) == expected
        assert read(store, range_(b"a", revision=4))[2] == ((b"a", b"2", 2, 4, 2, 0),)
        assert read(store, range_(b"a", revision=2)) == (Code.OUT_OF_RANGE, COMPACTED)
    assert run(store, put(b"z", b"", prev_kv=True))[0][2] == (b"z", b"", 6, 6, 1, 0)
    run_each(source, put(b"z", b""), delete_range(*ALL))
    run(store, delete_range(*ALL))
    assert list(store.history(7, 8)) == list(source.history(7, 8))


def test_a_snapshot_is_passed_on_by_who_received_it(open_store: OPEN, tmp_path: Path) -> None:
    source, middle, target = open_store("source"), open_store("middle"), open_store("target")
    run_each(source, put(b"a", b"1"), put(b"a", b"2"))
    meta = install(source, middle, tmp_path / "received")
    received = export(middle, meta, tmp_path / "passed on")
    target.prepare_snapshot(meta, received)
    target.install_snapshot(meta, received)
    assert state_of(target) == state_of(source)


def test_preparing_changes_nothing_yet(open_store: OPEN, tmp_path: Path) -> None:
    source, target = open_store("source"), open_store("target")
    run_each(source, put(b"a", b"1"), put(b"b", b"2"))
    meta = save(source)
    received = export(source, meta, tmp_path / "received")
    run(target, put(b"old", b""))
    target.prepare_snapshot(meta, received)
    assert list(target.scan()) == [(b"old", b"")]
    assert target.latest_snapshot() is None
    run(target, put(b"older", b""))
    target.install_snapshot(meta, received)
    assert state_of(target) == state_of(source)


def test_of_two_prepared_snapshots_each_is_installed_as_itself(
    open_store: OPEN, tmp_path: Path
) -> None:
    source, target = open_store("source"), open_store("target")
    received = []
    for name in ("first", "second"):
        run(source, put(name.encode(), b""))
        meta = save(source)
        received.append((meta, export(source, meta, tmp_path / name)))
        target.prepare_snapshot(*received[-1])
    target.install_snapshot(*received[0])
    assert [key for key, _ in target.scan()] == [b"first"]
    target.prepare_snapshot(*received[1])
    target.install_snapshot(*received[1])
    assert state_of(target) == state_of(source)


def test_a_damaged_or_wrong_received_snapshot_leaves_the_state_alone(
    open_store: OPEN, tmp_path: Path
) -> None:
    source, target = open_store("source"), open_store("target")
    run(target, put(b"old", b""))
    run_each(source, put(b"a", b"1"), put(b"b", b"2"))
    meta = save(source)
    whole = source.export_snapshot(meta).read_bytes()
    expected = state_of(target)
    received = tmp_path / "received"
    for damaged in (b"", whole[:-1], whole + b"\x00", whole[:60] + b"?" + whole[61:]):
        received.write_bytes(damaged)
        with pytest.raises(StorageDamaged, match="received"):
            target.prepare_snapshot(meta, received)
    received.write_bytes(whole)
    for wrong in (SnapshotMeta(9, 3), SnapshotMeta(2, 9), SnapshotMeta(2, 3, b"members")):
        with pytest.raises(StorageDamaged, match="not SnapshotMeta"):
            target.prepare_snapshot(wrong, received)
    assert state_of(target) == expected
    assert target.latest_snapshot() is None
    target.prepare_snapshot(meta, received)
    target.install_snapshot(meta, received)
    assert state_of(target) == state_of(source)


def test_a_snapshot_behind_the_state_is_refused(open_store: OPEN, tmp_path: Path) -> None:  # A14
    source, target = open_store("source"), open_store("target")
    run(source, put(b"a", b"1"))
    meta = save(source)
    run_each(target, put(b"k", b"1"), put(b"k", b"2"))
    received = export(source, meta, tmp_path / "received")
    with pytest.raises(ValueError, match="behind"):
        target.install_snapshot(meta, received)
    assert target.last_applied == 2
    save(target)
    again = open_store("target")
    with pytest.raises(ValueError, match="behind"):
        again.install_snapshot(meta, received)
    assert again.last_applied == 2
