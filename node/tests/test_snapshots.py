"""When snapshots are taken, sent and installed; files move elsewhere, here are the decisions."""

from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.memory.store import MemoryStore
from metastore.node.raft.messages import InstallSnapshot
from metastore.node.raft.model import ConfigurationState, Entry, Snapshot
from metastore.node.recovery import LogMirror, encode_configuration, to_meta
from metastore.node.snapshots import Received, Saved, Sent, SnapshotKeeper
from metastore.transport import schema

THREE = ConfigurationState(voters=(1, 2, 3))
FIRST = Snapshot(1, 1, THREE)
ADDRESS = "tcp://127.0.0.1:1"


class CountingStore(MemoryStore):
    """Remembers which snapshots were asked for, since their threads report in their own time."""

    asked: list[int]

    def save_snapshot(self, meta: SnapshotMeta, done: Callable[[Exception | None], None]) -> None:
        self.asked.append(meta.index)
        super().save_snapshot(meta, done)


class Node:
    """A keeper with a real store and mirror; `apply` does what the loop does."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.reports: Queue[Saved | Sent | Received] = Queue()
        self.store = CountingStore(folder, node_id=1)
        self.store.asked = []
        self.store.skip(1)
        self.mirror = LogMirror(FIRST)
        self.mirror.apply_snapshot(FIRST)
        sizes = {"entries_max": 10, "bytes_max": 1 << 20, "trailing_entries": 3} | limits
        self.keeper = SnapshotKeeper(self.store, self.mirror, self.reports.put, **sizes)

    def apply(self, count: int, value: bytes = b"v") -> None:
        for _ in range(count):
            index = self.store.last_applied + 1
            request = schema.encode_request([schema.put(b"%d" % index, value)])
            entry = Entry(1, index, data=schema.encode_batch([request]))
            self.mirror.append([entry])
            self.store.apply([entry])
            self.keeper.note_applied(len(entry.data))
            self.keeper.maybe_save(1, THREE)

    def saved(self) -> Saved:
        report = self.reports.get(timeout=10)
        assert isinstance(report, Saved)
        return report

    def save_now(self) -> SnapshotMeta:
        """Applies until a snapshot starts, and takes its report in."""
        self.apply(10)
        meta = self.keeper.on_saved(self.saved())
        assert meta is not None
        return meta


class Sender:
    """Remembers the transfers; a test ends them."""

    def __init__(self) -> None:
        self.started: list[tuple[int, str, dict[str, Any], Path, Callable[[bool, str], None]]] = []

    def start(
        self,
        peer_id: int,
        address: str,
        meta: dict[str, Any],
        path: Path,
        on_done: Callable[[bool, str], None],
    ) -> None:
        self.started.append((peer_id, address, meta, path, on_done))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "snapshots")


def message_for(to: int, meta: SnapshotMeta) -> InstallSnapshot:
    snapshot = Snapshot(meta.index, meta.term, THREE)
    return InstallSnapshot(sender=1, to=to, term=5, snapshot=snapshot)


# --- saving


def test_a_save_starts_when_the_log_has_grown_by_enough_entries(node: Node) -> None:
    node.apply(9)
    assert node.store.asked == []
    node.apply(1)
    saved = node.saved()
    assert (saved.meta, saved.error) == (to_meta(Snapshot(11, 1, THREE)), None)


def test_a_save_starts_when_the_log_has_grown_by_enough_bytes(tmp_path: Path) -> None:
    node = Node(tmp_path, bytes_max=1000)
    node.apply(2, b"x" * 600)
    assert node.saved().meta.index == 3
    node.keeper.on_saved(Saved(to_meta(Snapshot(3, 1, THREE)), None))
    node.apply(1, b"x" * 600)
    assert node.store.asked == [3], "the bytes count from the last snapshot on"


def test_no_second_save_starts_while_one_is_under_way(node: Node) -> None:
    node.apply(25)  # the report of the first has not been taken in yet
    assert node.store.asked == [11]


def test_a_saved_snapshot_compacts_the_log_down_to_the_trailing_entries(node: Node) -> None:
    meta = node.save_now()
    assert meta.index == 11
    assert node.mirror.newest == Snapshot(11, 1, THREE)
    assert (node.mirror.first_index(), node.mirror.last_index()) == (9, 11)


def test_fewer_entries_than_the_trailing_ones_are_all_kept(tmp_path: Path) -> None:
    node = Node(tmp_path, trailing_entries=100)
    node.save_now()
    assert node.mirror.first_index() == 2


def test_entries_that_follow_a_snapshot_under_way_to_a_peer_are_kept(node: Node) -> None:
    """D7: else continuous writes would send one snapshot after the other."""
    node.keeper.send(message_for(2, node.save_now()), ADDRESS, Sender())
    node.save_now()
    assert node.mirror.first_index() == 12
    node.keeper.sending.pop(2)
    node.save_now()
    assert node.mirror.first_index() == 29


def test_a_save_that_ends_behind_an_installed_snapshot_changes_nothing(node: Node) -> None:
    node.apply(10)
    saved = node.saved()
    installed = Snapshot(50, 2, THREE)
    node.mirror.apply_snapshot(installed)
    node.mirror.newest = installed
    assert node.keeper.on_saved(saved) is None
    assert node.mirror.newest == installed


def test_a_failed_save_compacts_nothing_and_is_tried_again_later(node: Node) -> None:
    """Not at once: copying the whole state for every entry would stop a node with a full disk."""
    node.apply(10)
    saved = node.saved()
    assert node.keeper.on_saved(Saved(saved.meta, OSError(28, "full"))) is None
    assert (node.mirror.newest, node.mirror.first_index()) == (FIRST, 2)
    node.apply(9)
    assert node.store.asked == [11]
    node.apply(1)
    assert node.store.asked == [11, 21]


# --- sending


def test_a_snapshot_is_sent_with_its_facts_and_its_outcome_reported(node: Node) -> None:
    meta, sender = node.save_now(), Sender()
    node.keeper.send(message_for(2, meta), ADDRESS, sender)
    [(to, address, facts, path, on_done)] = sender.started
    assert (to, address, path) == (2, ADDRESS, node.store.snapshot_path(meta))
    configuration = encode_configuration(THREE)
    assert facts == {
        "message_term": 5,
        "index": meta.index,
        "term": meta.term,
        "configuration": configuration,
    }
    assert node.reports.empty()
    on_done(True, "")
    assert node.reports.get_nowait() == Sent(2, True, "")


def test_a_snapshot_whose_file_is_gone_is_reported_as_failed(node: Node) -> None:
    sender = Sender()
    node.keeper.send(message_for(2, SnapshotMeta(7, 1)), ADDRESS, sender)
    report = node.reports.get_nowait()
    assert isinstance(report, Sent)
    assert (report.node_id, report.ok) == (2, False)
    assert "no snapshot 7" in report.reason
    assert (sender.started, node.keeper.sending) == ([], {})


def test_a_snapshot_to_a_node_without_an_address_is_reported_as_failed(node: Node) -> None:
    sender = Sender()
    node.keeper.send(message_for(9, node.save_now()), None, sender)
    assert node.reports.get_nowait() == Sent(9, False, "no snapshot address")
    assert (sender.started, node.keeper.sending) == ([], {})


def test_each_peer_gets_one_transfer_at_a_time(node: Node) -> None:
    meta, sender = node.save_now(), Sender()
    for to in (2, 2, 3):
        node.keeper.send(message_for(to, meta), ADDRESS, sender)
    assert [started[0] for started in sender.started] == [2, 3]


# --- receiving


def received_from(sender_node: Node, folder: Path, **changes: object) -> Received:
    """What arrives when `sender_node` sends its newest snapshot."""
    meta, sender = sender_node.save_now(), Sender()
    sender_node.keeper.send(message_for(2, meta), ADDRESS, sender)
    _, _, facts, path, _ = sender.started[0]
    folder.mkdir()
    copy = folder / "file"
    copy.write_bytes(path.read_bytes())
    return Received(1, facts | changes, copy)


@pytest.fixture
def follower(tmp_path: Path) -> Node:
    return Node(tmp_path / "follower")


def test_a_received_snapshot_becomes_the_cores_message_and_then_the_state(
    node: Node, follower: Node, tmp_path: Path
) -> None:
    received = received_from(node, tmp_path / "received")
    message = follower.keeper.to_message(received, 2)
    assert message == InstallSnapshot(sender=1, to=2, term=5, snapshot=Snapshot(11, 1, THREE))
    meta = follower.keeper.install(message.snapshot)
    assert meta == to_meta(message.snapshot)
    assert follower.store.last_applied == 11
    assert list(follower.store.scan()) == list(node.store.scan())
    follower.keeper.discard_unused()
    assert follower.store.snapshot_path(meta).exists()


def test_an_installed_snapshot_restarts_the_count_of_bytes(node: Node, tmp_path: Path) -> None:
    follower = Node(tmp_path / "follower", bytes_max=1000)
    follower.keeper.note_applied(900)
    received = received_from(node, tmp_path / "received")
    message = follower.keeper.to_message(received, 2)
    assert message is not None
    follower.keeper.install(message.snapshot)
    follower.mirror.apply_snapshot(message.snapshot)
    follower.mirror.newest = message.snapshot
    follower.apply(1, b"x" * 200)
    assert follower.store.asked == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index", 0),
        ("index", -1),
        ("index", "11"),
        ("index", float("inf")),
        ("term", 6),  # later than the message's own term
        ("term", None),
        ("message_term", 0),
        ("message_term", 1 << 70),
        ("configuration", 5),
        ("configuration", b"\xc1"),
        ("configuration", b"\x05"),
        ("configuration", b"\x95\x01\x90\x90\x90\xc2"),
        ("configuration", encode_configuration(ConfigurationState())),
    ],
)
def test_malformed_facts_are_refused_and_their_file_removed(
    node: Node, follower: Node, tmp_path: Path, name: str, value: object
) -> None:
    received = received_from(node, tmp_path / "received", **{name: value})
    assert follower.keeper.to_message(received, 2) is None
    assert not received.path.exists()


@pytest.mark.parametrize("name", ["index", "term", "message_term", "configuration"])
def test_a_missing_fact_is_refused(node: Node, follower: Node, tmp_path: Path, name: str) -> None:
    received = received_from(node, tmp_path / "received")
    del received.facts[name]
    assert follower.keeper.to_message(received, 2) is None
    assert not received.path.exists()


def test_a_received_snapshot_that_the_core_did_not_want_is_removed(
    node: Node, follower: Node, tmp_path: Path
) -> None:
    received = received_from(node, tmp_path / "received")
    assert follower.keeper.to_message(received, 2) is not None
    follower.keeper.discard_unused()
    assert not received.path.exists()


def test_a_file_that_is_not_the_snapshot_it_claims_leaves_the_state_as_it_was(
    node: Node, follower: Node, tmp_path: Path
) -> None:
    received = received_from(node, tmp_path / "received", index=12)
    message = follower.keeper.to_message(received, 2)
    assert message is not None
    with pytest.raises(StorageDamaged):
        follower.keeper.install(message.snapshot)
    assert follower.store.last_applied == 1
