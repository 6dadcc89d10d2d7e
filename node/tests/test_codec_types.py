"""Every field of every message between nodes, with a value of every wrong type (H8)."""

import contextlib
from typing import Any

import msgpack
import pytest

from metastore.node import codec
from metastore.node.codec import MalformedMessage, decode_messages, unpack_snapshot_facts
from metastore.node.raft import messages as m
from metastore.node.raft.model import ConfigurationState, Entry, EntryType, Snapshot

SENDER, OWN, TERM = 2, 1, 9
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1.5, 1 << 63, (1 << 64) - 1, b"", b"x", "", "x", [], [[]], [1], [[1, 2]],
)  # fmt: skip
A_MAP_WITH_A_KEY_TWICE = b"\x82\xa1a\x01\xa1a\x02"

ENTRIES = (Entry(5, 8, EntryType.NORMAL, b"data"), Entry(9, 9, EntryType.NORMAL, b""))
SNAPSHOT = Snapshot(7, 5, ConfigurationState((1, 2, 3), (), (4,), (), False), b"record")
MESSAGES: tuple[m.Message, ...] = (
    m.AppendEntries(
        sender=SENDER, to=OWN, term=TERM, prev_log_index=7, prev_log_term=5, entries=ENTRIES
    ),
    m.AppendEntriesReply(sender=SENDER, to=OWN, term=TERM, index=8),
    m.Heartbeat(sender=SENDER, to=OWN, term=TERM, commit_index=7),
    m.HeartbeatReply(sender=SENDER, to=OWN, term=TERM),
    m.RequestVote(sender=SENDER, to=OWN, term=TERM, last_log_index=8, last_log_term=5),
    m.RequestVoteReply(sender=SENDER, to=OWN, term=TERM),
    m.RequestPreVote(sender=SENDER, to=OWN, term=TERM, last_log_index=8, last_log_term=5),
    m.RequestPreVoteReply(sender=SENDER, to=OWN, term=TERM),
    m.InstallSnapshot(sender=SENDER, to=OWN, term=TERM, snapshot=SNAPSHOT),
    m.Propose(sender=SENDER, to=OWN, entries=(Entry(0, 0, EntryType.NORMAL, b"data"),)),
    m.ReadIndex(sender=SENDER, to=OWN, context=b"c"),
    m.ReadIndexReply(sender=SENDER, to=OWN, term=TERM, read_index=7, context=b"c"),
    m.TransferLeadership(sender=SENDER, to=OWN, term=TERM),
    m.TimeoutNow(sender=SENDER, to=OWN, term=TERM),
)


def places(value: Any, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """The way to every element of nested lists, and to the whole."""
    found = [path]
    if isinstance(value, list):
        for number, inner in enumerate(value):
            found += places(inner, (*path, number))
    return found


def replaced(value: Any, path: tuple[int, ...], by: Any) -> Any:
    if not path:
        return by
    first, *rest = path
    return [replaced(v, tuple(rest), by) if n == first else v for n, v in enumerate(value)]


def test_every_message_that_there_is_was_thought_of() -> None:
    assert {type(message) for message in MESSAGES} == set(codec._SHAPES)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_a_field_of_another_type_is_malformed_or_what_some_node_may_say(message: m.Message) -> None:
    data = codec.encode_messages([message])
    rows = msgpack.unpackb(data)
    refused = 0
    for path in places(rows):
        for value in VALUES:
            packed = msgpack.packb(replaced(rows, path, value))
            try:
                decoded = decode_messages(packed, SENDER)
            except MalformedMessage:
                refused += 1
                continue
            # What is let through is a message, and the very one that the bytes say.
            assert codec.encode_messages(decoded) == packed
    assert refused > len(VALUES)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_a_map_anywhere_in_a_message_is_malformed(message: m.Message) -> None:
    rows = msgpack.unpackb(codec.encode_messages([message]))
    mark = b"here comes a map"
    for path in places(rows):
        packed = msgpack.packb(replaced(rows, path, mark))
        with_map = packed.replace(msgpack.packb(mark), A_MAP_WITH_A_KEY_TWICE)
        assert with_map != packed
        with pytest.raises(MalformedMessage):
            decode_messages(with_map, SENDER)


@pytest.mark.parametrize("name", ["message_term", "index", "term", "configuration"])
def test_facts_of_a_snapshot_of_another_type_are_malformed(name: str) -> None:
    facts = {"message_term": TERM, "index": 7, "term": 5, "configuration": b"\x80"}
    for value in (*VALUES, {}, {"a": 1}):
        with contextlib.suppress(MalformedMessage):
            unpack_snapshot_facts({**facts, name: value}, SENDER, OWN)
    del facts[name]
    with pytest.raises(MalformedMessage):
        unpack_snapshot_facts(facts, SENDER, OWN)
