"""A node that joins starts from nothing, promises what it must, and begins with the leader's
snapshot; over both engines, and with a crash at every place between."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import Queue
from typing import TypeAlias

import pytest
from data_directories import ENGINES
from founding import founded_by, founders
from restarts import entries, entry, indexes
from runtime import Runtime, ask, put

from metastore.engines.contract import RaftLog, SnapshotMeta, StorageDamaged, Store
from metastore.engines.memory.store import MemoryStore
from metastore.node.identity import Identity
from metastore.node.members.records import Membership
from metastore.node.offline.restore import opened_engine
from metastore.node.raft.messages import AppendEntries, AppendEntriesReply, Message
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    HardState,
    Role,
    Snapshot,
)
from metastore.node.recovery import recover
from metastore.node.settings_sources import load
from metastore.node.snapshots import Received

LEADERS = founded_by(1, 2, 3)
Opened: TypeAlias = AbstractContextManager[tuple[Store, RaftLog]]


@pytest.fixture(params=ENGINES)
def opened(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Opened]:
    """Opens the same directory again and again, as starts would."""
    if request.param == "rocksdb":
        pytest.importorskip("rocksdict")
    identity = Identity(7, 4, request.param)

    @contextmanager
    def opened() -> Iterator[tuple[Store, RaftLog]]:
        (tmp_path / "own").mkdir(exist_ok=True)
        with opened_engine(tmp_path / "own", identity) as engine:
            yield engine

    return opened


def leaders_snapshot(folder: Path, index: int) -> tuple[SnapshotMeta, Path]:
    """Of a state at `index`, as it arrives."""
    store = MemoryStore(folder / "leader", node_id=1)
    store.skip(1, 1, LEADERS.encode())
    store.apply(entries(2, index))
    done: Queue[Exception | None] = Queue()
    meta = store.save_snapshot(done.put)
    assert done.get(timeout=10) is None
    received = folder / "received"
    received.write_bytes(store.export_snapshot(meta).read_bytes())
    return meta, received


def test_a_node_that_joins_starts_from_nothing_however_often(opened: Callable[[], Opened]) -> None:
    for _ in range(2):
        with opened() as (store, log):
            found = recover(log, store, None)
            assert found.mirror.newest == Snapshot()
            assert found.mirror.initial_state() == (HardState(), ConfigurationState())
            assert (found.last_applied, indexes(found)) == (0, [])
            assert found.membership == Membership()


def test_a_term_and_a_vote_that_were_promised_before_the_first_snapshot_are_kept(
    opened: Callable[[], Opened],
) -> None:
    with opened() as (store, log):
        recover(log, store, None)
        log.append((), (5, 2, 0), None)
        log.sync()
    with opened() as (store, log):
        assert recover(log, store, None).mirror.initial_state()[0] == HardState(5, 2, 0)


def test_the_leaders_snapshot_becomes_the_beginning_of_an_empty_log(
    opened: Callable[[], Opened], tmp_path: Path
) -> None:
    meta, received = leaders_snapshot(tmp_path, 9)
    with opened() as (store, log):
        recover(log, store, None)
        log.append((), (5, 0, 0), None)
        store.prepare_snapshot(meta, received)
        store.install_snapshot(meta, received)
        log.append((), (5, 0, 9), meta)
        log.append([entry(10), entry(11)], (5, 0, 10), None)
        log.sync()
    with opened() as (store, log):
        found = recover(log, store, None)
        assert found.membership == LEADERS
        assert (found.last_applied, indexes(found)) == (9, [10, 11])
        assert found.mirror.initial_state() == (HardState(5, 0, 10), LEADERS.configuration)


def test_a_crash_before_the_log_learnt_of_its_first_snapshot_is_made_good(
    opened: Callable[[], Opened], tmp_path: Path
) -> None:
    meta, received = leaders_snapshot(tmp_path, 9)
    with opened() as (store, log):
        recover(log, store, None)
        log.append((), (5, 2, 0), None)  # promised to the leader that then sent the snapshot
        log.sync()
        store.prepare_snapshot(meta, received)
        store.install_snapshot(meta, received)
    for _ in range(2):  # the log itself learns it
        with opened() as (store, log):
            found = recover(log, store, None)
            assert (found.mirror.newest.index, found.last_applied, indexes(found)) == (9, 9, [])
            assert found.mirror.initial_state() == (HardState(5, 2, 9), LEADERS.configuration)


def test_a_state_without_anything_in_its_log_is_refused_to_a_node_that_joined(
    opened: Callable[[], Opened], tmp_path: Path
) -> None:
    """Its term and its vote are forgotten: the log is another one, or gone."""
    meta, received = leaders_snapshot(tmp_path, 9)
    with opened() as (store, log):
        recover(log, store, None)
        store.prepare_snapshot(meta, received)
        store.install_snapshot(meta, received)
    with opened() as (store, log), pytest.raises(StorageDamaged, match="the log is gone"):
        recover(log, store, None)


def test_a_founder_with_a_state_and_a_log_of_a_term_alone_is_refused(
    opened: Callable[[], Opened], tmp_path: Path
) -> None:
    """Its log had a beginning from its first start on."""
    meta, received = leaders_snapshot(tmp_path, 9)
    with opened() as (store, log):
        log.recover()
        log.append((), (5, 2, 0), None)
        store.prepare_snapshot(meta, received)
        store.install_snapshot(meta, received)
    with opened() as (store, log), pytest.raises(StorageDamaged, match="the log is gone"):
        recover(log, store, founders([4]))


# --- with a leader


def make_joiner(folder: Path) -> Runtime:
    settings = load(["--node-id", "4", "--data-dir", str(folder / "data")], {})
    return Runtime(settings, folder, None)


def let_in(leader: Runtime) -> None:
    change = ConfigurationChange((Change(ChangeType.ADD_LEARNER, 4),))
    leader.core.propose_change(change)
    leader.settle()


def talk(leader: Runtime, joiner: Runtime) -> None:
    """Until neither has anything to say, or the leader wants to send a snapshot."""
    while not leader.snapshots_asked:
        to_joiner = leader.sent()
        to_leader: list[Message] = []
        for message in to_joiner:
            joiner.step(message)
            joiner.settle()
            to_leader += joiner.sent()
        for message in to_leader:
            leader.step(message)
        leader.settle()
        if not to_joiner and not to_leader:
            return


def hand_over_snapshot(leader: Runtime, joiner: Runtime) -> None:
    """The file's way, from its being saved on."""
    message = leader.snapshots_asked.pop()
    done: Queue[Exception | None] = Queue()
    meta = leader.store.save_snapshot(done.put)
    assert done.get(timeout=10) is None
    facts = {"message_term": message.term, "index": meta.index, "term": meta.term}
    facts["configuration"] = meta.configuration
    received = joiner.snapshots.to_message(Received(1, facts, leader.store.export_snapshot(meta)))
    assert received is not None
    joiner.step(received)
    joiner.settle()


def test_a_node_that_joins_never_stands_for_election(tmp_path: Path) -> None:
    joiner = make_joiner(tmp_path)
    for _ in range(100):
        joiner.core.tick()
        joiner.turn()
    assert joiner.core.role is Role.FOLLOWER
    assert (joiner.core.term, joiner.sent(), joiner.disk.jobs) == (0, [], [])


def test_a_node_that_joins_gets_the_leaders_snapshot_and_then_its_entries(
    alone: Runtime, tmp_path: Path
) -> None:
    joiner = make_joiner(tmp_path / "joiner")
    ask(alone, 1, put(1))
    let_in(alone)
    talk(alone, joiner)
    assert alone.snapshots_asked, "a leader cannot give an empty log its entries"
    assert joiner.store.last_applied == 0
    hand_over_snapshot(alone, joiner)
    assert joiner.store.last_applied == alone.store.last_applied
    assert joiner.membership == alone.membership
    assert joiner.core.status().configuration.learners == {4}
    for message in joiner.sent():
        alone.step(message)
    ask(alone, 2, put(2))
    alone.settle()
    alone.core.report_snapshot(4, ok=True)
    alone.settle()
    talk(alone, joiner)
    assert [key for key, _ in joiner.store.scan()] == [b"k1", b"k2"]


def test_an_empty_log_refuses_what_does_not_start_at_its_beginning(tmp_path: Path) -> None:
    joiner = make_joiner(tmp_path)
    joiner.step(
        AppendEntries(
            sender=1, to=4, term=3, prev_log_index=1, prev_log_term=1, entries=(entry(2),)
        )
    )
    joiner.settle()
    [reply] = joiner.sent()
    assert isinstance(reply, AppendEntriesReply)
    assert (reply.rejected, reply.hint_index) == (True, 0)
    assert joiner.core.last_index == 0
