"""The frames of watches: what a client asks, and the events that a node sends unasked.

Reading order 9, beside envelope.py, which finds the kind and calls here. Decoding is strict and
raises Malformed, never anything else, whatever the bytes.

    WATCH    client [v, 3, id, key, range_end, start_revision, flags, credit]
    CREDIT   client [v, 4, id, count]        allows `count` more EVENTS frames with events
    CANCEL   client [v, 5, id]
    PROGRESS client [v, 6, id]               wants an EVENTS without events, once all earlier
                                             events of the watch are out
    WATCHED  node   [v, 3, id, revision]     before any event
    EVENTS   node   [v, 4, id, revision, events, is_fragment]
    CANCELED node   [v, 5, id, compact_revision, reason]

The id is the request id of the WATCH; it names the watch from then on, on its connection. `events`
is an encoded list of [kv, prev | nil]; without any it is a sign of progress, which costs no credit.
Everything up to and including `revision` has been sent by then. A fragment is followed by the rest
of its revision.
"""

import struct
from collections.abc import Sequence
from enum import IntFlag
from typing import Any, NamedTuple, TypeAlias

import msgpack

from metastore.transport.errors import Malformed
from metastore.transport.framing import PROTOCOL_VERSION, Kind, check_shape, pack

INT_64_MAX = (1 << 63) - 1

KeyValue: TypeAlias = tuple[bytes, bytes, int, int, int, int]
WatchEvent: TypeAlias = tuple[KeyValue, KeyValue | None]
"""A version (schema's kv; version 0: the key was deleted) and the one before it, if asked for."""


class WatchFlag(IntFlag):
    PREV_KV = 1
    NO_PUT = 2
    NO_DELETE = 4
    PROGRESS = 8  # the client shows signs of progress to its user
    FRAGMENT = 16  # a revision too large for one frame may come in several


ALL_FLAGS = int(WatchFlag.PREV_KV | WatchFlag.NO_PUT | WatchFlag.NO_DELETE) | int(
    WatchFlag.PROGRESS | WatchFlag.FRAGMENT
)


class Watch(NamedTuple):
    request_id: int
    key: bytes
    range_end: bytes  # as in a RANGE
    start_revision: int  # 0: after now
    flags: int  # WatchFlag, or'ed
    credit: int


class Credit(NamedTuple):
    request_id: int
    credit: int  # so many more


class Cancel(NamedTuple):
    request_id: int


class ProgressRequest(NamedTuple):
    request_id: int


class Watched(NamedTuple):
    request_id: int
    revision: int


class Events(NamedTuple):
    request_id: int
    revision: int
    events: bytes  # encode_event_list, not decoded here; b"": none
    is_fragment: bool


class Canceled(NamedTuple):
    request_id: int
    compact_revision: int  # 0: not because of a compaction
    reason: str


ClientWatchFrame: TypeAlias = Watch | Credit | Cancel | ProgressRequest
NodeWatchFrame: TypeAlias = Watched | Events | Canceled

# Packed by hand, as the msgpack that it is: the event list is shared among many watches, and only
# the head differs.
_EVENTS_HEAD = struct.Struct(">BBBBQBQBI")
_ARRAY_6, _UINT_64, _BIN_32 = 0x96, 0xCF, 0xC6
_FALSE, _TRUE = b"\xc2", b"\xc3"


def encode_watch(
    request_id: int,
    key: bytes,
    range_end: bytes = b"",
    start_revision: int = 0,
    flags: int = 0,
    credit: int = 0,
) -> bytes:
    fields = (request_id, key, range_end, start_revision, int(flags), credit)
    return pack((PROTOCOL_VERSION, Kind.WATCH, *fields))


def encode_credit(request_id: int, count: int) -> bytes:
    return pack((PROTOCOL_VERSION, Kind.CREDIT, request_id, count))


def encode_cancel(request_id: int) -> bytes:
    return pack((PROTOCOL_VERSION, Kind.CANCEL, request_id))


def encode_progress_request(request_id: int) -> bytes:
    return pack((PROTOCOL_VERSION, Kind.PROGRESS, request_id))


def encode_watched(request_id: int, revision: int) -> bytes:
    return pack((PROTOCOL_VERSION, Kind.WATCH, request_id, revision))


def encode_events(
    request_id: int, revision: int, events: bytes = b"", is_fragment: bool = False
) -> bytes:
    head = _EVENTS_HEAD.pack(
        _ARRAY_6,
        PROTOCOL_VERSION,
        Kind.CREDIT,
        _UINT_64,
        request_id,
        _UINT_64,
        revision,
        _BIN_32,
        len(events),
    )
    return b"".join((head, events, _TRUE if is_fragment else _FALSE))


def encode_canceled(request_id: int, compact_revision: int = 0, reason: str = "") -> bytes:
    return pack((PROTOCOL_VERSION, Kind.CANCEL, request_id, compact_revision, reason))


def encode_event_list(events: Sequence[WatchEvent]) -> bytes:
    return pack(events)


def decode_event_list(data: bytes) -> Sequence[WatchEvent]:
    """What EVENTS carries; b"" is none. Raises Malformed."""
    if not data:
        return ()
    try:
        events = msgpack.unpackb(data, use_list=False)
    except Exception as error:  # the decoder's own errors have no common base
        raise Malformed(f"events: not msgpack: {type(error).__name__}") from None
    if type(events) is not tuple:
        raise Malformed("events are an array")
    for event in events:
        if type(event) is not tuple or len(event) != 2:
            raise Malformed("an event is [kv, prev]")
        _check_record(event[0])
        if event[1] is not None:
            _check_record(event[1])
    return events


_RECORD = (bytes, bytes, int, int, int, int)


def _check_record(record: Any) -> None:
    if type(record) is not tuple or tuple(map(type, record)) != _RECORD:
        raise Malformed("a kv is [key, value, create, mod, version, lease]")


def decode_client_watch_frame(fields: tuple[Any, ...]) -> ClientWatchFrame | None:
    """From framing.decode_array; None for a kind that is not of watches. Raises Malformed."""
    kind, request_id = fields[1], fields[2]
    if kind == Kind.CREDIT:
        check_shape(fields, (int,))
        _check_number(fields[3], request_id)
        return Credit(request_id, fields[3])
    if kind == Kind.WATCH:
        check_shape(fields, (bytes, bytes, int, int, int))
        for number in fields[5:]:
            _check_number(number, request_id)
        if fields[6] > ALL_FLAGS:
            raise Malformed(f"unknown flags {fields[6]}", request_id)
        return Watch(*fields[2:])
    if kind == Kind.CANCEL:
        check_shape(fields, ())
        return Cancel(request_id)
    if kind == Kind.PROGRESS:
        check_shape(fields, ())
        return ProgressRequest(request_id)
    return None


def decode_node_watch_frame(fields: tuple[Any, ...]) -> NodeWatchFrame | None:
    """From framing.decode_array; None for a kind that is not of watches. Raises Malformed."""
    kind, request_id = fields[1], fields[2]
    if kind == Kind.CREDIT:
        check_shape(fields, (int, bytes, bool))
        _check_number(fields[3], request_id)
        return Events(*fields[2:])
    if kind == Kind.WATCH:
        check_shape(fields, (int,))
        _check_number(fields[3], request_id)
        return Watched(request_id, fields[3])
    if kind == Kind.CANCEL:
        check_shape(fields, (int, str))
        _check_number(fields[3], request_id)
        return Canceled(*fields[2:])
    return None


def _check_number(number: int, request_id: int) -> None:
    if not 0 <= number <= INT_64_MAX:
        raise Malformed(f"{number} is negative or does not fit 64 bits", request_id)
