"""One watch of a client: where it stands, and what it has to tell next.

Read after watch_messages.py. A watcher is little more than the revision that it needs next: it can
let go of its watch on the node at any time, with all that waits there, and go on later. Who asks it
when is decided in watch_stream.py; it never sends.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from metastore.api.calls import ApiError
from metastore.api.followed_watch import FollowedWatch
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.services import watch_messages
from metastore.api.services.watch_messages import FRAGMENT_BYTES_MAX, EventEncoder
from metastore.client.streams import Batch
from metastore.transport.watch_frames import WatchEvent, WatchFlag

OPENING_S_MAX = 7.0  # for a node to accept a watch
NOTICE_S = 600.0  # of silence, until a watch that wants it is told of its progress
HELD_BYTES_MAX = 64 << 20  # for the readers of all streams; above it, slow ones let go
FILTERS = {0: WatchFlag.NO_PUT, 1: WatchFlag.NO_DELETE}  # WatchCreateRequest.FilterType


class Held:
    """What watchers hold for their reader, in bytes: of one stream, and in `all_streams`."""

    def __init__(self, all_streams: "Held | None" = None) -> None:
        self.bytes = 0
        self._all_streams = all_streams

    def add(self, count: int) -> None:
        self.bytes += count
        if self._all_streams is not None:
            self._all_streams.add(count)


@dataclass(slots=True)
class Shared:
    """What all streams of a gateway share."""

    held: Held = field(default_factory=Held)
    held_bytes_max: int = HELD_BYTES_MAX
    encoder: EventEncoder = field(default_factory=EventEncoder)
    notice_s: float = NOTICE_S
    opening_s_max: float = OPENING_S_MAX
    fragment_bytes_max: int = FRAGMENT_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asked for, with etcd's special cases resolved."""

    key: bytes
    range_end: bytes
    start_revision: int  # 0: after now
    flags: int
    in_fragments: bool
    wants_notices: bool

    @classmethod
    def from_request(cls, request: Any) -> "Wanted":
        """Of a WatchCreateRequest. No key is the smallest key, as in etcd; a negative revision is
        the first."""
        flags = int(WatchFlag.PREV_KV) if request.prev_kv else 0
        for kind in request.filters:
            flags |= FILTERS.get(kind, 0)
        start = request.start_revision if request.start_revision >= 0 else 1
        return cls(
            request.key or b"\0",
            request.range_end,
            start,
            flags,
            request.fragment,
            request.progress_notify,
        )

    @property
    def is_empty(self) -> bool:
        return self.range_end not in (b"", b"\0") and self.key >= self.range_end


class Watcher:
    """`on_news(watcher)`: there is something to look at. known_revision: events up to it are not
    news to a client that wants what comes after now, whatever the node says that serves it."""

    def __init__(
        self,
        link: NodeLink,
        watch_id: int,
        wanted: Wanted,
        held: Held,
        on_news: Callable[["Watcher"], None],
    ) -> None:
        self.watch_id = watch_id
        self.wanted = wanted
        self.next_revision = wanted.start_revision  # 0: not known yet
        self.created_revision = 0  # 0: no node has accepted it yet
        self.is_announced = False  # its client knows that it was created
        self.has_ended = False
        self.refusal = ""  # why it was never created
        self.asked_at = asyncio.get_running_loop().time()
        self.is_quiet = True  # no events since the last look
        self.is_notice_due = False  # the next sign of progress is for the client
        self._link = link
        self._known_revision = link.revision
        self._held = held
        self._sizes: deque[int] = deque()  # of what waits, in bytes
        self._kept: Batch | None = None  # of a watch on the node that was let go; comes first
        self._tell = on_news
        self.node_watch: FollowedWatch | None = None
        self.open()

    def open(self) -> None:
        """From where it stands. Raises ApiError."""
        wanted = self.wanted
        self.node_watch = self._link.follow_watch(
            wanted.key, wanted.range_end, self.next_revision, wanted.flags, self._on_news
        )

    @property
    def held_bytes(self) -> int:
        return sum(self._sizes)

    @property
    def has_news(self) -> bool:
        watch = self.node_watch
        has_more = watch is not None and (bool(watch.waiting) or watch.error is not None)
        return has_more or self._kept is not None

    @property
    def is_settled(self) -> bool:
        """Its client can be told whether it was created."""
        return bool(self.created_revision or self.refusal or self.has_ended or self.error)

    @property
    def is_sign_next(self) -> bool:
        """What waits first is a sign of progress."""
        watch = self.node_watch
        return watch is not None and bool(watch.waiting) and not watch.waiting[0].events

    @property
    def error(self) -> ApiError | None:
        return None if self.node_watch is None else self.node_watch.error

    def let_go(self, *, keeps_first: bool = False) -> FollowedWatch | None:
        """What it holds is dropped, but for the first batch if that is to be kept: it must be taken
        before the watch is opened again. The watch on the node is for the caller to close."""
        watch, self.node_watch = self.node_watch, None
        keeps_first = keeps_first and watch is not None and bool(watch.waiting)
        self._kept = watch.take() if keeps_first and watch is not None else None
        kept_bytes = self._sizes[0] if keeps_first else 0
        self._held.add(kept_bytes - self.held_bytes)
        self._sizes = deque([kept_bytes] if keeps_first else ())
        return watch

    def take(self, encoder: EventEncoder, fragment_bytes_max: int) -> Sequence[Any]:
        """The responses of the next batch; there may be none."""
        batch = self._next_batch_or_none()
        if batch is None:
            return ()
        self._held.add(-self._sizes.popleft())
        revision = max(batch.revision, self.created_revision)
        self.next_revision = max(self.next_revision, batch.revision + 1)
        events = self._news_of(batch.events)
        if events:
            self.is_quiet = False
            pieces = self._pieces(events, encoder, fragment_bytes_max)
            return [self._response(revision, *piece) for piece in pieces]
        if self.is_notice_due and not batch.events:
            self.is_notice_due = False
            return [self._response(batch.revision)]
        return ()

    def _next_batch_or_none(self) -> Batch | None:
        kept, self._kept = self._kept, None
        watch = self.node_watch
        if kept is None and watch is not None and watch.waiting:
            return watch.take()
        return kept

    def _news_of(self, events: Sequence[WatchEvent]) -> Sequence[WatchEvent]:
        # A node that lags behind tells a watch from now on of what its client knows already.
        known = self.created_revision
        if self.wanted.start_revision or not events or events[0][0][3] > known:
            return events
        return [(kv, previous) for kv, previous in events if kv[3] > known]

    def _pieces(
        self, events: Sequence[WatchEvent], encoder: EventEncoder, fragment_bytes_max: int
    ) -> Sequence[tuple[bytes, bool]]:
        encoded = encoder.encode(events)
        if self.wanted.in_fragments and watch_messages.is_too_large(encoded, fragment_bytes_max):
            return list(watch_messages.split(events, fragment_bytes_max))
        return [(encoded, False)]

    def _response(self, revision: int, encoded: bytes = b"", is_fragment: bool = False) -> Any:
        response = rpc.WatchResponse(watch_id=self.watch_id, fragment=is_fragment)
        if encoded:
            response.MergeFromString(encoded)
        self._link.fill_header(response.header, revision)
        return response

    def _on_news(self) -> None:
        watch = self.node_watch
        if watch is None:
            return  # called while it is being opened
        if watch.is_accepted and not self.created_revision:
            self.created_revision = max(watch.accepted_revision, self._known_revision)
            self.next_revision = self.next_revision or self.created_revision + 1
        for batch in islice(watch.waiting, len(self._sizes), None):
            size = watch_messages.events_bytes(batch.events)
            self._sizes.append(size)
            self._held.add(size)
        self._tell(self)
