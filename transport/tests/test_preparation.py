"""Between the wire and the store: a received file is prepared before its sender hears that it is
there."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from metastore.transport import limits, snapshot_sender
from metastore.transport.chunks import SnapshotSender
from metastore.transport.errors import Malformed

WAIT_S = 20
META = {"index": 7, "term": 2, "configuration": b"\x01\x02"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(1000))
    return path


@pytest.fixture
def sender(context: Any) -> Any:
    sender = SnapshotSender(9, 2, 77, 5, context)
    yield sender
    sender.close()


class Outcome:
    """What a transfer to `address` came to."""

    def __init__(self, sender: SnapshotSender, address: str, find_path: Any) -> None:
        self.is_known = threading.Event()
        self.ok, self.reason = False, ""
        sender.start(1, address, META, find_path, self._set)

    def _set(self, ok: bool, reason: str) -> None:
        self.ok, self.reason = ok, reason
        self.is_known.set()

    def wait(self) -> tuple[bool, str]:
        assert self.is_known.wait(WAIT_S)
        return self.ok, self.reason


def test_a_file_is_prepared_elsewhere_before_it_is_handed_over(
    receiving: Any, sender: SnapshotSender, source: Path
) -> None:
    threads: list[str] = []
    receiving.prepare = lambda *facts: threads.append(threading.current_thread().name)
    outcome = Outcome(sender, receiving.server.address, lambda: source)
    assert outcome.wait() == (True, "")
    assert threads == ["snapshot-preparation"]
    assert receiving.arrived.get_nowait()[:2] == (2, META)


def test_a_file_that_cannot_be_prepared_is_gone_counted_and_its_sender_told(
    receiving: Any, sender: SnapshotSender, source: Path
) -> None:
    paths: list[Path] = []

    def refuse(who: int, meta: dict[str, Any], path: Path) -> None:
        paths.append(path)
        raise Malformed("not a snapshot")

    receiving.prepare = refuse
    outcome = Outcome(sender, receiving.server.address, lambda: source)
    assert outcome.wait() == (False, "declined: Malformed: not a snapshot")
    assert (paths[0].exists(), receiving.arrived.empty()) == (False, True)
    assert receiving.server.counters() == {"refused": 1, "declined": 1}
    receiving.prepare = lambda *facts: None  # and the next one is heard
    assert Outcome(sender, receiving.server.address, lambda: source).wait() == (True, "")
    assert receiving.deaths == []


def test_a_sender_does_not_give_up_while_the_receiver_works_on_the_whole_file(
    receiving: Any,
    sender: SnapshotSender,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Any,
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_SILENCE_MS", 5)
    monkeypatch.setattr(limits, "SNAPSHOT_STALL_MS", 500)
    go_on = threading.Event()
    receiving.prepare = lambda *facts: go_on.wait(WAIT_S)
    outcome = Outcome(sender, receiving.server.address, lambda: source)
    assert not outcome.is_known.wait(1.0), "three stalls long, and still it waits"
    go_on.set()
    assert outcome.wait() == (True, "")


def test_another_offer_waits_its_turn_while_a_file_is_being_prepared(
    receiving: Any, sender: SnapshotSender, source: Path, context: Any
) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def work(*facts: Any) -> None:
        begun.set()
        go_on.wait(WAIT_S)

    receiving.prepare = work
    first = Outcome(sender, receiving.server.address, lambda: source)
    assert begun.wait(WAIT_S)
    other = SnapshotSender(9, 3, 77, 5, context)
    second = Outcome(other, receiving.server.address, lambda: source)
    assert second.wait() == (False, "declined: another snapshot is being prepared")
    go_on.set()
    assert first.wait() == (True, "")
    other.close()


def test_a_file_that_must_be_written_first_is_written_on_the_transfers_thread(
    receiving: Any, sender: SnapshotSender, source: Path
) -> None:
    threads: list[str] = []

    def write() -> Path:
        threads.append(threading.current_thread().name)
        return source

    assert Outcome(sender, receiving.server.address, write).wait() == (True, "")
    assert threads == ["snapshot-to-1"]


def test_a_sender_that_stops_does_not_open_a_socket_for_a_file_that_comes_late(
    sender: SnapshotSender, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_CLOSE_MS", 1)
    opened: list[object] = []
    monkeypatch.setattr(snapshot_sender, "open_dealer", lambda *a, **k: opened.append(a))
    go_on = threading.Event()

    def write() -> Path:
        go_on.wait(WAIT_S)
        return source

    outcome = Outcome(sender, "tcp://127.0.0.1:1", write)
    sender.close()  # returns although the file is not there
    go_on.set()
    assert outcome.wait() == (False, "stopped")
    assert opened == []
