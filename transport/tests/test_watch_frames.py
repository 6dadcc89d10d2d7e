"""Frames of watches: what was encoded comes back, all else is Malformed."""

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.transport import watch_frames
from metastore.transport.envelope import REQUEST_ID_MAX, decode_client_frame, decode_node_frame
from metastore.transport.errors import Malformed
from metastore.transport.watch_frames import (
    ALL_FLAGS,
    INT_64_MAX,
    Cancel,
    Canceled,
    Credit,
    Events,
    ProgressRequest,
    Watch,
    Watched,
    WatchFlag,
    decode_event_list,
    encode_event_list,
)

IDS = st.integers(0, REQUEST_ID_MAX)
NUMBERS = st.integers(0, INT_64_MAX)
RECORDS = st.tuples(st.binary(), st.binary(), NUMBERS, NUMBERS, NUMBERS, st.integers(-5, 5))


def pack(*fields: Any) -> bytes:
    return bytes(msgpack.packb(fields))


@given(IDS, st.binary(), st.binary(), NUMBERS, st.integers(0, ALL_FLAGS), NUMBERS)
def test_what_a_client_asks_comes_back_as_it_was(
    request_id: int, key: bytes, range_end: bytes, start: int, flags: int, credit: int
) -> None:
    frame = watch_frames.encode_watch(request_id, key, range_end, start, flags, credit)
    assert decode_client_frame(frame) == Watch(request_id, key, range_end, start, flags, credit)
    assert msgpack.unpackb(frame) == [1, 3, request_id, key, range_end, start, flags, credit]
    frame = watch_frames.encode_credit(request_id, credit)
    assert decode_client_frame(frame) == Credit(request_id, credit)
    assert decode_client_frame(watch_frames.encode_cancel(request_id)) == Cancel(request_id)
    frame = watch_frames.encode_progress_request(request_id)
    assert decode_client_frame(frame) == ProgressRequest(request_id)


@given(IDS, NUMBERS, st.lists(st.tuples(RECORDS, st.none() | RECORDS)), st.booleans())
def test_what_a_node_sends_comes_back_as_it_was(
    request_id: int, revision: int, events: list[Any], is_fragment: bool
) -> None:
    data = encode_event_list(events)
    frame = watch_frames.encode_events(request_id, revision, data, is_fragment)
    assert decode_node_frame(frame) == Events(request_id, revision, data, is_fragment)
    assert msgpack.unpackb(frame) == [1, 4, request_id, revision, data, is_fragment]
    assert list(decode_event_list(data)) == events
    frame = watch_frames.encode_watched(request_id, revision)
    assert decode_node_frame(frame) == Watched(request_id, revision)
    frame = watch_frames.encode_canceled(request_id, revision, "a reason")
    assert decode_node_frame(frame) == Canceled(request_id, revision, "a reason")


def test_a_sign_of_progress_has_no_events() -> None:
    frame = decode_node_frame(watch_frames.encode_events(3, 8))
    assert frame == Events(3, 8, b"", False)
    assert decode_event_list(b"") == ()


def test_the_flags_are_those_of_the_wire() -> None:
    assert [int(flag) for flag in WatchFlag] == [1, 2, 4, 8, 16]
    assert sum(WatchFlag) == ALL_FLAGS


@pytest.mark.parametrize(
    "frame",
    [
        pack(1, 3, 1, "key", b"", 0, 0, 0),
        pack(1, 3, 1, b"key", None, 0, 0, 0),
        pack(1, 3, 1, b"key", b"", -1, 0, 0),
        pack(1, 3, 1, b"key", b"", 1 << 63, 0, 0),
        pack(1, 3, 1, b"key", b"", True, 0, 0),
        pack(1, 3, 1, b"key", b"", 0, -1, 0),
        pack(1, 3, 1, b"key", b"", 0, ALL_FLAGS + 1, 0),
        pack(1, 3, 1, b"key", b"", 0, 0, -1),
        pack(1, 3, 1, b"key", b"", 0, 0, 1 << 63),
        pack(1, 3, 1, b"key", b"", 0, 0),
        pack(1, 3, 1, b"key", b"", 0, 0, 0, 0),
        pack(1, 3, -1, b"key", b"", 0, 0, 0),
        pack(1, 4, 1),
        pack(1, 4, 1, -1),
        pack(1, 4, 1, 1.0),
        pack(1, 4, 1, 1 << 63),
        pack(1, 5, 1, 1),
        pack(1, 6, 1, 1),
        pack(1, 10, 1),
    ],
)
def test_everything_else_from_a_client_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        decode_client_frame(frame)


@pytest.mark.parametrize(
    "frame",
    [
        pack(1, 3, 1),
        pack(1, 3, 1, -1),
        pack(1, 3, 1, b"1"),
        pack(1, 4, 1, 1, b""),
        pack(1, 4, 1, 1, "", False),
        pack(1, 4, 1, 1, b"", 0),
        pack(1, 4, 1, -1, b"", False),
        pack(1, 5, 1, 0),
        pack(1, 5, 1, -1, ""),
        pack(1, 5, 1, 0, b""),
        pack(1, 6, 1),
    ],
)
def test_everything_else_from_a_node_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        decode_node_frame(frame)


GOOD = (b"k", b"v", 1, 1, 1, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000,
        pack() + b"more",
        msgpack.packb({1: 2}),
        pack(GOOD),
        pack((GOOD,)),
        pack((GOOD, GOOD, GOOD)),
        pack((None, None)),
        pack((GOOD[:5], None)),
        pack(((*GOOD[:5], True), None)),
        pack((("k", *GOOD[1:]), None)),
        pack((GOOD, b"")),
        pack((GOOD, (*GOOD, 0))),
    ],
)
def test_a_list_that_holds_no_events_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_event_list(data)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        decode_event_list(data)


@given(st.integers(3, 6), IDS, st.lists(st.integers() | st.binary() | st.booleans() | st.text()))
def test_random_fields_raise_nothing_but_malformed(
    kind: int, request_id: int, fields: list[Any]
) -> None:
    try:
        frame = pack(1, kind, request_id, *fields)
    except OverflowError:  # msgpack has no such numbers
        return
    for decode in (decode_client_frame, decode_node_frame):
        try:
            decode(frame)
        except Malformed:
            continue
