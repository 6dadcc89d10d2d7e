"""A link whose watches say what the test tells them to, and a reader that reads when it is told to.

`Reader` drives one stream of the Watch service by hand: nothing is taken from it unless `next` is
called, so that a slow reader is simply a test that does not call it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any

from metastore.api.calls import ApiError, Caller
from metastore.api.protocol.messages import rpc
from metastore.api.services.watch import Watch
from metastore.api.services.watch_stream import WatchStream
from metastore.api.services.watcher import Shared
from metastore.client.streams import Batch

PLAY_S = 20.0
TURNS = 50  # of the loop, after which everything that can happen without more news has happened


class LinkedWatch:
    """As FollowedWatch."""

    def __init__(
        self, key: bytes, range_end: bytes, start: int, flags: int, on_news: Callable[[], None]
    ) -> None:
        self.key, self.range_end, self.start, self.flags = key, range_end, start, flags
        self.waiting: deque[Batch] = deque()
        self.is_accepted = self.is_closed = False
        self.accepted_revision = 0
        self._on_news = on_news
        self._error: ApiError | None = None

    @property
    def error(self) -> ApiError | None:
        return None if self.waiting else self._error

    def take(self) -> Batch:
        return self.waiting.popleft()

    # What the node does

    def accept(self, revision: int = 10) -> None:
        self.is_accepted, self.accepted_revision = True, revision
        self._tell()

    def put(self, *revisions: int, value: bytes = b"v") -> None:
        """One batch, an event for each."""
        events = [((self.key, value, r, r, 1, 0), None) for r in revisions]
        self.tell(revisions[-1], *events)

    def tell(self, revision: int, *events: Any) -> None:
        """Without events: a sign of progress."""
        self.waiting.append(Batch(revision, events))
        self._tell()

    def fail(self, error: ApiError) -> None:
        self._error = error
        self._tell()

    def _tell(self) -> None:
        if not self.is_closed:
            self._on_news()


class WatchLink:
    """As NodeLink, as far as streams of watches use it."""

    def __init__(self) -> None:
        self.revision = 10
        self.newest = 10  # that the node would tell, if asked
        self.access: object | None = None  # anything: callers are checked
        self.denials: dict[bytes, ApiError] = {}  # by key
        self.check_gate: asyncio.Event | None = None
        self.watches: list[LinkedWatch] = []  # all that were ever opened
        self.closings: list[int] = []  # how many watches each call closed
        self.signs_asked: list[list[LinkedWatch]] = []
        self.checks_count = 0
        self.follow_error: ApiError | None = None

    def header(self, revision: int = 0) -> Any:
        return rpc.ResponseHeader(member_id=7, revision=revision)

    def fill_header(self, header: Any, revision: int) -> None:
        header.CopyFrom(self.header(revision))

    def follow_watch(self, *arguments: Any) -> LinkedWatch:
        if self.follow_error is not None:
            raise self.follow_error
        self.watches.append(LinkedWatch(*arguments))
        return self.watches[-1]

    def ask_progress(self, watches: Iterable[LinkedWatch]) -> None:
        self.signs_asked.append(list(watches))

    def close_watches(self, watches: Iterable[LinkedWatch]) -> None:
        closed = list(watches)
        for watch in closed:
            watch.is_closed = True
        self.closings.append(len(closed))

    async def check(self, _caller: Caller, _need: int, key: bytes, _range_end: bytes) -> None:
        self.checks_count += 1
        if self.check_gate is not None:
            await self.check_gate.wait()
        if key in self.denials:
            raise self.denials[key]

    async def ask_as_gateway(self, _operation: Any, *, level: Any) -> Sequence[Any]:
        self.revision = max(self.revision, self.newest)
        return (0, self.revision)


class Reader:
    """One stream. `link` is where its watches can be found."""

    def __init__(self, link: WatchLink, service: Watch) -> None:
        self.link, self.service = link, service
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        self.responses = service.watch(self._sent(), Caller())
        self._next: asyncio.Task[Any] | None = None

    @property
    def stream(self) -> WatchStream:
        """Once it has begun, of a service that has no other."""
        (stream,) = self.service._streams
        return stream

    async def _sent(self) -> AsyncIterator[Any]:
        while (request := await self._requests.get()) is not None:
            if isinstance(request, Exception):
                raise request
            yield request

    def send(self, *requests: Any) -> None:
        for request in requests:
            self._requests.put_nowait(request)

    def create(self, key: bytes = b"k", **options: Any) -> None:
        create = rpc.WatchCreateRequest(key=key, **options)
        self.send(rpc.WatchRequest(create_request=create))

    def cancel(self, watch_id: int) -> None:
        self.send(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=watch_id)))

    def ask_progress(self, count: int = 1) -> None:
        for _ in range(count):
            request = rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())
            self.send(request)

    async def created(self, key: bytes = b"k", **options: Any) -> LinkedWatch:
        """A watch that the node has accepted, and whose client knows it."""
        self.create(key, **options)
        await self.quiet()
        self.link.watches[-1].accept()
        assert (await self.next()).created
        return self.link.watches[-1]

    async def next(self) -> Any:
        """The next response; raises what ends the stream."""
        pending, self._next = self._next or self._ask(), None
        return await pending

    async def quiet(self) -> None:
        """Nothing comes, as things are."""
        if self._next is None:
            self._next = self._ask()
        await turns()
        assert not self._next.done(), self._next.result()

    def _ask(self) -> "asyncio.Task[Any]":
        async def ask() -> Any:
            return await anext(self.responses)

        return asyncio.ensure_future(ask())

    async def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self.responses.aclose()


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def play(
    body: Callable[..., Coroutine[Any, Any, Any]],
    *,
    readers_count: int = 1,
    **shared: Any,
) -> WatchLink:
    """The body with so many readers of one service; the link afterwards, all streams closed."""

    async def main() -> WatchLink:
        link: Any = WatchLink()
        service = Watch(link, shared=Shared(**shared))
        readers = [Reader(link, service) for _ in range(readers_count)]
        async with asyncio.timeout(PLAY_S):
            try:
                await body(*readers)
            finally:
                for reader in readers:
                    await reader.close()
        assert service.streams_count == service.watches_count == 0
        found: WatchLink = link
        return found

    return asyncio.run(main())
