"""Starting again from what disks remember, which need not be of one moment."""

import pytest
from raft_network import Server, entries_of

from metastore.node.raft.invariants import check_invariants
from metastore.node.raft.messages import AppendEntriesReply, InstallSnapshot
from metastore.node.raft.model import (
    ConfigurationState,
    HardState,
    RaftFailed,
    Snapshot,
)
from metastore.node.raft.progress import ProgressState

VOTERS = ConfigurationState(voters=(1, 2, 3))


def test_a_state_machine_ahead_of_the_stored_commit_index_proves_what_is_committed() -> None:
    # A commit index alone forces no sync, so an apply may become durable before it.
    server = Server(1, log=(1, 1, 1), hard_state=HardState(1, 0, 1), applied=3)
    assert server.core.commit_index == 3
    assert server.core.last_applied == 3
    check_invariants(server.core.raft)


def test_a_log_compacted_past_the_stored_commit_index_proves_what_is_committed() -> None:
    server = Server(
        1, snapshot=Snapshot(5, 1, VOTERS), log=entries_of((1,), 6), hard_state=HardState(1, 0, 3)
    )
    assert server.core.commit_index == 5


def test_a_stored_commit_index_beyond_the_log_stops_the_node() -> None:
    with pytest.raises(RaftFailed, match="lost entries"):
        Server(1, log=(1,), hard_state=HardState(1, 0, 2))


def test_a_state_machine_beyond_the_log_stops_the_node() -> None:
    with pytest.raises(RaftFailed):
        Server(1, log=(1,), hard_state=HardState(1, 0, 1), applied=2)


def test_a_snapshot_that_landed_after_further_compaction_is_followed_by_a_newer_one() -> None:
    server = Server(1, snapshot=Snapshot(5, 1, VOTERS), hard_state=HardState(1, 0, 5))
    server.lead()
    progress = server.core.raft.tracker.progress[3]
    progress.become_snapshot(5)
    progress.match_index = 0
    for _ in range(3):
        server.core.propose(b"data")
        ack = AppendEntriesReply(sender=2, to=1, term=2, index=server.core.last_index)
        server.read()
        server.step(ack)
        server.read()
    index = server.core.last_applied
    server.storage.create_snapshot(index, VOTERS)
    server.storage.compact(index)
    server.step(AppendEntriesReply(sender=3, to=1, term=2, index=5))
    (message,) = server.read()
    assert isinstance(message, InstallSnapshot)
    assert message.snapshot.index == index
    assert progress.state is ProgressState.SNAPSHOT
