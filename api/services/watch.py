"""etcd's Watch service: one stream carries many watches.

Read after watch_stream.py, which does the work. Here requests are taken from the stream, callers
are asked whether they may, and whatever ends the stream ends all of it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from metastore.api.calls import ApiError, Caller
from metastore.api.link import NodeLink
from metastore.api.services.watch_messages import as_reason
from metastore.api.services.watch_stream import WatchStream
from metastore.api.services.watcher import Shared
from metastore.transport.auth_ops import Need
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import range_

REQUESTS_MAX = 64  # of one stream, whose callers are being checked at the same time
_NOTHING = range_(b"\0")  # a read that finds next to nothing, but tells the revision


class Watch:
    """For one event loop. `shared`: what the streams share, with the numbers that tests change."""

    def __init__(self, link: NodeLink, *, shared: Shared | None = None) -> None:
        self._link = link
        self._shared = shared or Shared()
        self._streams: set[WatchStream] = set()

    @property
    def streams_count(self) -> int:
        return len(self._streams)

    @property
    def watches_count(self) -> int:
        """Of all streams; for metrics."""
        return sum(stream.watches_count for stream in self._streams)

    async def watch(self, requests: AsyncIterator[Any], caller: Caller) -> AsyncIterator[Any]:
        """WatchRequests in, WatchResponses out, until the caller ends it: the end of the requests
        does not, as in etcd. Raises ApiError. Streams that require a leader are ended by the server
        that runs them."""
        stream = WatchStream(self._link, self._shared)
        requested: asyncio.Queue[_Request] = asyncio.Queue(REQUESTS_MAX)
        begin = asyncio.get_running_loop().create_task
        tasks = [
            begin(self._take_in(requests, caller, requested, stream)),
            begin(self._carry_out(requested, stream)),
        ]
        self._streams.add(stream)
        try:
            async for response in stream.responses():
                yield response
        finally:
            self._streams.discard(stream)
            stream.close()
            for task in tasks:
                task.cancel()
            while not requested.empty():
                requested.get_nowait().cancel()

    async def _take_in(
        self,
        requests: AsyncIterator[Any],
        caller: Caller,
        requested: "asyncio.Queue[_Request]",
        stream: WatchStream,
    ) -> None:
        try:
            async for message in requests:
                request = _Request(message)
                if request.kind == "create_request" and self._link.access is not None:
                    request.check(self._link, caller)
                try:
                    await requested.put(request)
                except asyncio.CancelledError:
                    request.cancel()
                    raise
        except Exception as error:  # whatever it is, the stream raises it
            stream.fail(error)

    async def _carry_out(self, requested: "asyncio.Queue[_Request]", stream: WatchStream) -> None:
        """In the order in which they came."""
        try:
            while True:
                request = await requested.get()
                await stream.has_room()
                if request.kind == "create_request":
                    stream.create(request.body, await request.denial())
                elif request.kind == "cancel_request":
                    stream.cancel(request.body.watch_id)
                elif request.kind == "progress_request":
                    await self._look_at_revision()
                    stream.ask_progress()
                # Anything else is passed over, as in etcd.
        except Exception as error:
            stream.fail(error)

    async def _look_at_revision(self) -> None:
        """What is promised shall be as new as the own node is, whoever wrote it."""
        with suppress(ApiError):
            await self._link.ask_as_gateway(_NOTHING, level=ReadLevel.LOCAL)


class _Request:
    """One WatchRequest on its way through the stream."""

    def __init__(self, message: Any) -> None:
        self.kind: str | None = message.WhichOneof("request_union")
        self.body: Any = getattr(message, self.kind) if self.kind else None
        self._check: asyncio.Future[None] | None = None

    def check(self, link: NodeLink, caller: Caller) -> None:
        """Begins to ask whether the caller may."""
        body = self.body
        key = body.key or b"\0"
        self._check = asyncio.ensure_future(link.check(caller, Need.READ, key, body.range_end))

    async def denial(self) -> str:
        """Why the caller may not; "" if it may."""
        if self._check is not None:
            try:
                await self._check
            except ApiError as error:
                return as_reason(error)
        return ""

    def cancel(self) -> None:
        if self._check is not None:
            self._check.cancel()
