"""From what a node says of changes to etcd's WatchResponse.

Read before watcher.py. Knows nothing of streams. Many watches of one range get the same events one
after the other: those are encoded once.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from metastore.api.calls import ApiError
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import mvcc, rpc
from metastore.transport.watch_frames import WatchEvent

INVALID_WATCH_ID = -1  # of what is about no watch: a refusal, progress of the whole stream
FRAGMENT_BYTES_MAX = 1536 * 1024  # of a response, if the watch asked for fragments
_EVENT_HEAD_BYTES = 6  # tag and length of one event, at most
_RESPONSE_HEAD_BYTES = 128  # all but the events, at most

EMPTY_RANGE = "mvcc: watcher range is empty"
DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"


def as_reason(error: ApiError) -> str:
    """An error as etcd puts it into a cancel_reason: as Go prints one of gRPC's."""
    code = "".join(word.capitalize() for word in error.code.name.split("_"))
    return f"rpc error: code = {code} desc = {error.message}"


def refusal(link: NodeLink, reason: str) -> Any:
    """The answer to a WatchCreateRequest that nothing comes of."""
    return rpc.WatchResponse(
        header=link.header(link.revision),
        watch_id=INVALID_WATCH_ID,
        created=True,
        canceled=True,
        cancel_reason=reason,
    )


def key_value(kv: Sequence[Any]) -> Any:
    key, value, create_revision, mod_revision, version, lease = kv
    return mvcc.KeyValue(
        key=key,
        value=value,
        create_revision=create_revision,
        mod_revision=mod_revision,
        version=version,
        lease=lease,
    )


def event_message(event: WatchEvent) -> Any:
    """etcd's mvccpb.Event. What is left of a deleted key is its name and when it was deleted."""
    kv, previous = event
    before = None if previous is None else key_value(previous)
    if kv[4]:
        return mvcc.Event(kv=key_value(kv), prev_kv=before)
    gone = mvcc.KeyValue(key=kv[0], mod_revision=kv[3])
    return mvcc.Event(type=mvcc.Event.DELETE, kv=gone, prev_kv=before)


class EventEncoder:
    """Keeps the last events that it encoded, for the next one that wants the same."""

    def __init__(self) -> None:
        self._events: Sequence[WatchEvent] = ()
        self._encoded = b""

    def encode(self, events: Sequence[WatchEvent]) -> bytes:
        """A WatchResponse with these events alone, to be merged into another."""
        if events is not self._events:
            self._events = events
            self._encoded = _encode(events)
        return self._encoded


def _encode(events: Sequence[WatchEvent]) -> bytes:
    encoded: bytes = rpc.WatchResponse(events=map(event_message, events)).SerializeToString()
    return encoded


def split(events: Sequence[WatchEvent], bytes_max: int) -> Iterator[tuple[bytes, bool]]:
    """The same in fragments, each with whether more of them follow. An event too large for any
    stands alone."""
    filling: list[Any] = []
    size = _RESPONSE_HEAD_BYTES
    for event in map(event_message, events):
        event_bytes = event.ByteSize() + _EVENT_HEAD_BYTES
        if filling and size + event_bytes > bytes_max:
            yield rpc.WatchResponse(events=filling).SerializeToString(), True
            filling, size = [], _RESPONSE_HEAD_BYTES
        filling.append(event)
        size += event_bytes
    yield rpc.WatchResponse(events=filling).SerializeToString(), False


def is_too_large(encoded: bytes, bytes_max: int) -> bool:
    return len(encoded) + _RESPONSE_HEAD_BYTES > bytes_max


def events_bytes(events: Sequence[WatchEvent]) -> int:
    """About what events take in memory."""
    return sum(
        _OBJECTS_BYTES + len(kv[0]) + len(kv[1]) + (len(before[1]) if before is not None else 0)
        for kv, before in events
    )


_OBJECTS_BYTES = 400  # of an event: its tuples, numbers and the heads of its strings
