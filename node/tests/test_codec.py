"""Peers' messages on the wire: what goes in comes out; hostile bytes raise one error only."""

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.node import codec
from metastore.node.codec import MalformedMessage, decode_messages, encode_messages
from metastore.node.raft import messages as m
from metastore.node.raft.model import (
    ConfigurationState,
    Entry,
    EntryType,
    HardState,
    RaftFailed,
    Snapshot,
)

SENDER = 7
ids = st.integers(1, (1 << 64) - 3)
integers = st.integers(0, (1 << 63) - 1)
id_lists = st.sets(ids, max_size=4).map(lambda found: tuple(sorted(found)))


@st.composite
def appends(draw: st.DrawFn) -> m.AppendEntries:
    prev_log_index = draw(st.integers(0, 1 << 40))
    terms = sorted(draw(st.lists(st.integers(1, 1 << 40), min_size=2, max_size=6)))
    entries = tuple(
        Entry(term, prev_log_index + 1 + place, draw(st.sampled_from(EntryType)), draw(st.binary()))
        for place, term in enumerate(terms[1:-1])
    )
    return m.AppendEntries(
        sender=SENDER,
        to=draw(ids),
        term=terms[-1],
        prev_log_index=prev_log_index,
        prev_log_term=terms[0],
        entries=entries,
        commit_index=draw(integers),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    voters = draw(id_lists.filter(bool))
    state = ConfigurationState(
        voters, draw(id_lists), draw(id_lists), draw(id_lists), draw(st.booleans())
    )
    return Snapshot(draw(st.integers(1, 1 << 40)), 3, state, draw(st.binary()))


def with_term(kind: type[m.Message], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, sender=st.just(SENDER), to=ids, term=st.integers(3, 1 << 40), **fields)


def without_term(kind: type[m.Message], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, sender=st.just(SENDER), to=ids, term=st.just(0), **fields)


proposals = st.lists(
    st.builds(Entry, st.just(0), st.just(0), st.sampled_from(EntryType), st.binary()),
    min_size=1,
    max_size=4,
).map(tuple)
votes = {"last_log_index": integers, "last_log_term": integers, "forced": st.booleans()}
messages = st.one_of(
    appends(),
    with_term(
        m.AppendEntriesReply,
        index=integers,
        rejected=st.booleans(),
        hint_index=integers,
        hint_term=integers,
    ),
    with_term(m.Heartbeat, commit_index=integers, read_sequence=integers),
    with_term(m.HeartbeatReply, read_sequence=integers),
    with_term(m.RequestVote, **votes),
    with_term(m.RequestPreVote, **votes),
    with_term(m.RequestVoteReply, rejected=st.booleans()),
    with_term(m.RequestPreVoteReply, rejected=st.booleans()),
    with_term(m.InstallSnapshot, snapshot=snapshots()),
    without_term(m.Propose, entries=proposals),
    without_term(m.ReadIndex, context=st.binary(max_size=64)),
    with_term(m.ReadIndexReply, read_index=integers, context=st.binary(max_size=64)),
    with_term(m.TimeoutNow),
    st.builds(m.TransferLeadership, sender=ids, to=ids, term=st.integers(1, 9)),
)


@given(st.lists(messages, max_size=5))
def test_messages_come_out_as_they_went_in(sent: list[m.Message]) -> None:
    assert decode_messages(encode_messages(sent), SENDER) == sent


def test_every_message_that_may_travel_has_a_tag_of_its_own() -> None:
    tags = [shape.tag for shape in codec._SHAPES.values()]
    assert len(tags) == len(set(tags)) == 14


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_malformed_message(data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        decode_messages(data, SENDER)


@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_damaged_messages_raise_nothing_but_malformed_message(
    sent: list[m.Message], data: st.DataObject
) -> None:
    damaged = bytearray(encode_messages(sent))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedMessage):
        decode_messages(bytes(damaged), SENDER)


nested = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 1 << 64 - 1), st.binary(), st.text()),
    lambda inner: st.lists(inner, max_size=10),
    max_leaves=20,
)


@given(st.integers(0, 15), st.lists(nested, max_size=8))
def test_well_formed_msgpack_of_any_shape_raises_nothing_but_malformed_message(
    tag: int, rest: list[Any]
) -> None:
    with contextlib.suppress(MalformedMessage):
        decode_messages(msgpack.packb([[tag, *rest]]), SENDER)


@given(messages, st.integers(1, 200))
def test_a_truncated_payload_is_malformed(message: m.Message, cut: int) -> None:
    data = encode_messages([message])
    with pytest.raises(MalformedMessage):
        decode_messages(data[: max(0, len(data) - cut)], SENDER)


LOCAL = [
    m.Campaign(to=1),
    m.SendHeartbeats(to=1),
    m.CheckQuorum(to=1),
    m.ReportUnreachable(to=1),
    m.ReportSnapshot(to=1),
    m.ForgetLeader(to=1),
    m.StorageAppend(to=1, hard_state=HardState(1, 1, 1)),
    m.StorageAppendReply(to=1),
    m.StorageApply(to=1),
    m.StorageApplyReply(to=1),
]


@pytest.mark.parametrize("message", LOCAL, ids=lambda message: message.name)
def test_local_and_storage_messages_never_leave_the_node(message: m.Message) -> None:
    with pytest.raises(RaftFailed, match="never leaves"):
        encode_messages([message])


def row(*fields: Any) -> bytes:
    return msgpack.packb([list(fields)])  # type: ignore[no-any-return]


ENTRY = [6, 3, 0, b"x"]
SNAPSHOT = [5, 2, [1], [], [], [], False, b""]
REFUSED = {
    "a map": msgpack.packb({}),
    "an unknown tag": row(99, 1, 3),
    "a tag that is true": row(True, 1, 3, 5, 2, 4, []),
    "a field too few": row(4, 1, 3),
    "a field too many": row(4, 1, 3, 5, 6),
    "receiver 0": row(4, 0, 3, 5),
    "a receiver that is a storage thread": row(4, (1 << 64) - 1, 3, 5),
    "a negative number": row(4, 1, 3, -5),
    "a number above 2^63-1": row(4, 1, 3, 1 << 63),
    "a term that is text": row(4, 1, "3", 5),
    "a flag that is a number": row(6, 1, 3, 1),
    "bytes that are text": row(11, 1, 0, "read"),
    "a context too long": row(11, 1, 0, bytes(codec.CONTEXT_BYTES_MAX + 1)),
    "term 0 of a heartbeat": row(3, 1, 0, 4, 1),
    "a term in a proposal": row(10, 1, 3, [[0, 0, 0, b"x"]]),
    "a term in a read": row(11, 1, 3, b"read"),
    "a gap before the entries": row(1, 1, 3, 4, 2, 4, [ENTRY]),
    "a gap between entries": row(1, 1, 3, 5, 2, 4, [ENTRY, [8, 3, 0, b""]]),
    "entries older than what precedes them": row(1, 1, 5, 5, 4, 4, [ENTRY]),
    "entries newer than their message": row(1, 1, 2, 5, 2, 4, [ENTRY]),
    "an entry of term 0": row(1, 1, 3, 5, 0, 4, [[6, 0, 0, b"x"]]),
    "an entry of unknown type": row(1, 1, 3, 5, 2, 4, [[6, 3, 3, b"x"]]),
    "an entry with three fields": row(1, 1, 3, 5, 2, 4, [[6, 3, 0]]),
    "an entry whose data is text": row(1, 1, 3, 5, 2, 4, [[6, 3, 0, "x"]]),
    "entries that are bytes": row(1, 1, 3, 5, 2, 4, b"x"),
    "a proposal without entries": row(10, 1, 0, []),
    "a proposal with an index": row(10, 1, 0, [[1, 0, 0, b"x"]]),
    "a snapshot at index 0": row(9, 1, 3, [0, *SNAPSHOT[1:]]),
    "a snapshot of term 0": row(9, 1, 3, [5, 0, *SNAPSHOT[2:]]),
    "a snapshot newer than its message": row(9, 1, 3, [5, 4, *SNAPSHOT[2:]]),
    "a snapshot without voters": row(9, 1, 3, [5, 2, [], *SNAPSHOT[3:]]),
    "voters that are not ascending": row(9, 1, 3, [5, 2, [2, 1], *SNAPSHOT[3:]]),
    "voters that repeat": row(9, 1, 3, [5, 2, [1, 1], *SNAPSHOT[3:]]),
    "too many voters": row(9, 1, 3, [5, 2, list(range(1, 1026)), *SNAPSHOT[3:]]),
    "a transfer to nobody": row(13, 1, 3, 0),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_no_node_sends_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_messages(data, SENDER)


def test_a_payload_above_its_limit_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = row(4, 1, 3, 5)
    monkeypatch.setattr(codec, "PAYLOAD_BYTES_MAX", len(data) - 1)
    monkeypatch.setattr(msgpack, "unpackb", None)
    with pytest.raises(MalformedMessage, match="bytes, at most"):
        decode_messages(data, SENDER)


def test_more_messages_or_entries_than_the_limits_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = msgpack.packb([[14, 1, 3]] * 5)
    assert len(decode_messages(data, SENDER)) == 5
    monkeypatch.setattr(codec, "MESSAGES_MAX", 4)
    with pytest.raises(MalformedMessage, match="at most 4 messages"):
        decode_messages(data, SENDER)
    monkeypatch.setattr(codec, "ENTRIES_MAX", 4)
    with pytest.raises(MalformedMessage, match="not msgpack"):
        decode_messages(data, SENDER)


def test_nested_headers_that_promise_gigabytes_are_malformed() -> None:
    with pytest.raises(MalformedMessage):
        decode_messages(b"\xdd\x00\x01\xff\xff" * 2000, SENDER)


def test_the_sender_of_a_transfer_is_the_node_that_shall_lead() -> None:
    data = encode_messages([m.TransferLeadership(sender=3, to=1, term=2)])
    assert decode_messages(data, sender=2)[0].sender == 3


def test_the_sender_of_everything_else_is_who_the_transport_verified() -> None:
    data = encode_messages([m.TimeoutNow(sender=3, to=1, term=2)])
    assert decode_messages(data, sender=2)[0].sender == 2


def test_the_data_of_an_entry_travels_untouched() -> None:
    data = bytes(range(256)) * 400
    entry = Entry(3, 6, EntryType.NORMAL, data)
    encoded = encode_messages([m.AppendEntries(to=2, term=3, prev_log_index=5, entries=(entry,))])
    assert data in encoded
    assert len(encoded) < len(data) + 40
