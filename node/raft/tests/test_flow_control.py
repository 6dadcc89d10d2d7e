"""How much a leader sends before it hears an answer: probes, windows, and messages' sizes.

Comments name the upstream test that covers the same ground.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from in_office import appends, in_office, progress_of, proposed
from raft_network import Network, Server

from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
)
from metastore.node.raft.model import Entry
from metastore.node.raft.progress import ProgressState

WINDOW = 8
FROM_2 = HeartbeatReply(sender=2, to=1, term=1)


def leader(**settings: Any) -> Server:
    """Of nodes 1 and 2, in term 1; node 2 is being probed from index 1 and was sent nothing."""
    return in_office(Server(1, voters=(1, 2), **settings))


def replicating_leader(**settings: Any) -> Server:
    server = leader(**settings)
    progress_of(server, 2).become_replicate()
    return server


def acknowledge(server: Server, index: int) -> list[AppendEntries]:
    """Node 2 holds everything up to `index`; returns the appends that this lets out."""
    server.step(AppendEntriesReply(sender=2, to=1, term=1, index=index))
    return appends(server.read())


def test_a_leader_counts_its_own_entries_once_they_are_durable() -> None:
    # TestProgressLeader
    server = Server(1, voters=(1, 2))
    server.core.raft.become_candidate()
    server.core.raft.become_leader()
    for _ in range(5):
        server.core.propose(b"foo")
    own = progress_of(server, 1)
    assert (own.match_index, own.next_index) == (0, 1)
    ready = server.core.ready()
    assert [entry.data for entry in ready.entries] == [b"", *[b"foo"] * 5]
    assert own.match_index == 0
    server.complete(ready)
    assert (own.match_index, own.next_index) == (6, 7)


def test_an_answered_heartbeat_resumes_a_paused_peer_and_a_sent_one_does_not() -> None:
    # TestProgressResumeByHeartbeatResp
    server = leader()
    progress = progress_of(server, 2)
    progress.flow_paused = True
    server.core.beat()
    assert progress.flow_paused
    progress.become_replicate()
    progress.flow_paused = True
    server.step(FROM_2)
    assert not progress.flow_paused


def test_a_probed_peer_gets_one_append_however_much_is_proposed() -> None:
    # TestProgressPaused
    server = leader()
    assert len([append for _ in range(3) for append in proposed(server)]) == 1


def test_a_window_is_bounded_by_messages_and_by_bytes() -> None:
    # TestProgressFlowControl
    server = leader(max_inflight_count=3, max_append_bytes=2048, max_inflight_bytes=9000)
    for number in range(22):
        size = 5000 if 10 <= number < 16 else 1000
        server.core.propose(b"a" * size)
    (probe,) = appends(server.read())
    assert [len(entry.data) for entry in probe.entries] == [0, 1000]
    index = 2
    for counts in ([2, 2, 2], [2, 1, 1], [1, 1], [1, 1], [1, 2, 2], [2]):
        sent = acknowledge(server, index)
        assert [len(append.entries) for append in sent] == counts
        index = sent[-1].entries[-1].index
    assert index == 23


def test_a_probe_is_repeated_only_after_a_sign_of_life() -> None:
    # TestSendAppendForProgressProbe
    server = leader()
    progress = progress_of(server, 2)
    for _ in range(3):
        (probe,) = appends(server.read()) or proposed(server)
        assert probe.prev_log_index == 0
        assert progress.flow_paused
        assert [append for _ in range(10) for append in proposed(server)] == []
        server.tick()
        assert [type(message) for message in server.read()] == [Heartbeat]
        assert progress.flow_paused
        server.step(FROM_2)
        assert progress.flow_paused


def test_a_replicating_peer_gets_every_proposal_at_once() -> None:
    # TestSendAppendForProgressReplicate
    server = replicating_leader()
    assert [len(proposed(server)) for _ in range(10)] == [1] * 10


def test_a_peer_that_awaits_a_snapshot_gets_nothing() -> None:
    # TestSendAppendForProgressSnapshot
    server = Server(1, voters=(1, 2))
    server.lead()
    progress_of(server, 2).become_snapshot(1)
    assert [append for _ in range(10) for append in proposed(server)] == []


def test_an_unreachable_peer_is_probed_after_what_it_acknowledged() -> None:
    # TestRecvMsgUnreachable
    server = in_office(Server(1, voters=(1, 2), log=(1, 1, 1)))
    progress = progress_of(server, 2)
    progress.match_index = 3
    progress.become_replicate()
    progress.next_index = 6
    server.core.report_unreachable(2)
    assert (progress.state, progress.match_index) == (ProgressState.PROBE, 3)
    assert progress.next_index == 4


def leader_with_full_window(count: int = WINDOW) -> Server:
    """Entry 1 is the leader's empty one: the messages in flight end at 2, 3, ... count + 1."""
    server = replicating_leader(max_inflight_count=count)
    assert [len(proposed(server)) for _ in range(count)] == [1] * count
    assert progress_of(server, 2).inflights.is_full
    return server


def test_a_full_window_lets_nothing_out() -> None:
    # TestMsgAppFlowControlFull
    server = leader_with_full_window(256)
    assert progress_of(server, 2).is_paused
    assert [proposed(server) for _ in range(10)] == [[]] * 10


def test_an_acknowledgement_moves_the_window_forward_and_an_older_one_does_not() -> None:
    # TestMsgAppFlowControlMoveForward
    server = leader_with_full_window()
    progress = progress_of(server, 2)
    for index in range(2, WINDOW + 2):
        acknowledge(server, index)
        assert len(proposed(server)) == 1
        assert progress.is_paused
        for older in range(index):
            assert acknowledge(server, older) == []
            assert progress.is_paused


def test_an_acknowledgement_frees_all_messages_up_to_its_index() -> None:
    # TestMsgAppFlowControlMoveForward: those between may have been lost on their way
    server = leader_with_full_window()
    assert [append.entries for append in acknowledge(server, 6)] == [()]  # tells the commit index
    assert progress_of(server, 2).inflights.count == WINDOW - 5
    assert [len(proposed(server)) for _ in range(5)] == [1] * 5
    assert progress_of(server, 2).is_paused


def test_an_answered_heartbeat_lets_one_empty_append_through_a_full_window() -> None:
    # TestMsgAppFlowControlRecvHeartbeat: it brings the commit index, or finds out what was lost
    server = leader_with_full_window()
    progress = progress_of(server, 2)
    for _ in range(5):
        for _ in range(3):
            server.step(FROM_2)
            (append,) = appends(server.read())
            assert append.entries == ()
            assert progress.is_paused
        assert [proposed(server) for _ in range(10)] == [[]] * 10


def test_appends_are_cut_to_their_size_limit() -> None:
    # TestAppendPagination
    network = Network.of(3, max_append_bytes=2048)
    network.hup(1)
    network.isolate(1)
    for _ in range(5):
        network.prop(1, b"a" * 1000)
    network.heal()
    network.delivered.clear()
    network.beat(1)
    network.prop(1)
    sizes = [payload(append.entries) for append in appends(network.delivered)]
    assert 1024 < max(sizes) <= 2048
    assert network[2].log == network[3].log == network[1].log


def payload(entries: Sequence[Entry]) -> int:
    return sum(len(entry.data) for entry in entries)


@pytest.mark.parametrize("state", list(ProgressState))
def test_a_heartbeat_is_sent_whatever_the_state_of_the_peer(state: ProgressState) -> None:
    server = Server(1, voters=(1, 2))
    server.lead()
    progress = progress_of(server, 2)
    if state is ProgressState.SNAPSHOT:
        progress.become_snapshot(1)
    elif state is ProgressState.PROBE:
        progress.become_probe()
    progress.flow_paused = True
    server.tick()
    assert [type(message) for message in server.read()] == [Heartbeat]
