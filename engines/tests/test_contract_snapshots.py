"""What every engine's Store owes a node about snapshots: one moment, whole or refused."""

import queue
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from metastore.engines.contract import LogRecord, SnapshotMeta, StorageDamaged
from metastore.transport.schema import (
    Operation,
    decode_results,
    delete_range,
    encode_batch,
    encode_request,
    put,
)

ALL = (b"\x00", b"\x00")
OPEN = Callable[..., Any]


def run(store: Any, *operations: Operation) -> Sequence[Any]:
    """Applies the operations as the one request of the next entry."""
    data = encode_batch([encode_request(operations)])
    (applied,) = store.apply([LogRecord(1, store.last_applied + 1, 0, data)])
    return decode_results(applied.replies[0])


def save(store: Any, term: int = 1, configuration: bytes = b"") -> SnapshotMeta:
    meta = SnapshotMeta(store.last_applied, term, configuration)
    done: queue.Queue[Exception | None] = queue.Queue()
    store.save_snapshot(meta, done.put)
    problem = done.get(timeout=30)
    assert problem is None
    return meta


def test_a_store_opened_again_is_at_its_newest_snapshot(open_store: OPEN) -> None:
    store = open_store()
    run(store, *(put(b"k%04d" % place, b"v") for place in range(1000)))
    save(store)
    run(store, delete_range(b"k0000"), put(b"z", b"z"))
    newest = save(store, term=3, configuration=b"members")
    expected = list(store.scan())
    run(store, put(b"later", b""))
    again = open_store()
    assert again.latest_snapshot() == newest
    assert (again.last_applied, again.revision) == (2, 1003)
    assert list(again.scan()) == expected
    assert run(again, put(b"z", b"", prev_kv=True))[0][2] == (b"z", b"z", 1003, 1003, 1, 0)


def test_a_snapshot_has_the_state_of_its_call_whatever_is_applied_meanwhile(
    open_store: OPEN,
) -> None:
    store = open_store()
    run(store, *(put(b"k%04d" % place, b"old") for place in range(3000)))
    done: queue.Queue[Exception | None] = queue.Queue()
    store.save_snapshot(SnapshotMeta(1, 1), done.put)
    run(store, *(put(b"k%04d" % place, b"new") for place in range(3000)))
    run(store, delete_range(*ALL))
    assert done.get(timeout=30) is None
    again = open_store()
    assert {value for _, value in again.scan()} == {b"old"}
    assert again.key_count == 3000


def test_a_snapshot_of_another_index_than_the_state_is_refused(store: Any) -> None:
    with pytest.raises(ValueError, match="state is at 0"):
        store.save_snapshot(SnapshotMeta(1, 1), print)


def test_a_received_snapshot_replaces_the_state_and_lasts(open_store: OPEN, tmp_path: Path) -> None:
    source, target = open_store("source"), open_store("target")
    run(target, put(b"old", b""))
    run(source, put(b"a", b"1"))
    run(source, put(b"b", b"2"))
    meta = save(source, term=4, configuration=b"members")
    received = tmp_path / "received"
    received.write_bytes(source.snapshot_path(meta).read_bytes())
    target.install_snapshot(meta, received)
    for store in (target, open_store("target")):
        assert list(store.scan()) == [(b"a", b"1"), (b"b", b"2")]
        assert (store.last_applied, store.revision) == (2, 3)
        assert store.latest_snapshot() == meta


def test_a_damaged_or_wrong_received_snapshot_leaves_the_state_alone(
    open_store: OPEN, tmp_path: Path
) -> None:
    source, target = open_store("source"), open_store("target")
    run(target, put(b"old", b""))
    run(source, put(b"a", b"1"))
    run(source, put(b"b", b"2"))
    meta = save(source)
    whole = source.snapshot_path(meta).read_bytes()
    received = tmp_path / "received"
    for damaged in (b"", whole[:-1], whole + b"\x00", whole[:60] + b"?" + whole[61:]):
        received.write_bytes(damaged)
        with pytest.raises(StorageDamaged, match="received"):
            target.install_snapshot(meta, received)
    received.write_bytes(whole)
    with pytest.raises(StorageDamaged, match="not SnapshotMeta"):
        target.install_snapshot(SnapshotMeta(9, 1), received)
    assert list(target.scan()) == [(b"old", b"")]
    assert list(open_store("target").scan()) == []


def test_a_snapshot_behind_the_state_is_refused(open_store: OPEN, tmp_path: Path) -> None:
    source, target = open_store("source"), open_store("target")
    run(source, put(b"a", b"1"))
    meta = save(source)
    for value in (b"1", b"2"):
        run(target, put(b"k", value))
    received = tmp_path / "received"
    received.write_bytes(source.snapshot_path(meta).read_bytes())
    with pytest.raises(ValueError, match="behind"):
        target.install_snapshot(meta, received)
    assert target.last_applied == 2


def test_a_snapshot_that_is_not_there_has_no_path(store: Any) -> None:
    with pytest.raises(FileNotFoundError, match="no snapshot 5"):
        store.snapshot_path(SnapshotMeta(5, 1))
