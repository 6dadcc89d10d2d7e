"""What the core asks for is carried out in the order that makes its promises true."""

from collections.abc import Callable
from pathlib import Path
from queue import Queue

import pytest
from founding import record_of
from leader_messages import append, normal, put
from runtime import CLIENT, Runtime, ask
from runtime import put as put_request

from metastore.engines.contract import SnapshotMeta
from metastore.engines.memory.store import MemoryStore
from metastore.node import effects
from metastore.node.disk import Append, Compact
from metastore.node.raft.messages import (
    AppendEntriesReply,
    InstallSnapshot,
    StorageApply,
)
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    Entry,
    EntryType,
    RaftFailed,
)
from metastore.node.recovery import to_meta
from metastore.node.snapshots import Received, Saved
from metastore.transport import envelope, schema
from metastore.transport.envelope import ErrorCode

MakeRuntime = Callable[..., Runtime]
THREE = (1, 2, 3)


# --- applying


def test_committed_entries_reach_the_store_and_the_mirror_in_order(
    make_runtime: MakeRuntime,
) -> None:
    node = make_runtime(THREE)
    sent = [normal(2, put(b"a")), normal(3, put(b"b")), normal(4, put(b"c"))]
    node.step(append(sent, commit=3))
    node.settle()
    assert node.store.last_applied == 3
    assert [key for key, _ in node.store.scan()] == [b"a", b"b"]
    assert node.mirror.entries(2, 5, 1 << 20) == sent
    assert node.mirror.initial_state()[0].term == 2
    node.step(append([], commit=4, prev=4))
    node.settle()
    assert [key for key, _ in node.store.scan()] == [b"a", b"b", b"c"]


def test_a_long_backlog_is_applied_in_parts_so_that_ticks_come_between(
    make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "APPLIED_BYTES_PER_TURN", 1)
    node = make_runtime(THREE)
    node.core.raft.log._committed_bytes_max = 1  # one entry a Ready
    node.step(append([normal(2, put(b"a")), normal(3, put(b"b"))], commit=1))
    node.settle()
    node.core.step(append([], commit=3, prev=3))
    assert node.effects.carry_out_some()
    assert node.store.last_applied == 2
    assert not node.effects.carry_out_some()
    assert node.store.last_applied == 3


def test_an_entry_that_is_not_the_next_one_stops_the_node(make_runtime: MakeRuntime) -> None:
    node = make_runtime(THREE)
    with pytest.raises(RaftFailed, match="entry 3 to apply after 1"):
        node.effects._apply(StorageApply(entries=(normal(3),)))


def test_each_waiter_gets_the_reply_to_its_own_request(make_runtime: MakeRuntime) -> None:
    node = make_runtime()
    node.lead()
    for number in (1, 2):
        request = schema.encode_request([schema.put(b"k", b"%d" % number, prev_kv=True)])
        node.desk.request(CLIENT, envelope.Request(number, 0, request))
    node.settle()
    first, second = node.answers()
    assert isinstance(first, envelope.Results)
    assert isinstance(second, envelope.Results)
    assert (first.request_id, second.request_id) == (1, 2)
    assert b"1" not in first.results  # the first put found nothing before it
    assert b"1" in second.results  # the second one found the first


def test_waiters_of_an_entry_that_another_terms_entry_replaced_are_refused(
    make_runtime: MakeRuntime,
) -> None:
    node = make_runtime(THREE)
    node.pending.add(2, 1, [(CLIENT, 9)])
    node.step(append([normal(2, put(b"theirs"))], commit=2))
    node.settle()
    [answer] = node.answers()
    assert isinstance(answer, envelope.Error)
    assert (answer.request_id, answer.code) == (9, ErrorCode.NOT_LEADER)
    assert len(node.pending) == 0


def test_a_configuration_entry_goes_to_whoever_keeps_the_members_and_counts_as_applied(
    make_runtime: MakeRuntime,
) -> None:
    node = make_runtime(THREE)
    change = ConfigurationChange((Change(ChangeType.ADD_LEARNER, 4),))
    entries = [
        normal(2, put(b"a")),
        Entry(2, 3, EntryType.CONFIGURATION, change.encode()),
        normal(4, put(b"b")),
    ]
    node.step(append(entries, commit=4))
    node.settle()
    assert node.store.last_applied == 4
    assert [key for key, _ in node.store.scan()] == [b"a", b"b"]
    assert node.membership.configuration == ConfigurationState(voters=THREE, learners=(4,))
    assert node.membership.index == 3
    assert node.store.applied == SnapshotMeta(4, 2, node.membership.encode())


def test_what_hangs_on_the_state_hears_of_a_batch_before_its_waiters_do(
    alone: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call for the whole batch: a clock of leases that is told late would let them live on."""
    monkeypatch.setattr(
        alone.effects, "_on_applied", lambda: alone.happened.append(str(alone.store.last_applied))
    )
    alone.happened.clear()
    before = alone.store.last_applied
    ask(alone, 1, put_request(1))
    alone.settle()
    assert alone.happened == [str(before + 1)]


# --- snapshots


def received_snapshot(node: Runtime, folder: Path, index: int) -> InstallSnapshot:
    """A file of another node's state at `index`, taken in as the loop would."""
    other = MemoryStore(folder / "other", node_id=2)
    other.skip(1, 1, record_of(ConfigurationState(voters=(1, 2, 3, 5))).encode())
    other.apply([normal(i, put(b"from-2")) for i in range(2, index + 1)])
    done: Queue[Exception | None] = Queue()
    meta = other.save_snapshot(done.put)
    assert done.get(timeout=10) is None
    facts = {
        "message_term": 2,
        "index": index,
        "term": 2,
        "configuration": meta.configuration,
    }
    message = node.snapshots.to_message(Received(2, facts, other.export_snapshot(meta)))
    assert message is not None
    return message


def test_a_snapshot_replaces_the_state_before_the_log_learns_of_it(
    make_runtime: MakeRuntime, tmp_path: Path
) -> None:
    """D5: a crash in between must find the state of the log's beginning, so it is there first."""
    node = make_runtime(THREE)
    node.step(received_snapshot(node, tmp_path, 20))
    assert node.store.last_applied == 20
    [job] = node.disk.jobs
    assert isinstance(job, Append)
    assert job.snapshot is not None
    assert job.snapshot.index == 20
    assert node.mirror.last_index() == 1
    assert not any(isinstance(message, AppendEntriesReply) for message in node.sent())
    node.work()
    assert (node.mirror.newest.index, node.mirror.last_index()) == (20, 20)
    assert [m.index for m in node.sent() if isinstance(m, AppendEntriesReply)] == [20]
    assert node.membership.configuration.voters == (1, 2, 3, 5), "told on installing"
    assert node.store.applied.configuration == node.membership.encode()
    assert node.store.applied.term == 2
    assert node.happened == ["installed"]


def test_entries_that_follow_an_installed_snapshot_are_applied_on_top(
    make_runtime: MakeRuntime, tmp_path: Path
) -> None:
    node = make_runtime(THREE)
    node.step(received_snapshot(node, tmp_path, 20))
    node.step(append([normal(21, put(b"next"))], commit=21, prev=20))
    node.settle()
    assert node.store.last_applied == 21
    assert [key for key, _ in node.store.scan()] == [b"from-2", b"next"]


def test_compaction_goes_to_the_disk_behind_the_appends(make_runtime: MakeRuntime) -> None:
    node = make_runtime(THREE)
    node.step(append([normal(2)]))
    meta = to_meta(node.mirror.newest)
    node.effects.compact(meta)
    assert [type(job) for job in node.disk.jobs] == [Append, Compact]


def test_a_snapshot_starts_after_enough_entries_and_carries_the_applied_term(
    make_runtime: MakeRuntime,
) -> None:
    node = make_runtime(THREE, entries_max=3)
    node.step(append([normal(i, put(b"k")) for i in range(2, 5)], commit=4))
    node.settle()
    assert node.reports.get(timeout=10) == Saved(None)
    meta = node.store.latest_snapshot()
    assert meta is not None
    assert (meta.index, meta.term) == (4, 2)


def test_a_snapshot_starts_after_enough_bytes(
    make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_runtime(THREE)
    monkeypatch.setattr(node.snapshots, "_bytes_max", 1)
    node.step(append([normal(2, put(b"k"))], commit=2))
    node.settle()
    assert node.snapshots._saving is not None
    node.store.close()
