"""One of many watches on the node. It tells of its news by itself, so that ten thousand of them
cost no task and no look each.

Read with link.py, which opens it. Everything here happens in the event loop. What waits here is at
most what the watch had credit for; what a batch means to a client of etcd is not known here.
"""

from collections import deque
from collections.abc import Callable, Sequence

from metastore.api.calls import ApiError
from metastore.api.failures import translated
from metastore.client import errors
from metastore.client.aio.bridge import Bridge
from metastore.client.streams import CREDIT_FRAMES, Batch, Stream


class FollowedWatch:
    """Goes on on another node when its own is gone, from where it stands. Opened by the
    constructor; `on_news` is called, and must not raise, when a node has accepted it, when batches
    have come, and when it has ended by itself."""

    def __init__(self, bridge: Bridge, stream: Stream, on_news: Callable[[], None]) -> None:
        self._bridge = bridge
        self.stream = stream
        self._on_news = on_news
        self._arrived: deque[Batch] = deque()
        self._error: errors.MetastoreError | None = None
        self._read_count = 0  # batches that were taken and not yet given back
        bridge.follow(stream, self._take_in)

    @property
    def is_accepted(self) -> bool:
        """By some node, once."""
        return self.stream.is_created

    @property
    def accepted_revision(self) -> int:
        """The newest one of the node that serves it, when that began to."""
        return self.stream.accepted_revision

    @property
    def trouble(self) -> str:
        """Why no node serves it."""
        return self.stream.trouble

    @property
    def error(self) -> ApiError | None:
        """Why it ended, once all that came before has been taken: WatchCompacted, or another."""
        return None if self._error is None or self._arrived else translated(self._error)

    @property
    def waiting(self) -> Sequence[Batch]:
        """What can be taken now. A batch without events is the sign of progress that was asked
        for."""
        return self._arrived

    def take(self) -> Batch:
        """The first of what waits."""
        batch = self._arrived.popleft()
        self._read_count += bool(batch.events)
        if self._read_count * 2 >= CREDIT_FRAMES:
            self._bridge.give_back((self.stream, self._read_count))
            self._read_count = 0
        return batch

    def _take_in(self, batches: Sequence[Batch], error: errors.MetastoreError | None) -> None:
        self._arrived.extend(batches)
        self._error = error or self._error
        self._on_news()
