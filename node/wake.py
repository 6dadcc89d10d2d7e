"""The loop's inbox for other threads: a queue whose arrival wakes the poller.

Every thread of a node (disk, snapshot, signals) talks to the loop through one of these and through
nothing else, so the core needs no lock.
"""

import os
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class WakeQueue(Generic[T]):
    """Many writers, one reader. `fileno` becomes readable when something arrived."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def put(self, item: T) -> None:
        """Thread-safe and signal-safe: an append and one write; after close nobody is woken."""
        self._items.append(item)
        fd = self._fd
        if fd >= 0:
            os.eventfd_write(fd, 1)

    def drain(self) -> list[T]:
        """Takes everything that has arrived, oldest first."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            if not self._items:
                return []
        taken: list[T] = []
        while self._items:
            taken.append(self._items.popleft())
        return taken

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
