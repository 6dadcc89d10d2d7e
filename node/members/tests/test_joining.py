"""What a node says to be let in, and what it makes of answers, whoever they come from."""

from typing import Any

import msgpack
import pytest
import zmq

from metastore.node.identity_errors import JoinRefused
from metastore.node.members.conversation import Conversation
from metastore.node.members.joining import (
    TEXT_CHARACTERS_MAX,
    Registered,
    decode_answer_or_none,
    encode_join,
    final_error_or_none,
)
from metastore.node.members.records import MemberRecord
from metastore.transport.member_ops import decode_member_request

PLACES = ("tcp://d:1", "tcp://d:2", "tcp://d:3", "tcp://d:4")
TOLD = ("four", "http://d:2379,https://d:2380")
OWN = MemberRecord(4, "witness", *PLACES, 99, 0, *TOLD)
INFO = (4, "witness", "member", *PLACES, 99, 0, *TOLD)


def test_what_a_node_says_is_a_request_that_nodes_understand() -> None:
    (change,) = decode_member_request(encode_join(OWN)).changes
    assert change[1:] == (4, "witness", *PLACES, 99, *TOLD)


def test_an_answer_names_the_members_and_the_leader() -> None:
    answer = decode_answer_or_none(msgpack.packb([[0, 2, 7, 5, [INFO]]]))
    assert isinstance(answer, Registered)
    assert (answer.leader_id, [tuple(info) for info in answer.members]) == (2, [INFO])


@pytest.mark.parametrize(
    "results",
    [
        b"",
        b"\xc1",
        [],
        7,
        [[]],
        [[0, "text"]],
        [["9", "text"]],
        [[9, b"text"]],
        [[0, 1, 7, 3, [INFO]], [0, 1, 7, 3, [INFO]]],
        [[1, 1, 7, 3, [INFO]]],
        [[0, "1", 7, 3, [INFO]]],
        [[0, 1, 7, 3, 5]],
        [[0, 1, 7, 3, [INFO[:-1]]]],
        [[0, 1, 7, 3, [("4", *INFO[1:])]]],
        [[0, 1, 7, 3, [(*INFO[:3], 5, *INFO[4:])]]],
        [[0, 1, 7, 3, [None]]],
    ],
)
def test_anything_else_is_no_answer(results: Any) -> None:
    data = results if isinstance(results, bytes) else msgpack.packb(results)
    assert decode_answer_or_none(data) is None


def test_a_long_text_of_somebody_is_cut() -> None:
    error = final_error_or_none(3, "metastore: " + "x" * 10_000, 4)
    assert isinstance(error, JoinRefused)
    assert len(str(error)) == TEXT_CHARACTERS_MAX + 3


def test_a_conversation_ends_with_its_connection() -> None:
    context: zmq.Context[Any] = zmq.Context()
    with Conversation(context, "tcp://127.0.0.1:1", None, lambda *_: False) as conversation:
        connection = conversation._socket
        assert conversation.greet(7, 0.0) is None
    assert connection.closed
    context.term()
