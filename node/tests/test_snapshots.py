"""When snapshots are taken and sent; files move elsewhere, here are the decisions."""

from pathlib import Path

import pytest
from founding import snapshot_of
from snapshot_keeping import ADDRESS, FIRST, FOUNDED, Node, Sender, message_for

from metastore.engines.contract import SnapshotMeta
from metastore.node.recovery import to_meta
from metastore.node.snapshots import Saved, Sent


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "snapshots")


# --- saving


def test_a_save_starts_when_the_log_has_grown_by_enough_entries(node: Node) -> None:
    node.apply(9)
    assert node.store.asked == []
    node.apply(1)
    assert node.saved() == Saved(None)
    assert node.store.latest_snapshot() == to_meta(snapshot_of(11, 1, FOUNDED))


def test_a_save_starts_when_the_log_has_grown_by_enough_bytes(tmp_path: Path) -> None:
    node = Node(tmp_path, bytes_max=1000)
    node.apply(2, b"x" * 600)
    meta = node.keeper.on_saved(node.saved())
    assert meta == to_meta(snapshot_of(3, 1, FOUNDED))
    node.apply(1, b"x" * 600)
    assert node.store.asked == [3], "the bytes count from the last snapshot on"


def test_no_second_save_starts_while_one_is_under_way(node: Node) -> None:
    node.apply(25)  # the report of the first has not been taken in yet
    assert node.store.asked == [11]


def test_a_saved_snapshot_compacts_the_log_down_to_the_trailing_entries(node: Node) -> None:
    meta = node.save_now()
    assert meta.index == 11
    assert node.mirror.newest == snapshot_of(11, 1, FOUNDED)
    assert (node.mirror.first_index(), node.mirror.last_index()) == (9, 11)


def test_fewer_entries_than_the_trailing_ones_are_all_kept(tmp_path: Path) -> None:
    node = Node(tmp_path, trailing_entries=100)
    node.save_now()
    assert node.mirror.first_index() == 2


def test_trailing_entries_are_also_bounded_by_their_bytes(tmp_path: Path) -> None:
    """Five thousand entries of a megabyte each would be more than the data of many a node."""
    node = Node(tmp_path, trailing_entries=100, entries_max=10, bytes_max=100_000)
    node.apply(10, b"x" * 9_000)
    node.keeper.on_saved(node.saved())
    assert (node.mirror.first_index(), node.mirror.last_index()) == (10, 11)


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
    installed = snapshot_of(50, 2, FOUNDED)
    node.mirror.apply_snapshot(installed)
    node.mirror.newest = installed
    assert node.keeper.on_saved(saved) is None
    assert node.mirror.newest == installed


def test_a_failed_save_compacts_nothing_and_is_tried_again_later(node: Node) -> None:
    """Not at once: copying the whole state for every entry would stop a node with a full disk."""
    node.apply(10)
    node.saved()
    assert node.keeper.on_saved(Saved(OSError(28, "full"))) is None
    assert (node.mirror.newest, node.mirror.first_index()) == (FIRST, 2)
    node.apply(9)
    assert node.store.asked == [11]
    node.apply(1)
    assert node.store.asked == [11, 21]


# --- sending


def test_a_snapshot_is_sent_with_its_facts_and_its_outcome_reported(node: Node) -> None:
    meta, sender = node.save_now(), Sender()
    node.keeper.send(message_for(2, meta), ADDRESS, sender)
    [(to, address, facts, find_path, on_done)] = sender.started
    assert (to, address, find_path()) == (2, ADDRESS, node.store.export_snapshot(meta))
    configuration = FOUNDED.encode()
    assert facts == {
        "message_term": 5,
        "index": meta.index,
        "term": meta.term,
        "configuration": configuration,
    }
    assert node.reports.empty()
    on_done(True, "")
    assert node.reports.get_nowait() == Sent(2, True, "")


def test_a_file_is_looked_for_by_the_transfer_and_not_by_the_loop(node: Node) -> None:
    sender = Sender()
    node.keeper.send(message_for(2, SnapshotMeta(1, 1)), ADDRESS, sender)
    [started] = sender.started
    with pytest.raises(FileNotFoundError):
        started.find_path()


def test_a_peer_that_wants_a_snapshot_of_which_there_is_no_file_gets_the_next_one_soon(
    node: Node,
) -> None:
    """Else it would wait until the log has grown by a whole snapshot's worth."""
    sender = Sender()
    node.apply(1)
    node.keeper.send(message_for(2, to_meta(node.mirror.newest)), ADDRESS, sender)
    with pytest.raises(FileNotFoundError):
        sender.started[0].find_path()
    node.keeper.maybe_save()
    assert node.store.asked == [2]


def test_a_snapshot_that_a_newer_one_replaced_is_not_made_again(node: Node) -> None:
    node.save_now()
    node.apply(1)
    sender = Sender()
    node.keeper.send(message_for(2, SnapshotMeta(3, 1)), ADDRESS, sender)
    with pytest.raises(FileNotFoundError):
        sender.started[0].find_path()
    node.keeper.maybe_save()
    assert node.store.asked == [11]


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


# --- for a backup


def test_a_snapshot_for_a_backup_is_of_what_is_applied(node: Node) -> None:
    node.apply(2)
    assert node.keeper.save_now() is None
    assert node.keeper.on_saved(node.saved()) == to_meta(snapshot_of(3, 1, FOUNDED))
    assert node.keeper.save_now() == to_meta(snapshot_of(3, 1, FOUNDED)), "the one that is there"
    assert node.store.asked == [3]


def test_a_backup_starts_no_second_save_while_one_is_under_way(node: Node) -> None:
    node.apply(10)
    node.apply(1)
    assert node.keeper.save_now() is None
    assert node.store.asked == [11]
