"""Between the event loop and the thread that drives: the loop's side.

Reading order 2 of aio. The loop never waits for the thread, not even for a lock. The thread wakes
the loop once for all that a turn brought. Whoever is cancelled is forgotten on both sides.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from metastore.client import verdicts
from metastore.client.aio.driving import Driving, Lent, Order, Wait
from metastore.client.calls import Call
from metastore.client.driver import Driver, Predicate
from metastore.client.errors import ClientMisused, MetastoreError, Unavailable
from metastore.client.streams import Batch, Stream

Waiting: TypeAlias = "asyncio.Future[None]"
Follower: TypeAlias = Callable[[Sequence[Batch], MetastoreError | None], None]


class Bridge:
    """Serves one event loop at a time: the next one when the last is closed."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._driving: Driving | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: dict[Waiting, Call | None] = {}  # everybody who waits, and for what call
        self._unsent: list[tuple[Call, Waiting]] = []
        self._followers: dict[Stream, Follower] = {}
        self._ended: Waiting | None = None
        self._is_closed = False
        self._death = ""  # what the thread died of
        # Filled by the thread
        self._answers: deque[Order] = deque()
        self._is_wake_up_due = False

    async def perform(self, call: Call) -> Call:
        """Until the call has ended. Cancelled, it does not leave any more if it has not left."""
        waiting = self.send(call)
        try:
            await waiting
        finally:
            if not call.is_done:
                call.deadline = 0.0  # the driver ends it with its next look
        return call

    def send(self, call: Call) -> Waiting:
        """Sends a call, together with all others of this turn of the loop."""
        self._thread()
        waiting = self._expect(call)
        if not self._unsent:
            waiting.get_loop().call_soon(self._submit)
        self._unsent.append((call, waiting))
        return waiting

    async def wait(
        self,
        is_done: Predicate,
        timeout_s: float | None,
        *,
        asks: bool = False,
    ) -> bool:
        """See driving.Wait. False at the time-out."""
        thread = self._thread()
        waiting = self._expect(None)
        wait = Wait(is_done, partial(_complete, waiting), asks=asks)
        thread.begin_wait(wait)
        try:
            async with asyncio.timeout(timeout_s):
                await waiting
        except TimeoutError:
            return False
        finally:
            if waiting.cancelled() and not self._is_over:
                thread.end_wait(wait)
        return True

    def listen(self, stream: Stream, arrived: deque[Batch]) -> Waiting:
        """Done when there is news of the stream; its next batch, if any, is then in `arrived`,
        whether or not anybody waits for it."""

        def take() -> None:
            batch = self._driver.take_batch(stream)
            if batch is not None:
                self.answer(partial(arrived.append, batch))

        thread = self._thread()
        waiting = self._expect(None)
        thread.begin_wait(Wait(stream.has_news, partial(_complete, waiting), then=take))
        return waiting

    def open_stream(self, stream: Stream) -> None:
        self._thread().open_stream(stream)

    def follow(self, stream: Stream, follower: Follower) -> None:
        """Opens it. The follower gets all that arrives, and at last the error; it must not raise,
        and has to give back what it is done with, or no more comes. Called without anything, too,
        once a node has accepted the watch."""
        self._thread().follow(stream)
        self._followers[stream] = follower

    def give_back(self, *counts: tuple[Stream, int]) -> None:
        """So many batches with events of each."""
        if self._driving is not None and not self._is_over:
            self._driving.give_back(counts)

    def close_stream(self, *streams: Stream) -> None:
        for stream in streams:
            self._followers.pop(stream, None)
        if self._driving is not None and not self._is_over:
            self._driving.close_stream(*streams)

    def drop_stream(self, stream: Stream) -> None:
        """May be called by the garbage collector."""
        if self._driving is not None:
            self._driving.drop_stream(stream)

    def ask_progress(self, *streams: Stream) -> None:
        self._thread().ask_progress(*streams)

    async def close(self) -> None:
        """Whoever waits gets an error. Returns when the sockets are closed."""
        if self._is_over:
            return
        if self._driving is None:
            self._is_closed = True
            self._driver.close()
            return
        self._bind()
        self._is_closed = True
        self._ended = asyncio.get_running_loop().create_future()
        self._driving.stop()
        await self._ended

    @property
    def _is_over(self) -> bool:
        return self._is_closed or bool(self._death)

    def _thread(self) -> Driving:
        """The thread. Raises ClientMisused (closed, forked, of another loop), Unavailable (it
        died)."""
        self._driver.check_process()
        if self._is_closed:
            raise ClientMisused("the client is closed; make a new one")
        if self._death:
            raise Unavailable(self._death)
        self._bind()
        if self._driving is None:
            self._driving = Driving(self._driver, self.answer, self._deliver, self._on_end)
        return self._driving

    def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise ClientMisused("the client belongs to another event loop; make one for each loop")
        # What the closed loop left behind: nobody waits for it any more.
        for call in self._pending.values():
            if call is not None:
                call.deadline = 0.0
        self._pending.clear()
        self._unsent.clear()
        self._followers.clear()
        self._answers.clear()
        self._loop = loop  # before the next line: the thread wakes the loop that it finds here
        self._is_wake_up_due = False

    def _expect(self, call: Call | None) -> Waiting:
        waiting: Waiting = asyncio.get_running_loop().create_future()
        self._pending[waiting] = call
        waiting.add_done_callback(self._forget)
        return waiting

    def _forget(self, waiting: Waiting) -> None:
        self._pending.pop(waiting, None)
        if not waiting.cancelled():
            waiting.exception()  # not everybody who could look does

    def _submit(self) -> None:
        calls, self._unsent = self._unsent, []
        if self._driving is not None and not self._is_over:
            # Not those whose callers have been cancelled meanwhile.
            wanted = [(call, waiting) for call, waiting in calls if not waiting.done()]
            self._driving.submit([(call, partial(_complete, waiting)) for call, waiting in wanted])

    # What the thread calls

    def answer(self, order: Order) -> None:
        self._answers.append(order)
        if not self._is_wake_up_due:
            self._is_wake_up_due = True
            self._call_in_loop(self._take_answers)

    def _on_end(self, death: str) -> None:
        self._call_in_loop(partial(self._end, death))

    def _call_in_loop(self, order: Order) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits there
                self._loop.call_soon_threadsafe(order)

    # What the loop then does

    def _take_answers(self) -> None:
        self._is_wake_up_due = False  # before: what is answered from here on wakes again
        while self._answers:
            self._answers.popleft()()

    def _deliver(self, lent: Lent) -> None:
        for stream, batches, error in lent:
            follower = self._followers.get(stream)
            if follower is not None:
                follower(batches, error)

    def _end(self, death: str) -> None:
        self._take_answers()
        self._death = death
        for follower in list(self._followers.values()):
            follower((), Unavailable(death or "the client was closed"))
        self._followers.clear()
        for waiting, call in list(self._pending.items()):
            if not waiting.done():
                waiting.set_exception(self._why_ended(call))
        if death:
            with suppress(Exception):  # as far as it can still be closed
                self._driver.close()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _why_ended(self, call: Call | None) -> MetastoreError:
        text = self._death or "the client was closed"
        if call is not None and call.may_have_happened():
            return verdicts.unknown(text)
        return Unavailable(text)


def _complete(waiting: Waiting) -> None:
    if not waiting.done() and not waiting.get_loop().is_closed():
        waiting.set_result(None)
