"""The stores that the contract suite runs against, and what its tests do to all of them alike.

An engine joins by a name in ENGINES, and goes through every test of test_contract*.py.
"""

import queue
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metastore.engines.contract import LogRecord, RaftStatus, SnapshotMeta
from metastore.engines.memory.store import MemoryStore
from metastore.engines.rocksdb.store import RocksStore
from metastore.transport.schema import (
    Operation,
    decode_results,
    encode_batch,
    encode_internal,
    encode_request,
)

OPEN = Callable[..., Any]
# name: opens a store in a directory; takes node_id and raft
ENGINES: dict[str, OPEN] = {"memory": MemoryStore, "rocksdb": RocksStore}
if find_spec("rocksdb") is not None:  # the other binding, for whoever has it
    ENGINES["rocksdb-module"] = partial(RocksStore, driver_name="rocksdb")

ALL = (b"\x00", b"\x00")
TERM = 3


class StubNode:
    """A Raft node that is whatever the test says."""

    def __init__(self, status: RaftStatus) -> None:
        self._status = status

    def status(self) -> RaftStatus:
        return self._status

    def term(self) -> int:
        return self._status.term

    def leader(self) -> int:
        return self._status.leader_id

    def state(self) -> str:
        return self._status.state


def apply_data(store: Any, data: bytes, term: int = TERM) -> Sequence[bytes]:
    """Applies the bytes as the next entry."""
    (applied,) = store.apply([LogRecord(term, store.last_applied + 1, 0, data)])
    return applied.replies  # type: ignore[no-any-return]


def run(store: Any, *operations: Operation) -> Sequence[Any]:
    """Applies the operations as the one request of the next entry."""
    (reply,) = apply_data(store, encode_batch([encode_request(operations)]))
    return decode_results(reply)


def run_each(store: Any, *operations: Operation) -> None:
    """Applies each as an entry of its own."""
    for operation in operations:
        run(store, operation)


def run_internal(store: Any, *operations: Operation, term: int = TERM) -> None:
    """Applies operations that only a leader can propose."""
    apply_data(store, encode_internal(term, operations))


def read(store: Any, operation: Operation) -> Any:
    (result,) = decode_results(store.read(encode_request([operation])))
    return result


def save(store: Any) -> SnapshotMeta:
    """Returns when the snapshot is durable."""
    done: queue.Queue[Exception | None] = queue.Queue()
    meta: SnapshotMeta = store.save_snapshot(done.put)
    problem = done.get(timeout=30)
    assert problem is None, problem
    return meta


def export(store: Any, meta: SnapshotMeta, received: Path) -> Path:
    """The snapshot's file as another node receives it."""
    received.write_bytes(store.export_snapshot(meta).read_bytes())
    return received


def install(source: Any, target: Any, received: Path) -> SnapshotMeta:
    """Brings the source's state to the target, as a snapshot over the wire does."""
    meta = save(source)
    export(source, meta, received)
    target.prepare_snapshot(meta, received)
    target.install_snapshot(meta, received)
    return meta


def hash_of(store: Any, revision: int = 0) -> Any:
    """The result of HASH at the revision."""
    replies: queue.Queue[bytes] = queue.Queue()
    store.hash_at(revision, replies.put)
    (result,) = decode_results(replies.get(timeout=30))
    return result
