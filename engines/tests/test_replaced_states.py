"""What becomes of a state that a snapshot replaces: it is freed, at once but not in one piece."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines_under_test import OPEN, install, run
from test_records import put as put_record

from metastore.engines.memory import records as records_module
from metastore.engines.memory import store as store_module
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.memory.store import MemoryStore
from metastore.transport.schema import put

DEADLINE_S = 30.0


@pytest.fixture
def no_collector() -> Iterator[None]:
    """As if the collector of cycles never came by; in a node it does not look at old states."""
    gc.disable()
    yield
    gc.enable()


def wait_until_done(store: MemoryStore) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while store._work.count("dissolver"):
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.usefixtures("no_collector")
def test_a_replaced_state_is_freed_without_the_collector_of_cycles(
    open_store: OPEN, tmp_path: Path
) -> None:
    source, target = open_store("source"), open_store("target")
    run(source, put(b"new", b""))
    gone = weakref.ref(target._state)
    install(source, target, tmp_path / "received")
    assert gone() is None


def replaced(tmp_path: Path) -> tuple[MemoryStore, MemoryStore, MemoryRecords]:
    """A store with a snapshot to send, one to receive it, and the records that will go."""
    source = MemoryStore(tmp_path / "source", node_id=1)
    target = MemoryStore(tmp_path / "target", node_id=2)
    run(source, put(b"new", b""))
    run(source, put(b"newer", b""))
    run(target, *(put(b"k%d" % number, b"") for number in range(5)))
    return source, target, target._records


def test_replaced_records_are_taken_apart(tmp_path: Path) -> None:
    source, target, before = replaced(tmp_path)
    install(source, target, tmp_path / "received")
    wait_until_done(target)
    assert len(before) == 0
    assert [key for key, _ in target.scan()] == [b"new", b"newer"]


def test_replaced_records_stay_while_a_snapshot_or_a_hash_is_made_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, before = replaced(tmp_path)
    keys, is_waiting = target._state.keys, threading.Event()
    keys.compaction_pauses += 1

    def wait(_: float) -> None:
        is_waiting.set()

    monkeypatch.setattr(store_module, "time", Clock(wait))
    install(source, target, tmp_path / "received")
    assert is_waiting.wait(DEADLINE_S)
    assert len(before) == 5
    keys.compaction_pauses -= 1
    wait_until_done(target)
    assert len(before) == 0


def test_a_store_that_closes_does_not_wait_for_work_on_a_replaced_state(tmp_path: Path) -> None:
    source, target, before = replaced(tmp_path)
    target._state.keys.compaction_pauses += 1
    install(source, target, tmp_path / "received")
    target.close()
    assert len(before) == 5


class Clock:
    """The module `time`, with another sleep."""

    def __init__(self, sleep: Any) -> None:
        self.sleep = sleep


def test_records_are_taken_apart_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one piece, a million of them hold up every thread for longer than a heartbeat."""
    records, left = MemoryRecords(), list[int]()
    for number in range(10):
        put_record(records, b"k%d" % number, number + 2)
    monkeypatch.setattr(records_module, "DISSOLVED_AT_ONCE", 4)
    monkeypatch.setattr(records_module, "time", Clock(lambda _: left.append(len(records))))
    records.dissolve()
    assert left == [6, 2, 0]
    assert list(records.changes(0, 99)) == records.select(b"", None, 0) == []
