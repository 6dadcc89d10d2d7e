"""Backups of a running node: whole, of one index, a few at a time, and not for ever."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import msgpack
import pytest
from data_directories import CONTENTS, LAST_INDEX, REVISION, entries, quiet

from metastore.engines.contract import SnapshotMeta, Store
from metastore.engines.memory.store import MemoryStore
from metastore.engines.rocksdb.store import RocksStore
from metastore.node.backups import BACKUPS_MAX, IDLE_MS_MAX, PIECES_MAX, Backups, Done
from metastore.node.offline.restore import check_backup
from metastore.node.recovery import BOOTSTRAP_INDEX, BOOTSTRAP_TERM
from metastore.transport.backup_frames import BackupRequest, Fetch

TICK_MS = 100
CLIENT = b"client"


class Node:
    """`Backups` around a real store; `take` does what the loop does with the inbox."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.inbox: Queue[Done | Exception | None] = Queue()
        self.answers: list[tuple[bytes, list[Any]]] = []
        self.backups = Backups(store, self.save_now, self.answer, self.inbox.put, tick_ms=TICK_MS)
        self.is_saving = False
        store.skip(BOOTSTRAP_INDEX, BOOTSTRAP_TERM, b"members")
        store.apply(entries())

    def save_now(self) -> SnapshotMeta | None:
        latest = self.store.latest_snapshot()
        if latest is not None and latest.index == self.store.last_applied:
            return latest
        if not self.is_saving:
            self.is_saving = True
            self.store.save_snapshot(self.inbox.put)
        return None

    def answer(self, identity: bytes, frame: bytes) -> None:
        self.answers.append((identity, msgpack.unpackb(frame)))

    def take(self) -> None:
        item = self.inbox.get(timeout=30)
        if isinstance(item, Done):
            self.backups.on_done(item)
        else:
            self.is_saving = False
            self.backups.on_saved(item)

    def ask(self, request_id: int, identity: bytes = CLIENT) -> None:
        self.backups.on_frame(identity, BackupRequest(request_id))

    def ready(self, request_id: int = 1, identity: bytes = CLIENT) -> list[Any]:
        """Asks for a backup; [size, revision, index, sha256]."""
        self.ask(request_id, identity)
        return self.answer_to(request_id, identity)[3:]

    def answer_to(self, request_id: int, identity: bytes = CLIENT) -> list[Any]:
        while True:
            for place, (to, frame) in enumerate(self.answers):
                if (to, frame[2]) == (identity, request_id):
                    del self.answers[place]
                    return frame
            self.take()

    def fetch(
        self, request_id: int, at: int, backup: int = 1, identity: bytes = CLIENT
    ) -> list[Any]:
        self.backups.on_frame(identity, Fetch(request_id, backup, at, 100))
        return self.answer_to(request_id, identity)

    def fetch_all(self, size: int) -> bytes:
        return b"".join(self.fetch(100 + at, at)[3] for at in range(0, size, 100))


@pytest.fixture(params=["memory", "rocksdb"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    if request.param == "rocksdb":
        pytest.importorskip("rocksdict")
    make: Callable[..., Any] = {"memory": MemoryStore, "rocksdb": RocksStore}[request.param]
    store = make(tmp_path / "store", node_id=1)
    made = Node(store)
    yield made
    store.close()
    made.backups.close()


def open_files() -> int:
    """Snapshot files that this process has open; there is none before a backup."""
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if os.path.islink(link)]
    return sum(target.removesuffix(" (deleted)").endswith(".state") for target in targets)


def test_a_backup_is_the_whole_state_as_of_one_index(node: Node, tmp_path: Path) -> None:
    size, revision, index, sha256 = node.ready()
    assert (revision, index) == (REVISION, LAST_INDEX)
    data = node.fetch_all(size)
    assert len(data) == size
    assert hashlib.sha256(data).digest() == sha256
    (tmp_path / "backup").write_bytes(data)
    header = check_backup(tmp_path / "backup", quiet)
    assert (header.meta.index, header.revision) == (LAST_INDEX, REVISION)
    assert all(value in data for value in CONTENTS.values())


def test_what_is_applied_after_the_question_does_not_matter(node: Node) -> None:
    node.ask(1)
    (more,) = entries()[:1]
    node.store.apply([type(more)(more.term, LAST_INDEX + 1, 0, more.data)])
    assert node.answer_to(1)[4:6] == [REVISION, LAST_INDEX]


def test_a_snapshot_from_before_the_question_is_not_given_out(node: Node) -> None:
    """One is under way already when the backup is asked for."""
    node.save_now()
    (more,) = entries()[:1]
    node.store.apply([type(more)(more.term, LAST_INDEX + 1, 0, more.data)])
    assert node.ready()[2] == LAST_INDEX + 1


def test_a_snapshot_of_just_this_state_is_not_made_again(node: Node) -> None:
    node.ready(1)
    node.ready(2)
    assert not node.is_saving


def test_a_backup_stays_whole_though_the_store_removes_its_file(node: Node, tmp_path: Path) -> None:
    size, _, _, sha256 = node.ready()
    for file in (tmp_path / "store").rglob("*.state"):
        file.unlink()
    assert hashlib.sha256(node.fetch_all(size)).digest() == sha256


def test_a_failed_snapshot_is_told(node: Node) -> None:
    node.is_saving = True  # somebody else's
    node.ask(1)
    node.backups.on_saved(OSError("no space left"))
    frame = node.answer_to(1)
    assert frame[1] == 9
    assert frame[3] == "unavailable"
    assert "no space left" in frame[4]
    assert node.backups.count == 0


def test_a_failed_export_is_told_and_frees_its_place(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(meta: SnapshotMeta) -> Path:
        raise FileNotFoundError(f"no snapshot {meta.index}")

    monkeypatch.setattr(node.store, "export_snapshot", fail)
    node.ask(1)
    frame = node.answer_to(1)
    assert (frame[1], frame[3]) == (9, "unavailable")
    assert f"no snapshot {LAST_INDEX}" in frame[4]
    assert node.backups.count == 0


def test_more_than_a_few_at_once_are_refused(node: Node) -> None:
    for request_id in range(1, BACKUPS_MAX + 1):
        node.ready(request_id)
    node.ask(99, b"another")
    frame = node.answer_to(99, b"another")
    assert (frame[1], frame[3]) == (9, "unavailable")
    assert f"{BACKUPS_MAX} backups of this node are under way" in frame[4]


def test_a_fetch_at_the_end_makes_room_for_the_next_one(node: Node) -> None:
    for request_id in range(1, BACKUPS_MAX + 2):
        size = node.ready(request_id)[0]
        assert node.fetch(50, size, backup=request_id)[3] == b""
    assert node.backups.count == 0
    assert open_files() == 0


def test_one_name_is_one_backup(node: Node) -> None:
    node.ready(1)
    node.ask(1)
    assert node.answer_to(1)[3] == "invalid"
    assert node.backups.count == 1


def test_a_backup_belongs_to_the_connection_that_asked_for_it(node: Node) -> None:
    node.ready(1)
    frame = node.fetch(2, 0, identity=b"another")
    assert (frame[1], frame[3]) == (9, "invalid")
    assert "no backup 1 of this connection" in frame[4]


def test_too_many_pieces_at_once_are_refused(node: Node) -> None:
    node.ready(1)
    for request_id in range(10, 10 + PIECES_MAX + 1):
        node.backups.on_frame(CLIENT, Fetch(request_id, 1, 0, 10))
    refused = node.answer_to(10 + PIECES_MAX)
    assert (refused[1], refused[3]) == (9, "unavailable")
    for request_id in range(10, 10 + PIECES_MAX):
        assert node.answer_to(request_id)[1] == 8


def test_an_idle_backup_is_dropped_and_a_fetch_puts_that_off(node: Node) -> None:
    node.ready(1)
    assert open_files() == 1
    for _ in range(IDLE_MS_MAX // TICK_MS):
        node.backups.tick()
    assert node.fetch(2, 0)[1] == 8
    for _ in range(IDLE_MS_MAX // TICK_MS):
        node.backups.tick()
    assert node.backups.count == 1
    node.backups.tick()
    assert node.backups.count == 0
    assert node.fetch(3, 0)[3] == "invalid"
    assert open_files() == 0


def test_a_backup_that_is_being_made_is_not_idle(node: Node) -> None:
    node.ask(1)
    for _ in range(IDLE_MS_MAX // TICK_MS + 1):
        node.backups.tick()
    assert node.answer_to(1)[1] == 7


def test_a_file_is_not_closed_under_a_piece_that_is_being_read(node: Node) -> None:
    size = node.ready(1)[0]
    exported = next(iter(node.backups._backups.values())).exported
    assert exported is not None
    node.backups.on_frame(CLIENT, Fetch(2, 1, 0, 10))
    assert node.fetch(3, size)[3] == b""
    if node.backups.count:  # the piece's end has not been taken in
        os.fstat(exported.descriptor)
    assert node.answer_to(2)[1] == 8
    assert node.backups.count == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(exported.descriptor)


def test_closing_closes_every_file(node: Node) -> None:
    node.ready(1)
    node.ask(2)
    node.store.close()
    node.backups.close()
    while not node.inbox.empty():
        item = node.inbox.get()
        if isinstance(item, Done):
            node.backups.on_done(item)
    assert open_files() == 0
