"""The calls that are running: counted, and ended with a status when they must not go on.

Knows nothing of messages; for one event loop.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from metastore.api.calls import ApiError, Status
from metastore.api.grpc.limits import CALLS_MAX, REQUEST_BYTES_FREE, REQUEST_BYTES_MAX
from metastore.api.link import STOPPED

NO_LEADER = "etcdserver: no leader"
TOO_MANY = "etcdserver: too many requests"


class RunningCall:
    """One call and the task that serves it. `fault`: what it has been ended with. `is_writing`: a
    message is on its way out, and the task must not be cancelled: the library cannot send a status
    until it is sent. Whoever writes looks at `fault` then."""

    __slots__ = (
        *("_room", "fault", "held_bytes", "is_stream", "is_writing", "requires_leader", "task"),
    )

    def __init__(self, is_stream: bool, requires_leader: bool, room: "Room") -> None:
        self._room = room
        self.task = asyncio.current_task()
        self.is_stream = is_stream
        self.requires_leader = requires_leader
        self.held_bytes = 0
        self.is_writing = False
        self.fault: ApiError | None = None

    def hold(self, size: int) -> None:
        """Its request has so many bytes, and holds them to the end of the call. Raises ApiError
        when the requests of all calls hold too many."""
        if size > REQUEST_BYTES_FREE:
            self._room.take(size)
            self.held_bytes += size

    def end(self, fault: ApiError) -> None:
        """Ends what serves it; the client is told `fault`."""
        if self.fault is None and self.task is not None:
            self.fault = fault
            if not self.is_writing:
                self.task.cancel()

    def end_from_within(self, fault: ApiError) -> None:
        """The same for who may run in the call's own task and is about to raise the fault there: a
        task that cancels itself would lose the status it then sends."""
        if asyncio.current_task() is not self.task:
            self.end(fault)


class Room:
    """For the requests of all calls, but for small ones, which always find some."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_free = bytes_max

    def take(self, size: int) -> None:
        """Raises ApiError."""
        if size > self._bytes_free:
            raise ApiError(Status.RESOURCE_EXHAUSTED, TOO_MANY)
        self._bytes_free -= size

    def give_back(self, size: int) -> None:
        self._bytes_free += size


class Running:
    """All calls of a server. `has_leader` is what the gateway last heard of its node."""

    def __init__(
        self, calls_max: int = CALLS_MAX, request_bytes_max: int = REQUEST_BYTES_MAX
    ) -> None:
        self.has_leader = True
        self._is_stopping = False
        self._calls_max = calls_max
        self._room = Room(request_bytes_max)
        self._calls: set[RunningCall] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._calls)

    @contextmanager
    def call(self, is_stream: bool, requires_leader: bool) -> Iterator[RunningCall]:
        """Around the serving of one. Raises ApiError for one that may not begin."""
        if self._is_stopping:
            raise ApiError(Status.UNAVAILABLE, STOPPED)
        if requires_leader and not self.has_leader:
            raise ApiError(Status.UNAVAILABLE, NO_LEADER)
        if len(self._calls) >= self._calls_max:
            raise ApiError(Status.RESOURCE_EXHAUSTED, TOO_MANY)
        call = RunningCall(is_stream, requires_leader, self._room)
        self._calls.add(call)
        self._idle.clear()
        try:
            yield call
        finally:
            self._calls.discard(call)
            self._room.give_back(call.held_bytes)
            if not self._calls:
                self._idle.set()

    def set_leader(self, has_leader: bool) -> None:
        """Streams that asked for a leader end when there is none."""
        self.has_leader = has_leader
        if not has_leader:
            for call in tuple(self._calls):
                if call.is_stream and call.requires_leader:
                    call.end(ApiError(Status.UNAVAILABLE, NO_LEADER))

    async def stop(self, grace_s: float) -> None:
        """No new ones; streams end now, the others get the time to."""
        self._is_stopping = True
        self._end(streams_only=True)
        try:
            await asyncio.wait_for(self._idle.wait(), grace_s)
        except TimeoutError:
            self._end(streams_only=False)

    def _end(self, streams_only: bool) -> None:
        for call in tuple(self._calls):
            if call.is_stream or not streams_only:
                call.end(ApiError(Status.UNAVAILABLE, STOPPED))
