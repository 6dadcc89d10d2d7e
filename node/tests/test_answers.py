"""What a node says to whoever waits: one reply each, and where the leader is."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from runtime import Runtime

from metastore.node.answers import Answers
from metastore.node.outbox import Replies
from metastore.transport import envelope
from metastore.transport.envelope import Error, ErrorCode, Results

MakeRuntime = Callable[..., Runtime]
CORE: Any = SimpleNamespace(term=5)  # all that results need of it
WAITERS = ((b"client-1", 7), (b"client-2", 8))


def said(replies: Replies) -> dict[bytes, list[envelope.NodeFrame]]:
    got: dict[bytes, list[envelope.NodeFrame]] = {}

    def decode(identity: bytes, frames: list[bytes]) -> None:
        got[identity] = [envelope.decode_node_frame(frame) for frame in frames]

    replies.flush(decode)
    return got


def test_each_waiter_gets_its_own_results_and_the_term_of_the_node() -> None:
    replies = Replies()
    Answers(CORE, replies).answer(WAITERS, (b"one", b"two"))
    assert said(replies) == {
        b"client-1": [Results(7, b"one", 5)],
        b"client-2": [Results(8, b"two", 5)],
    }


def test_results_for_fewer_than_wait_are_a_mistake_and_not_a_silence() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Answers(CORE, Replies()).answer(WAITERS, (b"one",))


def test_a_refusal_tells_all_that_wait_who_leads(leader: Runtime) -> None:
    said(leader.replies)
    leader.said.refuse(WAITERS, ErrorCode.UNAVAILABLE, "not now")
    assert said(leader.replies) == {
        b"client-1": [Error(7, ErrorCode.UNAVAILABLE, "not now", 1)],
        b"client-2": [Error(8, ErrorCode.UNAVAILABLE, "not now", 1)],
    }


def test_a_node_that_knows_no_leader_says_so(make_runtime: MakeRuntime) -> None:
    node = make_runtime((1, 2, 3))
    node.said.refuse_not_leader(WAITERS[:1])
    (error,) = said(node.replies)[b"client-1"]
    assert error == Error(7, ErrorCode.NOT_LEADER, "this node does not lead; no leader is known", 0)
