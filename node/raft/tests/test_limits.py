"""Limits that keep a node's memory bounded: uncommitted data, and what is handed out to be applied.

Comments name the upstream test that covers the same ground.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from raft_network import Server

from metastore.node.raft.errors import ProposalDropped
from metastore.node.raft.messages import (
    AppendEntriesReply,
    Message,
    RequestVoteReply,
    StorageAppend,
    StorageApply,
)
from metastore.node.raft.model import NO_LIMIT, Entry, HardState
from metastore.node.raft.storage import MemoryStorage

ENTRY = b"testdata"
COUNT_MAX = 1024


def acknowledge_all(server: Server) -> None:
    server.read()
    for node in (2, 3):
        reply = AppendEntriesReply(
            sender=node, to=1, term=server.core.term, index=server.core.last_index
        )
        server.step(reply)
    server.read()


def test_proposals_beyond_the_limit_of_uncommitted_data_are_dropped() -> None:
    # TestUncommittedEntryLimit
    server = Server(1, max_uncommitted_bytes=COUNT_MAX * len(ENTRY))
    server.lead()
    raft = server.core.raft
    for _ in range(COUNT_MAX):
        server.core.propose(ENTRY)
    with pytest.raises(ProposalDropped):
        server.core.propose(ENTRY)
    acknowledge_all(server)
    assert raft.uncommitted_bytes == 0

    # With nothing of ours in the tail even one too large passes, or it never could.
    server.core.propose_many([ENTRY] * 2 * COUNT_MAX)
    with pytest.raises(ProposalDropped):
        server.core.propose(ENTRY)
    server.core.propose(b"")
    acknowledge_all(server)
    assert raft.uncommitted_bytes == 0


def test_a_log_that_cannot_commit_stops_growing_at_the_limit() -> None:
    # TestRawNodeBoundedLogGrowthWithPartition
    server = Server(1, voters=(1,), max_uncommitted_bytes=16 * len(ENTRY))
    server.lead()
    refused = 0
    for _ in range(COUNT_MAX):
        try:
            server.core.propose(ENTRY)
        except ProposalDropped:
            refused += 1
    assert refused == COUNT_MAX - 16
    assert server.core.raft.uncommitted_bytes == 16 * len(ENTRY)

    ready = server.core.ready()
    assert [entry.data for entry in ready.entries] == [ENTRY] * 16
    server.complete(ready)
    assert server.core.commit_index == 17
    assert server.core.raft.uncommitted_bytes == 16 * len(ENTRY)  # committed, not yet applied
    server.read()
    assert server.core.raft.uncommitted_bytes == 0


def test_committed_entries_are_handed_out_in_pages() -> None:
    # TestCommitPagination
    server = Server(1, voters=(1,), max_committed_bytes_per_ready=2048)
    server.lead()
    for _ in range(3):
        server.core.propose(b"a" * 1000)
    server.complete(server.core.ready())  # makes them durable, which commits them
    pages = []
    while server.core.has_ready():
        ready = server.core.ready()
        pages.append(len(ready.committed))
        server.complete(ready)
    assert pages == [2, 1]


class AsyncServer(Server):
    """Appends are carried out at once; applies wait in `to_apply`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(1, voters=(1,), async_storage_writes=True, **settings)
        self.to_apply: list[StorageApply] = []

    def run(self) -> None:
        while self.core.has_ready():
            for message in self.core.ready().messages:
                self._carry_out(message)

    def _carry_out(self, message: Message) -> None:
        if isinstance(message, StorageApply):
            self.to_apply.append(message)
        elif isinstance(message, StorageAppend):
            if message.hard_state is not None:
                self.storage.set_hard_state(message.hard_state)
            self.storage.append(message.entries)
            self.step(*message.responses)


def test_applying_stops_at_the_limit_until_the_first_batch_is_acknowledged() -> None:
    # TestCommitPaginationWithAsyncStorageWrites
    server = AsyncServer(max_append_bytes=2048)
    server.core.campaign()
    server.run()
    server.step(*server.to_apply.pop().responses)
    for _ in range(3):
        server.core.propose(b"a" * 1024)
        server.run()
    assert server.core.commit_index == 4
    assert [[entry.index for entry in one.entries] for one in server.to_apply] == [[2], [3]]
    server.step(*server.to_apply[0].responses)
    server.run()
    assert [entry.index for entry in server.to_apply[-1].entries] == [4]


def test_nothing_is_applied_that_is_not_yet_durable_on_this_node() -> None:
    # Committed elsewhere: applied here before it is durable, a crash would leave a state machine
    # ahead of its log.
    server = Server(1, async_storage_writes=True)
    server.core.campaign()
    (append,) = (m for m in server.core.ready().messages if isinstance(m, StorageAppend))
    server.step(*append.responses)
    server.step(RequestVoteReply(sender=2, to=1, term=1))
    ready = server.core.ready()
    assert len(ready.entries) == 1
    for node in (2, 3):
        server.step(AppendEntriesReply(sender=node, to=1, term=1, index=1))
    assert server.core.commit_index == 1
    committed = server.core.ready()
    assert committed.committed == ()
    assert not any(isinstance(message, StorageApply) for message in committed.messages)

    (append,) = (m for m in ready.messages if isinstance(m, StorageAppend))
    server.storage.append(append.entries)
    server.step(*append.responses)
    assert [entry.index for entry in server.core.ready().committed] == [1]


def test_a_storage_that_ignores_the_limit_makes_nothing_skip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # TestNodeCommitPaginationAfterRestart, TestRawNodeCommitPaginationAfterRestart
    limited = MemoryStorage.entries

    def unlimited(self: MemoryStorage, low: int, high: int, _max: int) -> Sequence[Entry]:
        return limited(self, low, high, NO_LIMIT)

    monkeypatch.setattr(MemoryStorage, "entries", unlimited)
    log = [Entry(1, index, data=b"a") for index in range(1, 12)]
    size = log[0].size_bytes
    server = Server(
        1,
        voters=(1,),
        log=log,
        hard_state=HardState(term=1, voted_for=1, commit_index=10),
        max_committed_bytes_per_ready=9 * size - 1,
    )
    server.read()
    assert server.core.commit_index == 10
    assert [entry.index for entry in server.applied] == list(range(1, 11))
