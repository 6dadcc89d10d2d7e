"""While the memory engine writes a snapshot: what has to wait, what is refused, what goes on."""

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, current_thread
from typing import Any

import pytest
from engines_under_test import hash_of, run, run_each
from memory_snapshots import NEW, Answers, opened, write

from metastore.engines.contract import SnapshotMeta
from metastore.engines.files import Files
from metastore.engines.memory.store import MemoryStore
from metastore.transport.schema import Op, decode_results, put


class HeldFiles(Files):
    """Holds the snapshot writer before an operation until it is let go."""

    def __init__(self, operation: str = "sync") -> None:
        self.reached = Event()
        self.go_on = Event()
        go_ahead = getattr(self, operation)

        def wait(argument: Any) -> Any:
            if current_thread().name == "snapshot-writer":
                self.reached.set()
                self.go_on.wait(timeout=30)
            return go_ahead(argument)

        setattr(self, operation, wait)


@pytest.fixture
def saving(tmp_path: Path) -> Iterator[Callable[..., tuple[MemoryStore, HeldFiles, Answers]]]:
    stores: list[MemoryStore] = []

    def start(
        operation: str = "sync", work: Callable[[MemoryStore], object] = lambda store: None
    ) -> tuple[MemoryStore, HeldFiles, Answers]:
        files, done = HeldFiles(operation), queue.Queue[Any]()
        stores.append(opened(files, tmp_path / "state"))
        stores[-1].skip(1, 1, b"")
        work(stores[-1])
        stores[-1].save_snapshot(done.put)
        assert files.reached.wait(timeout=30)
        return stores[-1], files, done

    yield start
    for store in stores:
        store.close()


def test_a_second_snapshot_is_refused_while_one_is_being_written(saving: Any) -> None:
    store, files, done = saving()
    with pytest.raises(ValueError, match="already being written"):
        store.save_snapshot(done.put)
    with pytest.raises(FileNotFoundError):
        store.export_snapshot(SnapshotMeta(1, 1))
    files.go_on.set()
    assert done.get(timeout=30) is None
    assert store.export_snapshot(SnapshotMeta(1, 1)).exists()


def test_nothing_is_compacted_while_a_snapshot_or_a_hash_is_worked_out(
    saving: Any, tmp_path: Path
) -> None:
    def fill(store: MemoryStore) -> None:
        run_each(store, put(b"k", b"1"), put(b"k", b"2"), put(b"gone", b""))

    store, files, done = saving("create", fill)  # not a byte is written yet
    expected, size = hash_of(store, 4), store.size_bytes
    run(store, (Op.DELETE_RANGE, b"\x00", b"\x00", 0))
    run(store, (Op.COMPACT, store.revision, True))
    assert not store.compact_step(100)
    assert store.size_bytes > size
    files.go_on.set()
    assert done.get(timeout=30) is None
    again = opened(Files(), tmp_path / "state")
    assert hash_of(again, 4) == expected
    store.compact_step(100)
    assert store.size_bytes < size


def test_an_older_snapshot_that_ends_late_does_not_become_the_latest(
    saving: Any, tmp_path: Path
) -> None:
    received = write(Files(), NEW, 6, tmp_path / "received")
    store, files, done = saving()
    store.install_snapshot(NEW, received)
    files.go_on.set()
    assert done.get(timeout=30) is None
    assert store.latest_snapshot() == NEW


def test_the_next_snapshot_may_be_asked_for_as_soon_as_one_is_done(disk: Any) -> None:
    store = opened(disk)
    store.skip(1, 1, b"")
    answers: Answers = queue.Queue()

    def again(problem: Exception | None) -> None:
        answers.put(problem)
        store.save_snapshot(answers.put)

    store.save_snapshot(again)
    assert [answers.get(timeout=30) for _ in range(2)] == [None, None]


def test_a_closed_store_answers_a_hash_with_an_error(disk: Any) -> None:
    store = opened(disk)
    run(store, put(b"k", b"v"))
    store.close()
    replies: Answers = queue.Queue()
    store.hash_at(0, replies.put)
    ((_, message),) = decode_results(replies.get(timeout=30))
    assert "closed" in message
