"""One watch on the node, for one task of the gateway's: raw batches, whole revisions in order.

Read with link.py, which opens it. Holds no more of what was not read than the credit of a stream;
what a batch means to a client of etcd is not known here.
"""

from collections import deque
from collections.abc import AsyncIterator

from metastore.api.calls import ApiError, Status
from metastore.api.failures import TIMED_OUT, TOO_LARGE, translated
from metastore.client import errors
from metastore.client.aio.bridge import Bridge
from metastore.client.streams import Batch, Stream
from metastore.transport.schema import REQUEST_BYTES_MAX

WATCH_BYTES_MAX = REQUEST_BYTES_MAX - 1024  # of its keys; the rest of its frame is numbers


class NodeWatch:
    """One watch on the node; goes on on another node when its own is gone, from where it stands.
    For one task."""

    def __init__(self, bridge: Bridge, stream: Stream) -> None:
        self._bridge = bridge
        self.stream = stream
        self._arrived: deque[Batch] = deque()

    async def open(self, timeout_s: float) -> None:
        """Until a node serves it; its `stream.next_revision` then says from where. Raises ApiError,
        WatchCompacted for a revision that is gone; it is closed then."""
        stream = self.stream
        if len(stream.key) + len(stream.range_end) > WATCH_BYTES_MAX:
            raise ApiError(Status.INVALID_ARGUMENT, TOO_LARGE)
        is_open = False
        try:
            self._bridge.open_stream(stream)
            is_ready = await self._bridge.wait(stream.is_ready, timeout_s)
            if stream.error is not None:
                raise translated(stream.error)
            if not is_ready:
                raise ApiError(Status.UNAVAILABLE, TIMED_OUT)
            is_open = True
        except errors.MetastoreError as error:
            raise translated(error) from None
        finally:
            if not is_open:  # whoever asked for it may be gone
                self.close()

    async def batches(self) -> AsyncIterator[Batch]:
        """Until closed. A batch without events is a sign of progress (WatchFlag.PROGRESS). Raises
        WatchCompacted, or ApiError when the node ends it for another reason."""
        stream = self.stream
        while not stream.is_closed:
            try:
                await self._bridge.listen(stream, self._arrived)
            except errors.MetastoreError as error:
                raise translated(error) from None
            while self._arrived:
                yield self._arrived.popleft()
            if stream.error is not None and not stream.has_batch():
                raise translated(stream.error)

    def ask_progress(self) -> None:
        self._bridge.ask_progress(self.stream)

    def close(self) -> None:
        self._bridge.close_stream(self.stream)
