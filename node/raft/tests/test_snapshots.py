"""Snapshots: when a leader sends one, what a follower makes of it, and how replication goes on
(§7).

Comments name the upstream test that covers the same ground.
"""

import pytest
from in_office import appends, in_office, progress_of, proposed
from raft_network import ELECTION_TIMEOUT_TICKS, Network, Server

from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    HeartbeatReply,
    InstallSnapshot,
)
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    Entry,
    EntryType,
    HardState,
    Role,
    Snapshot,
)
from metastore.node.raft.progress import ProgressState

INDEX = TERM = 11


def snapshot_of(
    *voters: int,
    outgoing: tuple[int, ...] = (),
    learners: tuple[int, ...] = (),
    index: int = INDEX,
    term: int = TERM,
) -> Snapshot:
    state = ConfigurationState(voters=voters, voters_outgoing=outgoing, learners=learners)
    return Snapshot(index, term, state)


def restored(node_id: int, snapshot: Snapshot) -> Server:
    """A server that starts from this snapshot."""
    hard_state = HardState(term=snapshot.term, commit_index=snapshot.index)
    return Server(node_id, snapshot=snapshot, hard_state=hard_state)


def leader() -> Server:
    """Of 1 and 2; its log begins after the snapshot, with its empty entry at index 12."""
    return in_office(restored(1, snapshot_of(1, 2)))


def install(server: Server, snapshot: Snapshot, term: int = TERM) -> None:
    server.step(InstallSnapshot(sender=1, to=server.id, term=term, snapshot=snapshot))


# Leader


def refuse_at(server: Server, index: int) -> list[InstallSnapshot]:
    """Node 2 refuses what follows `index`; returns the snapshots sent for that."""
    server.step(
        AppendEntriesReply(sender=2, to=1, term=server.core.term, index=index, rejected=True)
    )
    return [message for message in server.read() if isinstance(message, InstallSnapshot)]


def test_a_peer_that_needs_compacted_entries_gets_the_snapshot() -> None:
    # TestSendingSnapshotSetPendingSnapshot, TestProvideSnap
    server = leader()
    progress = progress_of(server, 2)
    (sent,) = refuse_at(server, progress.next_index - 1)
    assert (sent.to, sent.snapshot) == (2, snapshot_of(1, 2))
    assert (progress.state, progress.pending_snapshot) == (ProgressState.SNAPSHOT, INDEX)


def test_a_peer_not_heard_from_is_sent_no_snapshot() -> None:
    # TestIgnoreProvidingSnap: it is costly, and the peer may be dead
    server = leader()
    progress = progress_of(server, 2)
    progress.next_index = server.core.raft.log.first_index - 1
    progress.recently_active = False
    server.core.propose(b"somedata")
    assert server.read() == []
    assert progress.state is ProgressState.PROBE


def test_nothing_is_replicated_to_a_peer_while_a_snapshot_is_pending() -> None:
    # TestPendingSnapshotPauseReplication
    server = leader()
    progress_of(server, 2).become_snapshot(INDEX)
    assert proposed(server) == []


@pytest.mark.parametrize(("ok", "next_index"), [(False, 1), (True, INDEX + 1)])
def test_the_report_of_a_transfer_ends_the_snapshot_and_waits_for_a_sign_of_life(
    ok: bool, next_index: int
) -> None:
    # TestSnapshotFailure, TestSnapshotSucceed
    server = leader()
    progress = progress_of(server, 2)
    progress.next_index = 1
    progress.become_snapshot(INDEX)
    server.core.report_snapshot(2, ok=ok)
    assert (progress.state, progress.pending_snapshot) == (ProgressState.PROBE, 0)
    assert progress.next_index == next_index
    assert progress.flow_paused
    assert server.read() == []


def test_an_acknowledgement_ends_the_snapshot_and_replication_goes_on() -> None:
    # TestSnapshotAbort
    server = leader()
    progress = progress_of(server, 2)
    progress.become_snapshot(INDEX)
    server.step(AppendEntriesReply(sender=2, to=1, term=server.core.term, index=INDEX))
    (append,) = appends(server.read())
    assert append.prev_log_index == INDEX
    assert (progress.state, progress.pending_snapshot) == (ProgressState.REPLICATE, 0)
    assert (progress.next_index, progress.inflights.count) == (INDEX + 2, 1)


def test_a_slow_follower_catches_up_by_a_snapshot() -> None:
    # TestSlowNodeRestore
    network = Network.of(3)
    network.hup(1)
    network.isolate(3)
    for _ in range(101):
        network.prop(1)
    leader = network[1]
    leader.storage.create_snapshot(leader.core.last_applied, ConfigurationState(voters=(1, 2, 3)))
    leader.storage.compact(leader.core.last_applied)
    network.heal()
    network.beat(1)
    network.prop(1)
    assert InstallSnapshot in {type(message) for message in network.delivered}
    assert network[3].core.commit_index == leader.core.commit_index == 103


# Follower


def test_a_snapshot_replaces_log_and_configuration() -> None:
    # TestRestore
    server = Server(2, voters=(1, 2), log=(1, 1, 1))
    install(server, snapshot_of(1, 2, 3))
    log = server.core.raft.log
    assert (log.last_index, log.last_term, log.commit_index) == (INDEX, TERM, INDEX)
    assert server.core.status().configuration.voters == {1, 2, 3}
    assert server.read() == [AppendEntriesReply(sender=2, to=1, term=TERM, index=INDEX)]
    assert server.log == []


def test_a_snapshot_that_was_restored_is_not_restored_again() -> None:
    # TestRestore
    server = Server(2, voters=(1, 2))
    install(server, snapshot_of(1, 2, 3))
    server.read()
    install(server, snapshot_of(1, 2, 3))
    ready = server.core.ready()
    assert ready.snapshot is None
    assert list(ready.messages) == [AppendEntriesReply(sender=2, to=1, term=TERM, index=INDEX)]


def test_nobody_campaigns_while_its_snapshot_is_not_durable() -> None:
    # TestRestore
    server = Server(2, voters=(1, 2))
    install(server, snapshot_of(1, 2, 3))
    server.tick(2 * ELECTION_TIMEOUT_TICKS)
    assert (server.core.role, server.core.term) == (Role.FOLLOWER, TERM)
    server.read()
    server.tick(2 * ELECTION_TIMEOUT_TICKS)
    assert server.core.term > TERM


@pytest.mark.parametrize(
    ("voters", "learners", "snapshot", "is_learner"),
    [
        pytest.param((1, 2), (3,), snapshot_of(1, 2, learners=(3,)), True, id="learner"),
        pytest.param((1, 2, 3), (), snapshot_of(1, 2, learners=(3,)), True, id="demoted"),
        pytest.param((1, 2), (3,), snapshot_of(1, 2, 3), False, id="promoted"),
        pytest.param((1, 2), (), snapshot_of(2, 4, outgoing=(1, 2, 3)), False, id="outgoing"),
    ],
)
def test_a_snapshot_says_who_votes_and_who_learns(
    voters: tuple[int, ...], learners: tuple[int, ...], snapshot: Snapshot, is_learner: bool
) -> None:
    # TestRestoreWithLearner, TestRestoreWithVotersOutgoing, TestRestoreVoterToLearner,
    # TestRestoreLearnerPromotion
    server = Server(3, voters=voters, learners=learners)
    install(server, snapshot)
    state = snapshot.configuration
    configuration = server.core.status().configuration
    assert configuration.all_voters == {*state.voters, *state.voters_outgoing}
    assert configuration.learners == set(state.learners)
    tracked = server.core.raft.tracker.progress
    assert {node for node in tracked if tracked[node].is_learner} == set(state.learners)
    assert tracked[3].is_learner is is_learner
    server.read()
    assert server.core.raft.is_promotable is not is_learner


def test_a_snapshot_older_than_the_addition_of_this_node_is_taken_and_that_follows() -> None:
    # Upstream ignores it, and sends it again for ever when no newer one is made.
    for server in (Server(3, voters=()), Server(3)):  # it joins, or it was removed and comes again
        install(server, snapshot_of(1, 2))
        assert server.read() == [AppendEntriesReply(sender=3, to=1, term=TERM, index=INDEX)]
        assert server.core.status().configuration.voters == {1, 2}
        assert not server.core.raft.is_promotable
        addition = ConfigurationChange((Change(ChangeType.ADD_VOTER, 3),)).encode()
        entry = Entry(TERM, INDEX + 1, EntryType.CONFIGURATION, addition)
        server.step(
            AppendEntries(
                sender=1,
                to=3,
                term=TERM,
                prev_log_index=INDEX,
                prev_log_term=TERM,
                entries=(entry,),
                commit_index=INDEX + 1,
            )
        )
        server.read()
        assert server.core.status().configuration.voters == {1, 2, 3}
        assert server.core.raft.is_promotable


def test_a_learner_receives_the_snapshot() -> None:
    # TestLearnerReceiveSnapshot
    network = Network(
        restored(1, snapshot_of(1, learners=(2,))), Server(2, voters=(1,), learners=(2,))
    )
    network.hup(1)
    network.beat(1)
    assert InstallSnapshot in {type(message) for message in network.delivered}
    assert network[2].core.commit_index == network[1].core.commit_index == INDEX + 1


@pytest.mark.parametrize(("index", "commit"), [(1, 1), (2, 2)])
def test_a_snapshot_that_the_log_already_holds_keeps_the_log(index: int, commit: int) -> None:
    # TestRestoreIgnoreSnapshot; §7: retain the log entries following it
    log = [Entry(1, 1), Entry(1, 2), Entry(1, 3)]
    server = Server(2, voters=(1, 2), log=log, hard_state=HardState(term=1, commit_index=1))
    install(server, snapshot_of(1, 2, index=index, term=1), term=1)
    ready = server.core.ready()
    assert ready.snapshot is None
    assert list(ready.messages) == [AppendEntriesReply(sender=2, to=1, term=1, index=commit)]
    assert server.core.commit_index == commit
    assert server.log == log


def test_whoever_sends_a_snapshot_leads() -> None:
    # TestRestoreFromSnapMsg
    server = Server(2, voters=(1, 2))
    install(server, snapshot_of(1, 2))
    assert server.core.leader_id == 1


def test_a_heartbeat_reply_after_a_reported_snapshot_resumes_replication() -> None:
    server = leader()
    progress_of(server, 2).become_snapshot(INDEX)
    server.core.report_snapshot(2, ok=True)
    server.step(HeartbeatReply(sender=2, to=1, term=server.core.term))
    (append,) = appends(server.read())
    assert append.prev_log_index == INDEX
