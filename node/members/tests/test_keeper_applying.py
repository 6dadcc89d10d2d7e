"""What applied entries and snapshots make of the record, and of who waits for them."""

import pytest
from member_cluster import ELECTION_TIMEOUT_TICKS, MemberCluster, MemberServer
from member_records import add, founded, join, record, three, update

from metastore.node.members.records import Membership, RecordDamaged, encode_edits
from metastore.node.raft.messages import TimeoutNow
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    Entry,
    EntryType,
)
from metastore.node.raft.node import RaftCore
from metastore.transport.framing import ErrorCode
from metastore.transport.member_ops import member_change
from metastore.transport.schema import Code

REMOVE_1 = (Change(ChangeType.REMOVE, 1),)


@pytest.mark.parametrize(
    "data",
    [
        b"\x07",
        ConfigurationChange(REMOVE_1, context=b"\xc1").encode(),
        ConfigurationChange(REMOVE_1, context=encode_edits([record(7)])).encode(),
    ],
    ids=["no change", "no edits", "no voter left"],
)
def test_an_entry_that_cannot_be_applied_changes_nothing(data: bytes) -> None:
    cluster = MemberCluster(1)
    server = cluster.at(1)
    encoded = server.keeper.on_entry(Entry(1, 9, EntryType.CONFIGURATION, data))
    assert encoded == founded(record(1)).encode()
    assert (server.keeper.membership, server.changes) == (founded(record(1)), [])
    assert server.core.status().configuration.voters == {1}


def test_who_waits_for_such_an_entry_is_told() -> None:
    cluster = MemberCluster(1)
    server = cluster.at(1)
    waiter = cluster.send_request(1, member_change([add(4)]))
    entry = Entry(server.core.term, server.core.last_index, EntryType.CONFIGURATION, b"\x07")
    server.keeper.on_entry(entry)
    found = cluster.outcome(1, waiter)
    assert found is not None
    assert found.code == Code.FAILED_PRECONDITION
    assert found.fields[0].startswith("metastore: the change could not be made: ")


def test_a_change_that_another_leader_s_took_the_place_of_is_to_be_asked_again() -> None:
    cluster = MemberCluster(3)
    term = cluster.leader.core.term
    cluster.isolate(1)
    waiter = cluster.begin(1, add(4))
    cluster.at(2).step(TimeoutNow(sender=1, to=2, term=term))
    cluster.settle()
    cluster.begin(2, add(5))
    cluster.heal()
    cluster.beat(2)
    assert cluster.keeper(1).membership.get(5) is not None
    assert cluster.outcome(1, waiter) == (
        ErrorCode.NOT_LEADER,
        ("another leader's change took its place",),
    )


def test_a_proposal_that_turned_out_to_be_no_change_is_to_be_asked_again() -> None:
    cluster = MemberCluster(3)
    server = cluster.at(1)
    waiter = cluster.send_request(1, member_change([add(4)]))
    server.keeper.on_applied(server.core.last_index - 1)
    assert cluster.outcome(1, waiter) is None
    server.keeper.on_applied(server.core.last_index)
    found = cluster.outcome(1, waiter)
    assert found is not None
    assert found.code == ErrorCode.UNAVAILABLE


def test_a_proposal_that_the_core_empties_lets_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = MemberCluster(3)
    core = cluster.at(1).core
    core.propose_change(ConfigurationChange((Change(ChangeType.UPDATE, 2),)))
    monkeypatch.setattr(RaftCore, "may_propose_change", True)
    waiter = cluster.begin(1, add(4))
    assert cluster.outcome(1, waiter) is None
    other = cluster.outcome(1, cluster.begin(1, add(5)))
    assert other is not None
    assert other.code == ErrorCode.UNAVAILABLE, "or the first would be forgotten"
    cluster.run()
    found = cluster.outcome(1, waiter)
    assert found is not None
    assert found.code == ErrorCode.UNAVAILABLE


def test_a_snapshot_replaces_the_record() -> None:
    cluster = MemberCluster(3)
    newer = three().changed(three().configuration, put=[record(9)], index=20)
    cluster.keeper(2).on_installed(newer.encode())
    assert cluster.keeper(2).membership == newer
    assert cluster.at(2).changes == [newer]
    with pytest.raises(RecordDamaged):
        cluster.keeper(2).on_installed(b"\xc1")


def test_everybody_has_the_record_of_the_leader_after_each_change() -> None:
    cluster = MemberCluster(3)
    for change in (add(4), update(2, priority=3), join(5, "learner")):
        cluster.do(change)
        cluster.run()
        records = [cluster.keeper(node_id).membership for node_id in (1, 2, 3)]
        assert records == [cluster.membership] * 3
    assert cluster.membership.index == cluster.leader.core.last_index


def test_a_learner_s_record_survives_its_restart_from_a_snapshot() -> None:
    # E7
    cluster = MemberCluster(3)
    cluster.start(4)
    cluster.do(join(4, "learner"))
    cluster.do(update(4, priority=2))
    cluster.run()
    restarted = MemberServer(4, Membership.decode(cluster.membership.encode()))
    assert restarted.keeper.membership.get(4) == record(4, "learner", priority=2)
    restarted.tick(3 * ELECTION_TIMEOUT_TICKS)
    assert restarted.read() == [], "it never campaigns"
