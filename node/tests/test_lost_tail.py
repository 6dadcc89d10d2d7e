"""A node that has lost entries it knew to be committed takes no part in elections until it has them
again."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from leader_messages import append, normal, put
from runtime import ELECTION_TICKS, Runtime

from metastore.engines.memory.wal import WriteAheadLog
from metastore.node.lost_tail import LostTail
from metastore.node.raft.messages import (
    AppendEntries,
    Message,
    RequestPreVote,
    RequestVote,
    TimeoutNow,
)
from metastore.node.raft.model import Entry, Role
from metastore.node.settings import Settings

MakeRuntime = Callable[..., Runtime]
COMMITTED = 4
ELECTIONS: Sequence[Message] = (
    RequestVote(sender=2, to=1, term=3, last_log_index=9, last_log_term=2),
    RequestPreVote(sender=2, to=1, term=3, last_log_index=9, last_log_term=2),
    TimeoutNow(sender=2, to=1, term=2),
)


def after_the_loss(make_runtime: MakeRuntime, voters: Sequence[int] = (1, 2, 3)) -> Runtime:
    """Entry 2 is there; 3 and 4 were committed once, and are gone."""
    node = make_runtime(voters)
    node.log.append([normal(2, put(b"a"))], (2, 0, COMMITTED), None)
    node.log.sync()
    node.log.close()
    node.store.close()
    return make_runtime(voters)


def tail_of(node: Runtime) -> LostTail:
    return LostTail(node.core, node.committed_once)


@pytest.fixture
def node(make_runtime: MakeRuntime) -> Runtime:
    return after_the_loss(make_runtime)


@pytest.mark.parametrize("message", ELECTIONS, ids=lambda message: message.name)
def test_it_refuses_whatever_would_make_it_vote_or_stand(node: Runtime, message: Message) -> None:
    assert tail_of(node).refuses(message)  # A4


def test_it_hears_a_leader(node: Runtime) -> None:
    assert not tail_of(node).refuses(AppendEntries(sender=2, to=1, term=2))


def test_it_does_not_stand_however_long_it_hears_nobody(node: Runtime) -> None:
    tail = tail_of(node)
    for _ in range(5 * ELECTION_TICKS):
        tail.tick()
    assert node.core.role is Role.FOLLOWER


def test_it_votes_and_stands_again_once_it_has_committed_as_far(node: Runtime) -> None:
    tail = tail_of(node)
    sent: list[Entry] = [normal(3, put(b"b")), normal(4, put(b"c"))]
    node.step(append(sent, commit=3, prev=2))
    node.settle()
    assert tail.is_missing, "it has the entries, but nobody has said that they are the right ones"
    node.step(append([], commit=4, prev=4))
    node.settle()
    assert not tail.is_missing
    assert not any(tail.refuses(message) for message in ELECTIONS)
    for _ in range(2 * ELECTION_TICKS):
        tail.tick()
    assert node.core.role is Role.PRE_CANDIDATE


def test_a_restart_before_that_does_not_make_it_forget(
    node: Runtime, settings: Settings, tmp_path: Path
) -> None:
    node.step(replace(append([normal(3, put(b"b"))], commit=2, prev=2), term=3))
    node.settle()
    node.log.close()
    found = WriteAheadLog(tmp_path / "wal").recover()
    assert found.hard_state[0] == 3, "term, vote and commit index were written anew"
    assert found.committed_once == COMMITTED


def test_a_whole_log_refuses_nothing(make_runtime: MakeRuntime) -> None:
    node = make_runtime((1, 2, 3))
    assert not any(tail_of(node).refuses(message) for message in ELECTIONS)


def test_a_sole_voter_goes_on_with_what_it_has(make_runtime: MakeRuntime) -> None:
    """There is nobody who could give it the rest."""
    node = after_the_loss(make_runtime, (1,))
    assert not tail_of(node).is_missing
