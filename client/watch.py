"""Watches: every change of a key or a range, once and in order, from whichever node is there.

Reading order 15 of the client. A watch goes on by itself on another node when its node fails; the
reader notices nothing but the pause. There is no thread behind it: what arrives is taken in while
some thread waits on the client, and no more is sent than was read.
"""

import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from metastore.client.driver import Driver
from metastore.client.errors import InvalidRequest, Unavailable
from metastore.client.keys import prefix_range, to_bytes
from metastore.client.results import KeyValue
from metastore.client.running import run, run_each
from metastore.client.streams import Batch, Stream
from metastore.transport.watch_frames import WatchEvent, WatchFlag

FILTERS = {"put": WatchFlag.NO_PUT, "delete": WatchFlag.NO_DELETE}
FOREVER_S = 1e6  # as long as a condition variable can wait, and longer than anybody will


@dataclass(frozen=True, slots=True)
class Event:
    """A key was put or deleted. After a deletion `item` has the key and the revision only
    (version 0). `previous` is what was there before, if asked for and not compacted away."""

    kind: Literal["put", "delete"]
    item: KeyValue
    previous: KeyValue | None


@dataclass(frozen=True, slots=True)
class Revision:
    """All changes of one revision that the watch is about. Without events it is a sign of progress:
    everything up to `revision` has been seen."""

    revision: int
    events: tuple[Event, ...]


class Reader(ABC):
    """What the watches of threads and of asyncio share: from batches to events and revisions."""

    def __init__(self, stream: Stream) -> None:
        self.revision = max(0, stream.next_revision - 1)  # everything up to it has been read
        self._stream = stream
        self._unread: deque[Event] = deque()
        self._batch_revision = 0  # of the batch that `_unread` is from

    @property
    def trouble(self) -> str:
        return "" if self._stream.is_answered else self._stream.trouble

    @abstractmethod
    async def _next_batch_or_none(self, deadline: float) -> Batch | None:
        """None at the deadline (of time.monotonic()), or when the watch is closed."""

    async def _next_event_or_none(self, timeout_s: float | None) -> Event | None:
        deadline = time.monotonic() + (FOREVER_S if timeout_s is None else timeout_s)
        while not self._unread:
            batch = await self._next_batch_or_none(deadline)
            if batch is None:
                return None
            self._take_in(batch)
        event = self._unread.popleft()
        self.revision = event.item.mod_revision - 1 if self._unread else self._batch_revision
        return event

    async def _next_revisions(self) -> AsyncGenerator[Revision, None]:
        while True:
            for revision, events in groupby(self._drain(), lambda e: e.item.mod_revision):
                self.revision = revision
                yield Revision(revision, tuple(events))
            if self._batch_revision > self.revision:
                self.revision = self._batch_revision
            batch = await self._next_batch_or_none(math.inf)
            if batch is None:
                return
            self._take_in(batch)
            if not batch.events:
                yield Revision(batch.revision, ())

    def _drain(self) -> Iterator[Event]:
        while self._unread:
            yield self._unread.popleft()

    def _take_in(self, batch: Batch) -> None:
        self._unread.extend(map(_to_event, batch.events))
        self._batch_revision = batch.revision
        if not batch.events:
            self.revision = batch.revision


class Watch(Reader):
    """An iterator over events that ends when the watch is closed, and a context that closes it.

    Raises Compacted when what comes next is gone before it was read; InvalidRequest, Unavailable
    (the client was closed). `trouble` says why no node serves the watch at the moment, "" if one
    does. For one reading thread; any thread may close it.
    """

    def __init__(self, driver: Driver, stream: Stream) -> None:
        super().__init__(stream)
        self._driver = driver

    def get(self, timeout_s: float | None = None) -> Event | None:
        """The next event; None if none comes within `timeout_s` seconds, or the watch is closed."""
        return run(self._next_event_or_none(timeout_s))

    def revisions(self) -> Iterator[Revision]:
        """The changes revision by revision, and the signs of progress if asked for."""
        return run_each(self._next_revisions())

    def ask_progress(self) -> None:
        """Asks for a sign of progress; it comes after all events that were under way, through
        `revisions` of a watch made with progress=True."""
        self._driver.ask_progress(self._stream)

    def close(self) -> None:
        """Ends the watch; what was not read is lost. Closing twice is fine."""
        self._driver.close_stream(self._stream)

    def __iter__(self) -> "Watch":
        return self

    def __next__(self) -> Event:
        event = self.get()
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _next_batch_or_none(self, deadline: float) -> Batch | None:
        stream = self._stream
        limit = min(deadline, time.monotonic() + FOREVER_S)
        while not stream.is_closed:
            batch = self._driver.take_batch(stream)
            if batch is not None:
                return batch
            if stream.error is not None:
                raise stream.error.with_traceback(None)
            if not self._driver.wait(stream.has_news, limit):
                return None
        return None


def open_watch(driver: Driver, stream: Stream, timeout_s: float) -> Watch:
    """Returns once a node has accepted the watch. Raises Unavailable if none does in time."""
    driver.open_stream(stream)
    is_open = False
    try:
        if not driver.wait(stream.is_ready, time.monotonic() + timeout_s):
            raise Unavailable(f"no node serves the watch; {stream.trouble}")
        if stream.error is not None and not stream.is_created:
            raise stream.error.with_traceback(None)
        is_open = True
    finally:
        if not is_open:
            driver.close_stream(stream)
    return Watch(driver, stream)


def make_stream(
    key: str | bytes,
    range_end: str | bytes,
    *,
    prefix: bool,
    start_revision: int,
    prev_kv: bool,
    filters: str | Sequence[str],
    progress: bool,
) -> Stream:
    """Raises InvalidRequest for what no node would accept."""
    start, end = to_bytes(key, "key"), to_bytes(range_end, "range end")
    if prefix and end:
        raise InvalidRequest("a prefix and a range end exclude each other; give one")
    if prefix:
        start, end = prefix_range(start)
    if not start or start_revision < 0:
        raise InvalidRequest("a watch needs a key, and a start revision that is not negative")
    if end and end != b"\0" and end <= start:
        raise InvalidRequest("the range to be watched is empty: it ends before it begins")
    flags = prev_kv * WatchFlag.PREV_KV | progress * WatchFlag.PROGRESS
    for name in [filters] if isinstance(filters, str) else filters:
        if name not in FILTERS:
            raise InvalidRequest(f"the filter {name!r} is none of {', '.join(FILTERS)}")
        flags |= FILTERS[name]
    return Stream(start, end, start_revision, flags)


def _to_event(event: WatchEvent) -> Event:
    item = KeyValue(*event[0])
    previous = None if event[1] is None else KeyValue(*event[1])
    return Event("put" if item.version else "delete", item, previous)
