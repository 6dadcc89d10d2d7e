"""The thread behind an asyncio client: it drives the sockets, so that the loop need not.

Reading order 1 of aio. It takes orders through a queue, carries them out between two turns of the
driver, and answers with functions that the loop is to call (bridge.py). While nothing is under way
it sleeps. Its death is told, with the reason.

Not the loop but this thread watches the sockets. A ZeroMQ socket tells its file descriptor only
once of many messages, and of some not at all while it is written to: a loop that waits for that
hangs now and then (pyzmq #1203, #2173). The driver polls the sockets themselves.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from metastore.client.calls import Call
from metastore.client.driver import Driver, Predicate
from metastore.client.errors import MetastoreError
from metastore.client.streams import Batch, Stream

THREAD_NAME = "metastore-aio"
FOREVER_S = 1e6

Order: TypeAlias = Callable[[], None]
Lent: TypeAlias = Sequence[tuple[Stream, Sequence[Batch], MetastoreError | None]]


class Wait:
    """Somebody of the loop waits for `is_done`, which is asked under the driver's lock after every
    turn. `then` is carried out by the thread, `answer` by the loop. asks: greet the nodes
    meanwhile."""

    def __init__(
        self, is_done: Predicate, answer: Order, *, then: Order | None = None, asks: bool = False
    ) -> None:
        self.is_done = is_done
        self.answer = answer
        self.then = then
        self.asks = asks


class Driving:
    """`answer` takes what the loop is to call; `on_end` the reason of an unexpected end, "" of an
    expected one. Both are called by the thread. `deliver`, what has arrived of followed streams, is
    called by the loop."""

    def __init__(
        self,
        driver: Driver,
        answer: Callable[[Order], None],
        deliver: Callable[[Lent], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._driver = driver
        self._answer = answer
        self._deliver = deliver
        self._on_end = on_end
        # Between the threads; a deque needs no lock for its ends.
        self._orders: deque[Order] = deque()
        self._finished: deque[Order] = deque()  # the answers of calls that have ended
        self._is_woken = False
        self._wanted = threading.Event()
        # The thread's own
        self._is_stopping = False
        self._calls_count = 0  # handed to the driver and not ended
        self._streams: set[Stream] = set()
        self._waits: dict[Wait, None] = {}
        self._told: dict[Stream, None] = {}  # followed ones with news
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    # For the loop

    def submit(self, calls: Sequence[tuple[Call, Order]]) -> None:
        """Calls, each with the answer to its end."""
        self._order(partial(self._submit, calls))

    def begin_wait(self, wait: Wait) -> None:
        self._order(lambda: self._waits.update({wait: None}))

    def end_wait(self, wait: Wait) -> None:
        """Nobody waits any more."""
        self._order(lambda: self._waits.pop(wait, None))

    def open_stream(self, stream: Stream) -> None:
        self._order(partial(self._open, stream))

    def close_stream(self, *streams: Stream) -> None:
        self._order(partial(self._close, *streams))

    def follow(self, stream: Stream) -> None:
        """Opens it. All its news are delivered without anybody asking for them: of many streams,
        nobody looks at those that are silent."""
        self._order(partial(self._follow, stream))

    def give_back(self, counts: Sequence[tuple[Stream, int]]) -> None:
        self._order(partial(self._driver.give_back, counts))

    def drop_stream(self, stream: Stream) -> None:
        """Closes it a little later, without any waking: the garbage collector may call this from
        anywhere."""
        self._orders.append(partial(self._close, stream))

    def ask_progress(self, *streams: Stream) -> None:
        self._order(partial(self._driver.ask_progress, *streams))

    def stop(self) -> None:
        """The last order. It closes the driver."""
        self._order(self._stop)

    def _order(self, order: Order) -> None:
        self._orders.append(order)
        if not self._is_woken:
            self._is_woken = True
            self._wanted.set()
            self._driver.wake()

    # The thread

    def _run(self) -> None:
        try:
            while True:
                self._carry_out_orders()
                self._answer_all()
                if self._is_stopping:
                    break
                if self._is_idle():
                    self._wanted.wait()
                    self._wanted.clear()
                else:
                    asks = any(wait.asks for wait in self._waits)
                    self._driver.wait(self._is_wanted, time.monotonic() + FOREVER_S, asks=asks)
            self._driver.close()
            self._answer_all()
        except BaseException as error:
            self._on_end(f"the thread of the client died of {error!r}; make a new client")
            raise
        self._on_end("")

    def _is_idle(self) -> bool:
        return not (self._calls_count or self._waits or self._streams)

    def _is_wanted(self) -> bool:
        """By one of the two sides; asked by the driver, under its lock."""
        is_told = bool(self._orders or self._finished or self._told)
        return is_told or any(wait.is_done() for wait in self._waits)

    def _carry_out_orders(self) -> None:
        self._is_woken = False  # before: what is ordered from here on wakes again
        while self._orders:
            self._orders.popleft()()

    def _answer_all(self) -> None:
        while self._finished:
            self._calls_count -= 1
            self._answer(self._finished.popleft())
        if self._told:
            told, self._told = self._told, {}
            self._answer(partial(self._deliver, self._driver.lend(told)))
        for wait in [wait for wait in self._waits if wait.is_done()]:
            del self._waits[wait]
            if wait.then is not None:
                wait.then()
            self._answer(wait.answer)

    def _submit(self, calls: Sequence[tuple[Call, Order]]) -> None:
        self._calls_count += len(calls)
        for call, answer in calls:
            call.on_done = partial(self._finished.append, answer)
        self._driver.submit([call for call, _ in calls])

    def _open(self, stream: Stream) -> None:
        self._streams.add(stream)
        self._driver.open_stream(stream)

    def _follow(self, stream: Stream) -> None:
        stream.on_news = lambda: self._told.update({stream: None})
        self._open(stream)

    def _close(self, *streams: Stream) -> None:
        self._streams.difference_update(streams)
        self._driver.close_stream(*streams)

    def _stop(self) -> None:
        self._is_stopping = True
