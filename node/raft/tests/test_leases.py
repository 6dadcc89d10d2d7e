"""Lease reads: when a leader may answer without a message (§6.4.1 of the dissertation)."""

from typing import Any

import pytest
from raft_network import Network, Server

from metastore.node.raft.config import ReadOnly
from metastore.node.raft.messages import (
    AppendEntries,
    Heartbeat,
    HeartbeatReply,
    ReadIndex,
    TransferLeadership,
)
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    ReadState,
    Role,
)

ELECTION_TIMEOUT_TICKS = 10


def leader(**settings: Any) -> Server:
    """Node 1 of 3, elected, with its first entry committed."""
    server = Server(1, check_quorum=True, **settings)
    server.lead()
    return server


def lease_of(server: Server) -> int | None:
    index: int | None = server.core.lease_index_or_none()
    return index


def heard(server: Server, *nodes: int) -> None:
    """These nodes answer the heartbeats of the next tick."""
    server.tick()
    beats = [one for one in server.read() if isinstance(one, Heartbeat) and one.to in nodes]
    assert len(beats) == len(nodes)
    for beat in beats:
        server.step(
            HeartbeatReply(sender=beat.to, to=1, term=beat.term, read_sequence=beat.read_sequence)
        )


def test_a_leader_holds_its_lease_from_the_first_commit_of_its_term() -> None:
    server = Server(1, check_quorum=True)
    server.elect()
    assert lease_of(server) is None
    server = leader()
    assert lease_of(server) == server.core.commit_index


def test_a_leader_that_a_majority_answers_keeps_its_lease() -> None:
    server = leader()
    for _ in range(3 * ELECTION_TIMEOUT_TICKS):
        heard(server, 2)
        assert lease_of(server) == server.core.commit_index


def test_a_lease_ends_before_the_followers_may_elect_another_leader() -> None:
    # CheckQuorum finds out at its second look only: up to two election timeouts too late.
    server = leader()
    heard(server, 2, 3)
    server.tick(ELECTION_TIMEOUT_TICKS - 2)
    assert lease_of(server) is not None
    server.tick()
    assert server.core.role is Role.LEADER
    assert lease_of(server) is None


def test_a_late_answer_renews_the_lease_from_when_it_was_asked() -> None:
    server = leader()
    server.tick()
    (beat,) = [one for one in server.read() if isinstance(one, Heartbeat) and one.to == 2]
    server.tick(ELECTION_TIMEOUT_TICKS - 1)
    server.step(HeartbeatReply(sender=2, to=1, term=beat.term, read_sequence=beat.read_sequence))
    assert server.core.role is Role.LEADER
    assert lease_of(server) is None


def test_without_check_quorum_there_is_no_lease() -> None:
    server = Server(1, check_quorum=False)
    server.lead()
    assert lease_of(server) is None


def test_a_leader_that_told_another_to_campaign_has_no_lease() -> None:
    server = leader(read_only=ReadOnly.LEASE)
    server.step(TransferLeadership(sender=2))
    assert lease_of(server) is None
    server.step(ReadIndex(context=b"read"))
    assert any(isinstance(message, Heartbeat) for message in server.read())


def test_a_change_of_the_configuration_ends_the_lease_until_the_new_quorum_answers() -> None:
    server = leader()
    server.core.apply_change(ConfigurationChange((Change(ChangeType.ADD_VOTER, 4),)))
    assert lease_of(server) is None
    heard(server, 2, 3)
    assert lease_of(server) is not None


def test_an_only_voter_needs_no_lease() -> None:
    server = Server(1, voters=(1,), check_quorum=True)
    server.lead()
    server.tick(ELECTION_TIMEOUT_TICKS - 1)
    assert lease_of(server) == server.core.commit_index


@pytest.mark.parametrize("ticks", [0, ELECTION_TIMEOUT_TICKS - 1])
def test_a_lease_read_without_a_lease_asks_a_quorum_instead(ticks: int) -> None:
    server = leader(read_only=ReadOnly.LEASE)
    server.tick(ticks)
    server.read()
    server.step(ReadIndex(context=b"read"))
    answered_at_once = server.core.raft.read_states == [
        ReadState(server.core.commit_index, b"read")
    ]
    assert answered_at_once is (ticks == 0)
    if ticks:
        server.read()
        heard(server, 2)
        assert server.core.raft.read_states


def test_a_leader_removed_by_a_change_is_not_the_only_voter_that_remains() -> None:
    network = Network.of(2, check_quorum=True)
    network.hup(1)
    network[1].core.apply_change(ConfigurationChange((Change(ChangeType.REMOVE, 1),)))
    network[1].core.read_index(b"read")
    assert network[1].core.raft.read_states == []
    assert any(isinstance(one, Heartbeat) for one in network[1].read())
    assert not any(isinstance(one, AppendEntries) for one in network[1].read())


def test_skipped_ticks_end_the_lease() -> None:
    server = leader()
    server.core.end_lease()
    assert lease_of(server) is None
    heard(server, 2)
    assert lease_of(server) is not None
