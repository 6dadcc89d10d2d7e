"""One stream of watches: requests in, in order; responses out, one at a time and only when asked.

Read after watcher.py and watch_progress.py. Whoever reads the stream pulls: what a slow reader does
not take waits with its watchers, each of which costs the node credit, and all of them together no
more memory than Held allows. Answers to requests leave in the order of the requests; events of a
watch leave after its `created`, and never after its `canceled`. No task and no timer per watch.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

from metastore.api.calls import ApiError, Status
from metastore.api.failures import TIMED_OUT, WatchCompacted
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.services.watch_messages import (
    DUPLICATE_ID,
    EMPTY_RANGE,
    INVALID_WATCH_ID,
    as_reason,
    refusal,
)
from metastore.api.services.watch_progress import Progress, Signs
from metastore.api.services.watcher import Held, Shared, Wanted, Watcher

ANSWERS_MAX = 1024  # to requests, that wait for the reader or for the node
HELD_BYTES_FREE = 256 << 10  # of each stream, also while all together hold too much


class WatchStream:
    """For one event loop. Close it in any case: then all its watches on the node end at once."""

    def __init__(self, link: NodeLink, shared: Shared) -> None:
        self._link = link
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._watchers: dict[int, Watcher] = {}  # also ended ones, whose ids are still taken
        self._next_id = 0
        self._answers: deque[Any] = deque()  # responses, and watchers to be announced
        self._pieces: deque[Any] = deque()  # the rest of what was taken from a watcher
        self._ready: dict[Watcher, None] = {}  # have something to tell, in the order of their turns
        self._let_go: dict[Watcher, None] = {}  # had something to tell, and will have it again
        self._resuming: Watcher | None = None  # the one of them that is on its way back
        self._failure: Exception | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._is_reader_waiting = False
        self._held = Held(shared.held)
        self._overdue: asyncio.TimerHandle | None = None
        self._notices: asyncio.TimerHandle | None = None
        self._signs = Signs(link)
        self._progress = Progress(link, self._signs, self._announced, self._answer_progress)

    @property
    def watches_count(self) -> int:
        return sum(not watcher.has_ended for watcher in self._watchers.values())

    # Requests

    async def has_room(self) -> None:
        """Until a request can be taken on."""
        while len(self._answers) >= ANSWERS_MAX:
            self._room.clear()
            await self._room.wait()

    def create(self, request: Any, denial: str = "") -> None:
        """Of a WatchCreateRequest. denial: why the caller may not."""
        wanted = Wanted.from_request(request)
        watch_id = request.watch_id or self._free_id()
        denial = denial or (EMPTY_RANGE if wanted.is_empty else "")
        denial = denial or (DUPLICATE_ID if watch_id in self._watchers else "")
        if denial:
            self._answer(refusal(self._link, denial))
            return
        try:
            watcher = Watcher(self._link, watch_id, wanted, self._held, self._on_news)
        except ApiError as error:
            self._answer(refusal(self._link, as_reason(error)))
            return
        if not request.watch_id:
            self._next_id = watch_id + 1
        self._watchers[watch_id] = watcher
        self._answer(watcher)
        if self._overdue is None:
            self._overdue = self._loop.call_later(self._shared.opening_s_max, self._give_up)
        if wanted.wants_notices and self._notices is None:
            self._notices = self._loop.call_later(self._shared.notice_s, self._look_for_quiet)

    def cancel(self, watch_id: int) -> None:
        """An id that nobody has is passed over, as in etcd."""
        watcher = self._watchers.pop(watch_id, None)
        if watcher is not None:
            self._end([watcher])
            header = self._link.header(self._link.revision)
            self._answer(rpc.WatchResponse(header=header, watch_id=watch_id, canceled=True))

    def ask_progress(self) -> None:
        """Answered once everything before it has been sent."""
        self._answer(self._progress)

    def fail(self, failure: Exception) -> None:
        """The stream ends with it, at once."""
        self._failure = self._failure or failure
        self._news.set()

    def _free_id(self) -> int:
        while self._next_id in self._watchers:
            self._next_id += 1
        return self._next_id

    def _answer(self, answer: Any) -> None:
        self._answers.append(answer)
        self._news.set()

    # Responses

    async def responses(self) -> AsyncIterator[Any]:
        """Without end. Raises ApiError."""
        while self._failure is None:
            self._news.clear()
            response = self._next_or_none()
            if self._failure is not None:
                break
            if response is not None:
                yield response
            else:
                self._is_reader_waiting = True
                await self._news.wait()
                self._is_reader_waiting = False
        raise self._failure

    def _next_or_none(self) -> Any | None:
        if self._let_go and not self._resuming and self._held.bytes <= HELD_BYTES_FREE:
            self._resume()
        while self._failure is None:
            if self._pieces:
                return self._pieces.popleft()
            answer = self._next_answer_or_none()
            if answer is not None or not self._ready:
                return answer
            watcher = next(iter(self._ready))
            del self._ready[watcher]
            self._take(watcher)
        return None

    def _next_answer_or_none(self) -> Any | None:
        while self._answers:
            answer = self._answers[0]
            if isinstance(answer, Watcher) and not answer.is_settled:
                return None
            self._answers.popleft()
            self._room.set()
            if isinstance(answer, Watcher):
                return self._announcement(answer)
            if answer is not self._progress:
                return answer
            self._progress.ask()
        return self._pieces.popleft() if self._pieces else None

    def _announcement(self, watcher: Watcher) -> Any:
        error = watcher.error
        if error is not None and not watcher.created_revision:
            if error.code == Status.UNAVAILABLE:
                self.fail(error)
            self._refuse(watcher, error)
        if watcher.refusal:
            return refusal(self._link, watcher.refusal)
        watcher.is_announced = True
        if watcher.has_news:
            self._ready[watcher] = None
        header = self._link.header(watcher.created_revision or self._link.revision)
        return rpc.WatchResponse(header=header, watch_id=watcher.watch_id, created=True)

    def _take(self, watcher: Watcher) -> None:
        if self._resuming is watcher:
            self._resuming = None
        is_sign = watcher.is_sign_next
        self._pieces += watcher.take(self._shared.encoder, self._shared.fragment_bytes_max)
        if is_sign:
            self._signs.on_sign(watcher)
        self._progress.on_moved(watcher, is_sign)
        if watcher.error is not None:
            self._take_leave(watcher, watcher.error)
        elif watcher.has_news:
            self._ready[watcher] = None  # behind the others

    def _take_leave(self, watcher: Watcher, error: ApiError) -> None:
        """The id stays taken until the client cancels the watch, as in etcd."""
        if error.code == Status.UNAVAILABLE:
            self.fail(error)
            return
        last = rpc.WatchResponse(watch_id=watcher.watch_id, canceled=True)
        if isinstance(error, WatchCompacted):
            last.compact_revision = error.compact_revision
            self._link.fill_header(last.header, 0)
        else:
            last.cancel_reason = as_reason(error)
            self._link.fill_header(last.header, self._link.revision)
        self._pieces.append(last)
        self._end([watcher])

    def _answer_progress(self, revision: int, count: int) -> None:
        answer = rpc.WatchResponse(header=self._link.header(revision), watch_id=INVALID_WATCH_ID)
        self._pieces.extend([answer] * count)
        self._news.set()

    # Watchers

    def _announced(self) -> Iterable[Watcher]:
        return (w for w in self._watchers.values() if w.is_announced and not w.has_ended)

    def _on_news(self, watcher: Watcher) -> None:
        if watcher.is_announced and watcher.has_news:
            self._ready[watcher] = None
        is_slow = not self._is_reader_waiting and self._held.bytes > HELD_BYTES_FREE
        if is_slow and self._shared.held.bytes > self._shared.held_bytes_max:
            self._let_go_of(watcher)
        self._is_reader_waiting = False  # it will be looking in a moment
        self._news.set()

    def _let_go_of(self, watcher: Watcher) -> None:
        """It stands where it stands, and goes on when the reader has caught up."""
        if not watcher.held_bytes:
            return
        # The first batch of one that has come back is kept: else it might never get any further.
        watch = watcher.let_go(keeps_first=watcher is self._resuming)
        if watch is not None:
            self._link.close_watches([watch])
        self._signs.on_sign(watcher)
        if not watcher.has_news:
            self._ready.pop(watcher, None)
        if self._resuming is watcher:
            self._resuming = None
        self._let_go[watcher] = None

    def _resume(self) -> None:
        """One at a time: what comes of it is held again."""
        watcher = next((watcher for watcher in self._let_go if watcher not in self._ready), None)
        if watcher is None:
            return
        self._resuming = watcher
        del self._let_go[watcher]
        try:
            watcher.open()
        except ApiError as error:
            self.fail(error)
        self._progress.ask_again(watcher)

    def _end(self, watchers: Iterable[Watcher]) -> None:
        watches = []
        for watcher in watchers:
            watcher.has_ended = True
            watches.append(watcher.let_go())
            self._ready.pop(watcher, None)
            self._let_go.pop(watcher, None)
            if self._resuming is watcher:
                self._resuming = None
            self._signs.on_sign(watcher)
            self._progress.forget(watcher)
        self._link.close_watches(watch for watch in watches if watch is not None)

    def _give_up(self) -> None:
        """On watches that no node accepts."""
        self._overdue = None
        limit = self._loop.time() - self._shared.opening_s_max
        for watcher in [answer for answer in self._answers if isinstance(answer, Watcher)]:
            if watcher.is_settled:
                continue
            if watcher.asked_at > limit:
                self._overdue = self._loop.call_later(watcher.asked_at - limit, self._give_up)
                break
            self._refuse(watcher, ApiError(Status.UNAVAILABLE, TIMED_OUT))
        self._news.set()

    def _refuse(self, watcher: Watcher, error: ApiError) -> None:
        watcher.refusal = as_reason(error)
        self._watchers.pop(watcher.watch_id, None)
        self._end([watcher])

    def _look_for_quiet(self) -> None:
        """etcd's progress_notify: those that were silent since the last look are told how far they
        are."""
        noticed = [watcher for watcher in self._announced() if watcher.wanted.wants_notices]
        quiet = [watcher for watcher in noticed if watcher.is_quiet]
        for watcher in noticed:
            watcher.is_quiet = True
        for watcher in quiet:
            watcher.is_notice_due = True
        self._signs.ask(quiet)
        self._notices = self._loop.call_later(self._shared.notice_s, self._look_for_quiet)

    def close(self) -> None:
        for timer in filter(None, (self._overdue, self._notices)):
            timer.cancel()
        self._signs.close()
        self._progress.close()
        self._end(list(self._watchers.values()))
        self._watchers.clear()
