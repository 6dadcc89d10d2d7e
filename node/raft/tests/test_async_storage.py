"""Storage that answers later: many writes outstanding, confirmed in groups, and nothing lost."""

from collections import deque
from typing import Any

import pytest
from raft_network import Server, accept, grant

from metastore.node.raft.events import EventKind
from metastore.node.raft.invariants import check_invariants
from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Message,
    RequestVote,
    StorageAppend,
    StorageApply,
)
from metastore.node.raft.model import NO_LIMIT, Entry, Role


class SlowServer(Server):
    """A server whose storage works only when told to. Its disk holds what was written, in order."""

    def __init__(self, node_id: int = 1, **settings: Any) -> None:
        self.events: list[EventKind] = []
        super().__init__(
            node_id,
            async_storage_writes=True,
            tracer=lambda kind, fields: self.events.append(kind),
            **settings,
        )
        self.appends: deque[StorageAppend] = deque()
        self.applies: deque[StorageApply] = deque()

    def read(self) -> list[Message]:
        """Takes over all there is to do, does nothing of it, and returns what may leave now."""
        sent: list[Message] = []
        while self.core.has_ready():
            for message in self.core.ready().messages:
                if isinstance(message, StorageAppend):
                    self.appends.append(message)
                elif isinstance(message, StorageApply):
                    self.applies.append(message)
                else:
                    sent.append(message)
        return sent

    def write(self, count: int = NO_LIMIT) -> list[Message]:
        """Writes so many of the oldest outstanding appends, then gives all their replies at once;
        returns those for others."""
        replies: list[Message] = []
        for _ in range(min(count, len(self.appends))):
            append = self.appends.popleft()
            if append.hard_state is not None:
                self.storage.set_hard_state(append.hard_state)
            self.storage.append(append.entries)
            replies += append.responses
        self.step(*(reply for reply in replies if reply.to == self.id))
        return [reply for reply in replies if reply.to != self.id]

    def apply(self, count: int = NO_LIMIT) -> None:
        """Applies so many of the oldest outstanding batches."""
        for _ in range(min(count, len(self.applies))):
            batch = self.applies.popleft()
            for entry in batch.entries:
                self._apply(entry)
            self.step(*batch.responses)

    def settle(self) -> list[Message]:
        sent = self.read()
        while self.appends or self.applies:
            sent += self.write()
            self.apply()
            sent += self.read()
        return sent


def leader(**settings: Any) -> SlowServer:
    """Node 1 of 3, elected; the empty entry of its term is committed."""
    server = SlowServer(1, **settings)
    server.core.campaign()
    requests = [message for message in server.settle() if isinstance(message, RequestVote)]
    server.step(*(grant(request) for request in requests))
    appends = [message for message in server.settle() if isinstance(message, AppendEntries)]
    server.step(*(accept(append) for append in appends))
    server.settle()
    assert server.core.role is Role.LEADER
    assert server.core.last_applied == 1
    return server


def appends_to(node: int, messages: list[Message]) -> list[AppendEntries]:
    return [one for one in messages if isinstance(one, AppendEntries) and one.to == node]


@pytest.mark.parametrize("group", [1, 3, 7, 100])
def test_a_leader_survives_many_outstanding_writes_confirmed_in_groups(group: int) -> None:
    server = leader()
    sent: list[Message] = []
    for number in range(100):
        server.core.propose(b"%d" % number)
        sent += server.read()
    assert len(server.appends) == 100
    server.step(*(accept(append) for append in (*appends_to(2, sent), *appends_to(3, sent))))
    # Committed by the two others; but not yet on our own disk, so not applied here.
    server.read()
    assert server.core.commit_index == 101
    assert not server.applies
    while server.appends:
        server.write(group)
        server.read()
        server.apply()
    server.settle()
    check_invariants(server.core.raft)
    assert [entry.data for entry in server.applied[1:]] == [b"%d" % n for n in range(100)]
    assert server.core.last_applied == server.core.commit_index == 101
    assert server.core.raft.log.unstable.entries == []


def test_a_group_of_replies_may_confirm_an_entry_twice() -> None:
    # The second write holds no entry, only the commit index; its reply names the end of the log,
    # which the first one has confirmed. That is normal, and told as an event only.
    server = leader()
    server.core.propose(b"data")
    appends = [one for one in server.read() if isinstance(one, AppendEntries)]
    server.step(*(accept(append) for append in appends))
    server.read()
    assert len(server.appends) == 2
    server.write()
    assert EventKind.STABLE_ENTRY_MISSING in server.events
    server.settle()
    assert server.applied[-1].data == b"data"


def test_a_write_that_is_not_confirmed_counts_for_nobody() -> None:
    server = leader(voters=(1, 2))
    server.core.propose(b"data")
    server.read()
    server.step(AppendEntriesReply(sender=2, to=1, term=1, index=2))
    assert server.core.commit_index == 1
    server.write()
    assert server.core.commit_index == 2


def test_a_follower_acknowledges_what_is_written_and_not_before() -> None:
    server = SlowServer(2)
    entries = tuple(Entry(1, index) for index in (1, 2, 3))
    server.step(AppendEntries(sender=1, to=2, term=1, entries=entries))
    assert server.read() == []
    assert server.write() == [AppendEntriesReply(sender=2, to=1, term=1, index=3)]


def test_a_vote_leaves_when_it_is_written_and_not_before() -> None:
    server = SlowServer(2)
    server.step(RequestVote(sender=1, to=2, term=1))
    assert server.read() == []
    (vote,) = server.write()
    assert vote == grant(RequestVote(sender=1, to=2, term=1))
    assert server.storage.initial_state()[0].voted_for == 1


def test_a_leader_deposed_with_writes_outstanding_takes_over_the_new_leaders_log() -> None:
    server = leader()
    for _ in range(10):
        server.core.propose(b"old")
    server.read()
    new = tuple(Entry(2, index, data=b"new") for index in (2, 3))
    server.step(
        AppendEntries(
            sender=2, to=1, term=2, prev_log_index=1, prev_log_term=1, entries=new, commit_index=3
        )
    )
    server.read()
    # The replies of the old term come one by one, then those of the new.
    while server.appends:
        server.write(1)
        server.read()
        server.apply()
    server.settle()
    assert [entry.data for entry in server.applied] == [b"", b"new", b"new"]
    assert server.log[1:] == list(new)


def test_applying_may_fall_behind_writing() -> None:
    server = leader(max_committed_bytes_per_ready=1)
    for number in range(20):
        server.core.propose(b"%d" % number)
    for append in appends_to(2, server.read()):
        server.step(accept(append))
    server.write()
    server.read()
    assert server.core.commit_index == 21
    assert sum(len(batch.entries) for batch in server.applies) == 1  # no more until it is applied
    server.settle()
    assert server.core.last_applied == 21
