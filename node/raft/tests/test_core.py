"""RaftCore, the face that drivers use: what it refuses, what a Ready says, and restarting."""

import pytest
from raft_network import ELECTION_TIMEOUT_TICKS, Server, accept, entries_of

from metastore.node.raft import messages as m
from metastore.node.raft.errors import LocalMessageRefused, PeerNotFound
from metastore.node.raft.invariants import check_invariants
from metastore.node.raft.model import (
    APPEND_THREAD,
    ConfigurationState,
    Entry,
    HardState,
    ReadState,
    Role,
    Snapshot,
    SoftState,
)
from metastore.node.raft.node import LOCAL, REPLIES, BasicStatus
from metastore.node.raft.ready import ReadyMaker

VOTERS = ConfigurationState(voters=(1, 2))


def names(kinds: frozenset[type[m.Message]]) -> list[type[m.Message]]:
    return sorted(kinds, key=lambda kind: kind.name)


def looks(server: Server) -> tuple[BasicStatus, list[str]]:
    status = server.core.status()
    return server.core.basic_status(), [str(peer) for peer in status.progress.values()]


@pytest.mark.parametrize("kind", names(LOCAL), ids=lambda kind: str(kind.name))
@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.LEADER])
def test_a_local_message_from_outside_is_refused_and_changes_nothing(
    kind: type[m.Message], role: Role
) -> None:
    # RawNodeStep
    server = Server(1)
    if role is Role.LEADER:
        server.lead()
    before = looks(server)
    with pytest.raises(LocalMessageRefused, match="cannot step raft local message"):
        server.core.step(kind(sender=2, to=1, term=server.core.term))
    assert looks(server) == before
    assert not server.core.has_ready()


@pytest.mark.parametrize("kind", names(REPLIES), ids=lambda kind: str(kind.name))
def test_a_reply_from_a_node_outside_the_configuration_is_refused(kind: type[m.Message]) -> None:
    server = Server(1)
    server.lead()
    with pytest.raises(PeerNotFound, match="cannot step as peer not found"):
        server.core.step(kind(sender=9, to=1, term=5))
    assert (server.core.term, server.core.role) == (1, Role.LEADER)


def test_a_request_from_a_node_outside_the_configuration_is_heard() -> None:
    # Its configuration may be newer than ours: it may well be the leader (§4.2.3).
    server = Server(1)
    server.step(m.AppendEntries(sender=9, to=1, term=1))
    assert server.core.leader_id == 9


def test_a_message_from_a_storage_thread_is_taken() -> None:
    server = Server(1)
    server.step(m.StorageAppendReply(sender=APPEND_THREAD, to=1))
    assert not server.core.has_ready()


def test_a_read_is_handed_out_once() -> None:
    # RawNodeReadIndex
    server = Server(1, voters=(1,))
    server.lead()
    assert not server.core.has_ready()
    server.core.read_index(b"read")
    assert server.core.has_ready()
    ready = server.core.ready()
    assert ready.read_states == (ReadState(1, b"read"),)
    server.complete(ready)
    assert not server.core.has_ready()
    assert server.core.ready().is_empty


def test_asking_for_work_takes_nothing_and_advancing_drops_nothing() -> None:
    # RawNodeConsumeReady
    server = Server(1)
    first, second = (m.ReadIndex(sender=3, to=1, context=text) for text in (b"first", b"second"))
    server.step(m.Heartbeat(sender=2, to=1, term=1))
    server.read()
    server.step(first)
    assert server.core.has_ready()
    assert server.core.has_ready()
    ready = server.core.ready()
    assert [one.context for one in ready.messages if isinstance(one, m.ReadIndex)] == [b"first"]
    assert not server.core.has_ready()
    server.step(second)
    server.core.advance()
    (message,) = server.core.ready().messages
    assert isinstance(message, m.ReadIndex)
    assert message.context == b"second"


def test_a_restarted_server_applies_what_was_committed_and_nothing_else() -> None:
    # Restart
    server = Server(1, voters=(1, 2), log=(1, 1), hard_state=HardState(1, 0, 1))
    ready = server.core.ready()
    assert ready.committed == entries_of((1,))
    assert ready.hard_state is None
    assert ready.soft_state is None
    assert not ready.must_sync
    assert ready.messages == ()
    server.complete(ready)
    assert not server.core.has_ready()


def test_a_server_restarted_from_a_snapshot_applies_what_comes_after_it() -> None:
    # RestartFromSnapshot
    log = entries_of((1,), first=3)
    server = Server(1, snapshot=Snapshot(2, 1, VOTERS), log=log, hard_state=HardState(1, 0, 3))
    ready = server.core.ready()
    assert ready.committed == log
    assert (ready.snapshot, ready.hard_state, ready.must_sync) == (None, None, False)
    server.complete(ready)
    assert not server.core.has_ready()


def test_what_the_state_machine_already_holds_is_not_applied_again() -> None:
    server = Server(1, log=(1, 1, 1), hard_state=HardState(1, 0, 3), applied=2)
    assert server.core.ready().committed == (Entry(1, 3),)


def test_only_a_leader_tells_how_far_the_others_are() -> None:
    # RawNodeStatus
    server = Server(1)
    assert server.core.status().progress == {}
    server.lead()
    status = server.core.status()
    assert (status.id, status.term, status.voted_for, status.leader_id) == (1, 1, 1, 1)
    assert (status.commit_index, status.last_applied, status.role) == (1, 1, Role.LEADER)
    assert str(status.configuration) == "voters=(1 2 3)"
    assert {node: peer.match_index for node, peer in status.progress.items()} == {1: 1, 2: 1, 3: 1}
    assert server.core.basic_status().leader_id == 1


def test_a_status_is_a_copy() -> None:
    server = Server(1)
    server.lead()
    server.core.status().progress[2].become_snapshot(9)
    check_invariants(server.core.raft)
    server.core.propose(b"data")
    assert {message.to for message in server.read()} == {2, 3}


def test_a_ready_tells_only_what_has_changed() -> None:
    # SoftStateEqual, IsHardStateEqual
    server = Server(1, voters=(1,))
    server.core.campaign()
    ready = server.core.ready()
    assert ready.soft_state == SoftState(0, Role.CANDIDATE)
    assert ready.hard_state == HardState(1, 1, 0)
    server.complete(ready)
    ready = server.core.ready()
    assert (ready.soft_state, ready.hard_state) == (SoftState(1, Role.LEADER), None)
    server.complete(ready)
    server.read()
    server.core.propose(b"data")
    ready = server.core.ready()
    assert (ready.soft_state, ready.hard_state, ready.must_sync) == (None, None, True)


def test_a_commit_index_alone_needs_no_sync() -> None:
    # It can be learned again; the term, the vote and the entries cannot.
    server = Server(1)
    server.core.ready()
    server.core.advance()
    (append, _) = [one for one in server.elect() if isinstance(one, m.AppendEntries)]
    server.step(accept(append))
    ready = server.core.ready()
    assert ready.hard_state == HardState(1, 1, 1)
    assert not ready.must_sync


def test_after_a_ready_come_the_own_promises_then_the_log_then_what_was_applied() -> None:
    # Our own promise counts before the apply reply may append the way out of a joint configuration,
    # and the write is confirmed before anything is taken for applied.
    server = Server(1, voters=(1,))
    server.core.campaign()
    server.complete(server.core.ready())
    server.complete(server.core.ready())
    server.core.propose(b"data")
    maker = ReadyMaker(server.core.raft)
    assert maker.make().committed == (Entry(1, 1),)
    kinds = [type(step) for step in maker.advance()]
    assert kinds == [m.AppendEntriesReply, m.StorageAppendReply, m.StorageApplyReply]


def test_many_proposals_become_one_append() -> None:
    server = Server(1)
    server.lead()
    server.core.propose_many([b"a", b"b", b"c"])
    server.core.propose_many([])
    appends = [one for one in server.read() if isinstance(one, m.AppendEntries)]
    assert [(one.to, [entry.data for entry in one.entries]) for one in appends] == [
        (2, [b"a", b"b", b"c"]),
        (3, [b"a", b"b", b"c"]),
    ]


def test_a_heartbeat_raises_the_commit_index_that_a_follower_is_known_to_have_been_told() -> None:
    # Else the next acknowledgement would make the leader tell it once more.
    server = Server(1)
    server.lead()
    server.core.raft.tracker.progress[2].sent_commit = 0
    server.core.beat()
    assert server.core.status().progress[2].sent_commit == 1


def test_a_late_append_is_answered_with_what_is_committed() -> None:
    # A lower index would say that less is held than the leader may have been told already, and a
    # higher one would acknowledge what this append does not cover.
    server = Server(1, log=(1, 1, 1), hard_state=HardState(1, 0, 2))
    server.read()
    entries = entries_of((1,), first=2)
    late = m.AppendEntries(sender=2, to=1, term=1, prev_log_index=1, prev_log_term=1)
    server.step(late, m.AppendEntries(sender=2, to=1, term=1, entries=entries))
    assert server.read() == [m.AppendEntriesReply(sender=1, to=2, term=1, index=2)] * 2


def test_a_pre_vote_of_a_lower_term_is_refused_with_the_own_term() -> None:
    # Silence dead-locks a cluster that migrates to PreVote: the asker must learn the term.
    server = Server(1, hard_state=HardState(term=5), pre_vote=True)
    server.step(m.RequestPreVote(sender=2, to=1, term=3, last_log_index=9, last_log_term=9))
    assert server.read() == [m.RequestPreVoteReply(sender=1, to=2, term=5, rejected=True)]


def test_ticks_make_a_follower_campaign_and_a_leader_send_heartbeats() -> None:
    server = Server(1)
    server.tick(2 * ELECTION_TIMEOUT_TICKS)
    assert server.core.role is Role.CANDIDATE
    server.read()
    server = Server(1)
    server.lead()
    server.tick()
    assert [type(message) for message in server.read()] == [m.Heartbeat, m.Heartbeat]
