"""A snapshot file that arrives: its facts are hostile until checked; its state replaces ours."""

from pathlib import Path

import pytest
from founding import snapshot_of
from snapshot_keeping import ADDRESS, FOUNDED, Node, Sender, message_for

from metastore.engines.contract import StorageDamaged
from metastore.node.codec import MalformedMessage
from metastore.node.members.records import Membership
from metastore.node.raft.messages import InstallSnapshot
from metastore.node.recovery import to_meta
from metastore.node.snapshots import NotNow, Received


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "snapshots")


def received_from(sender_node: Node, folder: Path, **changes: object) -> Received:
    """What arrives when `sender_node` sends its newest snapshot."""
    meta, sender = sender_node.save_now(), Sender()
    sender_node.keeper.send(message_for(2, meta), ADDRESS, sender)
    sender_node.keeper.sending.clear()
    [started] = sender.started
    folder.mkdir()
    copy = folder / "file"
    copy.write_bytes(started.find_path().read_bytes())
    return Received(1, started.facts | changes, copy)


def prepare(follower: Node, received: Received) -> None:
    follower.keeper.prepare(received.sender, received.facts, received.path)


@pytest.fixture
def follower(tmp_path: Path) -> Node:
    return Node(tmp_path / "follower")


def test_a_received_snapshot_becomes_the_cores_message_and_then_the_state(
    node: Node, follower: Node, tmp_path: Path
) -> None:
    received = received_from(node, tmp_path / "received")
    prepare(follower, received)
    message = follower.keeper.to_message(received)
    assert message == InstallSnapshot(sender=1, to=2, term=5, snapshot=snapshot_of(11, 1, FOUNDED))
    meta = follower.keeper.install(message.snapshot)
    assert meta == to_meta(message.snapshot)
    assert follower.store.last_applied == 11
    assert list(follower.store.scan()) == list(node.store.scan())
    follower.keeper.discard_unused()
    assert follower.store.export_snapshot(meta).exists()


def test_an_installed_snapshot_restarts_the_count_of_bytes(node: Node, tmp_path: Path) -> None:
    follower = Node(tmp_path / "follower", bytes_max=1000)
    follower.keeper.note_applied(900)
    received = received_from(node, tmp_path / "received")
    message = follower.keeper.to_message(received)
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
        ("configuration", Membership().encode()),
    ],
)
def test_malformed_facts_are_refused_and_their_file_removed(
    node: Node, follower: Node, tmp_path: Path, name: str, value: object
) -> None:
    received = received_from(node, tmp_path / "received", **{name: value})
    assert follower.keeper.to_message(received) is None
    assert not received.path.exists()


@pytest.mark.parametrize("name", ["index", "term", "message_term", "configuration"])
def test_a_missing_fact_is_refused(node: Node, follower: Node, tmp_path: Path, name: str) -> None:
    received = received_from(node, tmp_path / "received")
    del received.facts[name]
    assert follower.keeper.to_message(received) is None
    assert not received.path.exists()


def test_a_received_snapshot_that_the_core_did_not_want_is_removed(
    node: Node, follower: Node, tmp_path: Path
) -> None:
    received = received_from(node, tmp_path / "received")
    assert follower.keeper.to_message(received) is not None
    follower.keeper.discard_unused()
    assert not received.path.exists()


def test_a_file_that_is_not_the_snapshot_it_claims_is_refused_before_the_loop_hears_of_it(
    node: Node, follower: Node, tmp_path: Path
) -> None:
    received = received_from(node, tmp_path / "received", index=12)
    with pytest.raises(StorageDamaged):
        prepare(follower, received)
    assert follower.store.last_applied == 1


def test_facts_are_checked_before_a_file_is_loaded(
    node: Node, follower: Node, tmp_path: Path
) -> None:
    received = received_from(node, tmp_path / "received", term=6)
    with pytest.raises(MalformedMessage):
        prepare(follower, received)


def test_one_received_snapshot_waits_until_the_loop_has_dealt_with_the_one_before(
    node: Node, follower: Node, tmp_path: Path
) -> None:
    first = received_from(node, tmp_path / "first")
    second = received_from(node, tmp_path / "second")
    prepare(follower, first)
    with pytest.raises(NotNow):
        prepare(follower, second)
    message = follower.keeper.to_message(first)
    assert message is not None
    follower.keeper.install(message.snapshot)
    follower.keeper.discard_unused()
    prepare(follower, second)


def test_a_refused_file_does_not_keep_the_next_one_waiting(
    node: Node, follower: Node, tmp_path: Path
) -> None:
    bad = received_from(node, tmp_path / "bad", index=12)
    with pytest.raises(StorageDamaged):
        prepare(follower, bad)
    prepare(follower, received_from(node, tmp_path / "good"))
