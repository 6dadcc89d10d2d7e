"""Watches for asyncio: `async for event in client.watch("jobs/", prefix=True): ...`.

Reading order 4 of aio. A watch begins when it is first used, or with `async with`.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator

from metastore.client.aio.bridge import Bridge, Waiting
from metastore.client.errors import Unavailable
from metastore.client.streams import Batch, Stream
from metastore.client.watch import FOREVER_S, Event, Reader, Revision


class Watch(Reader):
    """An asynchronous iterator over events that ends when the watch is closed, and a context that
    closes it. Errors, `revision` and `trouble` as with the threaded one. For one reading
    coroutine; cancelling it loses no event."""

    def __init__(self, bridge: Bridge, stream: Stream, timeout_s: float) -> None:
        """timeout_s: seconds until a node must have accepted the watch, or it is Unavailable."""
        super().__init__(stream)
        self._bridge = bridge
        self._timeout_s = timeout_s
        self._arrived: deque[Batch] = deque()
        self._news: Waiting | None = None
        self._is_open = self._is_closed = False

    async def get(self, timeout_s: float | None = None) -> Event | None:
        """The next event; None if none comes within `timeout_s` seconds, or the watch is closed."""
        await self._open()
        return await self._next_event_or_none(timeout_s)

    async def revisions(self) -> AsyncGenerator[Revision, None]:
        """The changes revision by revision, and the signs of progress if asked for."""
        await self._open()
        async for revision in self._next_revisions():
            yield revision

    async def ask_progress(self) -> None:
        """Asks for a sign of progress; it comes after all events that were under way, through
        `revisions` of a watch made with progress=True."""
        await self._open()
        self._bridge.ask_progress(self._stream)

    async def close(self) -> None:
        """Ends the watch; what was not read is lost. Closing twice is fine."""
        self._is_closed = True
        self._bridge.close_stream(self._stream)

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Event:
        event = await self.get()
        if event is None:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> "Watch":
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __del__(self) -> None:
        # `async for ... break` leaves nobody to close it.
        if self._is_open and not self._is_closed:
            self._bridge.drop_stream(self._stream)

    async def _open(self) -> None:
        if self._is_open or self._is_closed:
            return
        stream, is_ready = self._stream, False
        self._bridge.open_stream(stream)
        try:
            if not await self._bridge.wait(stream.is_ready, self._timeout_s):
                raise Unavailable(f"no node serves the watch; {stream.trouble}")
            if stream.error is not None and not stream.is_created:
                raise stream.error.with_traceback(None)
            is_ready = True
        finally:
            if not is_ready:
                await self.close()
        self.revision = max(0, stream.next_revision - 1)
        self._is_open = True
        self._listen()

    async def _next_batch_or_none(self, deadline: float) -> Batch | None:
        while not self._is_closed:
            if self._arrived:
                return self._arrived.popleft()
            news = self._listen()
            remaining_s = min(deadline - time.monotonic(), FOREVER_S)
            # Unlike wait_for, this leaves `news` alone at the time-out: the next one waits for it.
            await asyncio.wait([news], timeout=max(0.0, remaining_s))
            if not news.done():
                return None
            news.result()
            if not self._arrived and self._stream.error is not None:
                raise self._stream.error.with_traceback(None)
        return None

    def _listen(self) -> Waiting:
        """The first batch is fetched ahead, so that `get` without patience finds something."""
        if self._news is None or self._news.done():  # done: what it brought has been taken
            self._news = self._bridge.listen(self._stream, self._arrived)
        return self._news
