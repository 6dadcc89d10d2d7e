"""A witness votes and keeps the log's places, and no data comes to it or stays with it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from data_directories import ENGINES
from founding import founded_by
from leader_messages import append, normal, put
from runtime import Runtime
from snapshot_keeping import ADDRESS, FOUNDED, Node, Sender, message_for

from metastore.engines.contract import SnapshotMeta
from metastore.engines.files import Files
from metastore.engines.snapshot_format import verify
from metastore.node import effects
from metastore.node.identity import Identity
from metastore.node.members.records import encode_edits
from metastore.node.offline.restore import opened_engine
from metastore.node.outbox import Outbox
from metastore.node.raft.messages import AppendEntries, AppendEntriesReply, Heartbeat
from metastore.node.raft.model import Change, ChangeType, ConfigurationChange, Entry, EntryType
from metastore.node.witness import write_empty_snapshot

MakeRuntime = Callable[..., Runtime]
THREE = (1, 2, 3)
SECRET = b"secret"
CHANGE = ConfigurationChange((Change(ChangeType.ADD_LEARNER, 4),), context=encode_edits()).encode()


class Peers:
    def __init__(self) -> None:
        self.sent: dict[int, bytes] = {}

    def send(self, node_id: int, payload: bytes) -> bool:
        self.sent[node_id] = self.sent.get(node_id, b"") + payload
        return True


def append_to(to: int, *, size: int = 0) -> AppendEntries:
    entries = (
        Entry(1, 1, data=SECRET + b"x" * size),
        Entry(1, 2, EntryType.CONFIGURATION, CHANGE),
        Entry(1, 3, data=SECRET),
    )
    return AppendEntries(
        sender=1, to=to, term=1, prev_log_index=0, prev_log_term=0, entries=entries
    )


# --- what leaves for it


def test_entries_leave_for_a_witness_without_their_data_and_for_others_whole() -> None:
    outbox, peers = Outbox(), Peers()
    outbox.set_witnesses([3])
    for to in (2, 3):
        outbox.add(Heartbeat(sender=1, to=to, term=1))
        outbox.add(append_to(to))
    outbox.flush(peers)
    assert peers.sent[2].count(SECRET) == 2
    assert SECRET not in peers.sent[3]
    assert CHANGE in peers.sent[3], "a witness has to know who votes"


def test_who_is_no_witness_any_more_gets_entries_whole() -> None:
    outbox, peers = Outbox(), Peers()
    outbox.set_witnesses([3])
    outbox.set_witnesses([])
    outbox.add(append_to(3))
    outbox.flush(peers)
    assert SECRET in peers.sent[3]


def test_the_same_entries_stay_whole_in_the_leaders_own_log() -> None:
    outbox = Outbox()
    outbox.set_witnesses([3])
    message = append_to(3)
    outbox.add(message)
    outbox.flush(Peers())
    assert message.entries[0].data == SECRET


def test_a_witness_gets_a_snapshot_without_a_state(tmp_path: Path) -> None:
    node, sender = Node(tmp_path / "store", witness_folder=tmp_path / "empty"), Sender()
    node.keeper.set_witnesses([3])
    meta = node.save_now()
    for to in (2, 3):
        node.keeper.send(message_for(to, meta), ADDRESS, sender)
    whole, empty = (started.find_path() for started in sender.started)
    assert whole == node.store.export_snapshot(meta)
    assert sender.started[0].facts == sender.started[1].facts
    header = verify(empty, Files())
    assert header.meta == meta
    assert header.meta.configuration == FOUNDED.encode()
    assert empty.stat().st_size < whole.stat().st_size


def test_an_empty_snapshot_needs_no_file_of_the_whole_one(tmp_path: Path) -> None:
    """So a witness joins a leader that has never saved a snapshot."""
    node, sender = Node(tmp_path / "store", witness_folder=tmp_path / "empty"), Sender()
    node.keeper.set_witnesses([3])
    node.keeper.send(message_for(3, SnapshotMeta(1, 1)), ADDRESS, sender)
    assert verify(sender.started[0].find_path(), Files()).meta.index == 1


def test_one_empty_snapshot_is_kept_and_sent_as_often_as_it_is_wanted(tmp_path: Path) -> None:
    metas = [SnapshotMeta(index, 1, FOUNDED.encode()) for index in (4, 4, 5)]
    paths = [write_empty_snapshot(tmp_path / "empty", meta) for meta in metas]
    assert paths[0] == paths[1]
    assert list((tmp_path / "empty").iterdir()) == [paths[2]]


# --- what it does with that


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_snapshot_is_installed_as_any_other_and_the_log_goes_on_behind_it(
    tmp_path: Path, engine: str
) -> None:
    if engine == "rocksdb":
        pytest.importorskip("rocksdict")
    meta = SnapshotMeta(20, 3, founded_by(*THREE).encode())
    received = write_empty_snapshot(tmp_path / "received", meta)
    (tmp_path / "own").mkdir()
    with opened_engine(tmp_path / "own", Identity(7, 3, engine)) as (store, _):
        store.prepare_snapshot(meta, received)
        store.install_snapshot(meta, received)
        assert (store.applied, store.key_count) == (meta, 0)
        store.apply([Entry(3, 21)])
        assert store.last_applied == 21


def test_what_a_witness_was_sent_whole_is_not_applied_either(make_runtime: MakeRuntime) -> None:
    """A leader that does not know its role yet sends data; the log has it, the store must not."""
    node = make_runtime(THREE, is_witness=True)
    change = Entry(2, 3, EntryType.CONFIGURATION, CHANGE)
    node.step(append([normal(2, put(b"a")), change, normal(4, put(b"b"))], commit=4))
    node.settle()
    assert (node.store.last_applied, node.store.key_count) == (4, 0)
    assert node.membership.index == 3
    assert [m.index for m in node.sent() if isinstance(m, AppendEntriesReply)][-1] == 4


def test_entries_without_data_count_too_so_that_ticks_come_between(
    make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "APPLIED_BYTES_PER_TURN", 1)
    node = make_runtime(THREE, is_witness=True)
    node.core.raft.log._committed_bytes_max = 1  # one entry a Ready
    node.step(append([Entry(2, 2), Entry(2, 3)], commit=1))
    node.settle()
    node.core.step(append([], commit=3, prev=3))
    assert node.effects.carry_out_some()
    assert node.store.last_applied == 2


def test_a_witness_compacts_its_log_as_any_node_does(make_runtime: MakeRuntime) -> None:
    node = make_runtime(THREE, is_witness=True, entries_max=3)
    stripped = [Entry(2, index) for index in range(2, 30)]
    node.step(append(stripped, commit=29))
    node.settle()
    meta = node.snapshots.on_saved(node.reports.get(timeout=10))
    assert meta is not None
    assert meta.index == 29
    assert node.mirror.first_index() == 20
