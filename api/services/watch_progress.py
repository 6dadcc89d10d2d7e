"""Answers to WatchProgressRequest: how far the whole stream is.

Read after watcher.py. An answer says: everything up to this revision that this stream wants has
been sent. So it waits until each watcher stands there, by its events or by a sign of progress that
the node sends behind all of them.
"""

import asyncio
from collections.abc import Callable, Iterable

from metastore.api.link import NodeLink
from metastore.api.services.watcher import Watcher

ASKED_MAX = 32  # signs under way to one stream
ASK_AGAIN_S = 0.1  # a node that lags behind the revision that is to be reached


class Signs:
    """Asks the node for signs of progress of many watches, a few at a time: each comes as a message
    of its own, and those that the socket has no room for would hold up the events behind them."""

    def __init__(self, link: NodeLink) -> None:
        self._link = link
        self._waiting: dict[Watcher, None] = {}
        self._asked: set[Watcher] = set()

    def ask(self, watchers: Iterable[Watcher]) -> None:
        self._waiting.update(dict.fromkeys(watchers))
        self._ask_some()

    def on_sign(self, watcher: Watcher) -> None:
        """Or none will come: its watch on the node has ended."""
        self._asked.discard(watcher)
        if len(self._asked) * 2 <= ASKED_MAX:
            self._ask_some()

    def close(self) -> None:
        self._waiting.clear()

    def _ask_some(self) -> None:
        asking = []
        while self._waiting and len(self._asked) < ASKED_MAX:
            watcher = next(iter(self._waiting))
            del self._waiting[watcher]
            if watcher.node_watch is not None:
                self._asked.add(watcher)
                asking.append(watcher.node_watch)
        if asking:
            self._link.ask_progress(asking)


class Progress:
    """Of one stream. `announced()`: its watchers that clients know of. `answer(revision, count)`:
    so many requests can be answered now."""

    def __init__(
        self,
        link: NodeLink,
        signs: Signs,
        announced: Callable[[], Iterable[Watcher]],
        answer: Callable[[int, int], None],
    ) -> None:
        self._link = link
        self._signs = signs
        self._announced = announced
        self._answer = answer
        self._asked_count = 0  # requests that the next round answers
        self._round_count = 0  # requests that this round answers; 0: none is under way
        self._revision = 0  # that all must reach
        self._behind: set[Watcher] = set()

    def ask(self) -> None:
        """One more request. What is asked for while a round is under way is answered by the next:
        however many there are, each watch on the node is asked once at a time."""
        self._asked_count += 1
        if not self._round_count:
            self._begin()

    def on_moved(self, watcher: Watcher, is_sign: bool) -> None:
        """What it was asked for may have come, or another piece on the way there."""
        if watcher not in self._behind:
            return
        if watcher.next_revision > self._revision:
            self.forget(watcher)
        elif is_sign:
            asyncio.get_running_loop().call_later(ASK_AGAIN_S, self.ask_again, watcher)

    def ask_again(self, watcher: Watcher) -> None:
        """Also when its watch on the node is a new one, which has not been asked."""
        if watcher in self._behind:
            self._signs.ask([watcher])

    def forget(self, watcher: Watcher) -> None:
        """It has arrived, or it has ended."""
        if watcher in self._behind:
            self._behind.remove(watcher)
            self._end_if_all_arrived()

    def close(self) -> None:
        self._behind.clear()

    def _begin(self) -> None:
        self._round_count, self._asked_count = self._asked_count, 0
        # No revision that a client can have heard of here is newer.
        self._revision = self._link.revision
        self._behind = {w for w in self._announced() if w.next_revision <= self._revision}
        self._signs.ask(self._behind)
        self._end_if_all_arrived()

    def _end_if_all_arrived(self) -> None:
        if not self._behind and self._round_count:
            self._answer(self._revision, self._round_count)
            self._round_count = 0
            if self._asked_count:
                self._begin()
