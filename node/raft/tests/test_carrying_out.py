"""What follows when a Ready has been carried out: in which order, and what it sets off.

The conformance files do not notice these faults.
"""

import pytest
from raft_network import Server

from metastore.node.raft.messages import (
    AppendEntriesReply,
    Message,
    StorageAppendReply,
    StorageApplyReply,
)
from metastore.node.raft.model import ConfigurationState, EntryType, HardState, Role, Snapshot
from metastore.node.raft.raft import Raft


def test_own_promises_are_kept_first_then_the_log_is_durable_then_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(1, voters=(1,))
    server.lead()
    server.core.propose(b"applied with the next")
    server.complete(server.core.ready())
    server.core.propose(b"durable with this one")
    ready = server.core.ready()
    assert [entry.index for entry in ready.committed] == [2]
    assert [entry.index for entry in ready.entries] == [3]

    stepped: list[type[Message]] = []
    step = Raft.step

    def noting(raft: Raft, message: Message) -> None:
        stepped.append(type(message))
        step(raft, message)

    monkeypatch.setattr(Raft, "step", noting)
    server.complete(ready)
    assert stepped == [AppendEntriesReply, StorageAppendReply, StorageApplyReply]


def test_a_joint_configuration_is_left_only_when_no_earlier_change_can_be_unapplied() -> None:
    # A new leader does not know what is in its tail; only when it has applied all of it may it
    # propose a change, and leaving is one.
    joint = ConfigurationState(voters=(1, 2), voters_outgoing=(1, 2, 3), auto_leave=True)
    server = Server(
        1,
        snapshot=Snapshot(5, 1, joint),
        log=(1, 1),
        hard_state=HardState(term=1, commit_index=5),
        max_committed_bytes_per_ready=1,
    )
    for append in server.elect():
        index = server.core.last_index
        server.step(AppendEntriesReply(sender=append.to, to=1, term=2, index=index))
    assert (server.core.role, server.core.commit_index) == (Role.LEADER, 8)
    server.complete(server.core.ready())
    assert (server.core.last_applied, server.core.last_index) == (6, 8)
    server.complete(server.core.ready())
    assert (server.core.last_applied, server.core.last_index) == (7, 9)
    server.read()
    assert server.log[-1].type is EntryType.CONFIGURATION
