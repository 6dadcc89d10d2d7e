"""Threads that work on a frozen state while the loop goes on: one for each piece of work.

Reading order 9 of the engines. Knows neither snapshots nor hashes; work must not raise, and looks
at `is_closing` from time to time.
"""

from collections import Counter
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import TypeVar

T = TypeVar("T")


class BackgroundWork:
    """Starts by the owner's thread only; what is running is told to any."""

    def __init__(self) -> None:
        self._closing = Event()
        self._running: Counter[str] = Counter()
        self._running_lock = Lock()
        self._threads: list[Thread] = []

    def start(self, name: str, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Runs `work` on a thread of this name and gives `done` what it answers, there. By then it
        does not count as running any more: `done` may ask for the next piece."""
        with self._running_lock:
            self._running[name] += 1
        thread = Thread(target=self._run, args=(name, work, done), name=name, daemon=True)
        self._threads = [other for other in self._threads if other.is_alive()]
        self._threads.append(thread)
        thread.start()

    def count(self, name: str) -> int:
        """Running pieces of this name."""
        with self._running_lock:
            return self._running[name]

    def is_closing(self) -> bool:
        return self._closing.is_set()

    def close(self) -> None:
        """Asks everything that runs to stop, and waits for it."""
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _run(self, name: str, work: Callable[[], T], done: Callable[[T], None]) -> None:
        try:
            result = work()
        finally:
            with self._running_lock:
                self._running[name] -= 1
        done(result)
