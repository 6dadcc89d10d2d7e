"""Keeps every watch on a node that serves it, and moves it when that node fails it.

Reading order 9 of the client. Any node will do: a watch says from where, and a node that is behind
comes to it. Under the driver's lock; never waits.
"""

from collections.abc import Iterator, Sequence

from metastore.client import verdicts
from metastore.client.connection import Connection
from metastore.client.errors import Compacted, MetastoreError
from metastore.client.nodes import Nodes
from metastore.client.streams import Batch, Stream
from metastore.transport import envelope, watch_frames
from metastore.transport.envelope import ErrorCode
from metastore.transport.watch_frames import Canceled, Events, Watched, WatchEvent

SILENCE_S_MAX = 12.0  # of a watch; a node shows a sign of progress every 5 s
RETRY_S = 0.2  # after a node let go of a watch


class Watching:
    """All watches of one client."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._streams: dict[Stream, None] = {}
        self._unsettled: dict[Stream, None] = {}  # those of them that no node serves
        self._decoded: tuple[bytes, Sequence[WatchEvent]] = (b"", ())  # the last events

    @property
    def is_unsettled(self) -> bool:
        """Whether some watch has no node."""
        return bool(self._unsettled)

    def add(self, stream: Stream) -> None:
        self._streams[stream] = self._unsettled[stream] = None

    def remove(self, stream: Stream) -> None:
        """Nothing of it arrives any more."""
        stream.is_closed = True
        self._forget(stream)
        if (connection := self._connection_or_none(stream)) is not None:
            del connection.streams[stream.request_id]
            connection.queue_notice(watch_frames.encode_cancel(stream.request_id))

    def take(self, stream: Stream) -> Batch | None:
        batch, credit = stream.take()
        self._give_credit(stream, credit)
        return batch

    def lend(self, stream: Stream) -> tuple[Sequence[Batch], MetastoreError | None]:
        """All that has arrived, and how the watch ended after that, if it did."""
        return stream.lend(), stream.error

    def give_back(self, stream: Stream, count: int) -> None:
        self._give_credit(stream, stream.give_back(count))

    def ask_progress(self, stream: Stream) -> None:
        stream.ask_sign()
        if (connection := self._connection_or_none(stream)) is not None:
            connection.queue_notice(watch_frames.encode_progress_request(stream.request_id))

    def resume(self, now: float) -> None:
        """Gives watches without a node to one."""
        for stream in list(self._unsettled):
            if stream.retry_at > now:
                continue
            if self._nodes.refusal is not None:
                self._fail(stream, self._nodes.refusal)
                continue
            connection = self._nodes.any_or_none(now, stream.avoided)
            if connection is None:
                stream.trouble = self._nodes.discovery.reason
                continue
            request_id = self._nodes.next_id()
            frame = stream.opening_frame(request_id, connection.endpoint, now)
            connection.queue_watch(request_id, stream, frame)
            del self._unsettled[stream]

    def on_frame(
        self, connection: Connection, frame: Watched | Events | Canceled, now: float
    ) -> None:
        """Raises Malformed."""
        stream = connection.streams.get(frame.request_id)
        if stream is None:
            return
        stream.heard_at = now
        if isinstance(frame, Watched):
            stream.on_watched(frame)
        elif isinstance(frame, Events):
            self._give_credit(stream, stream.on_events(frame, self._events_of(frame)))
        else:
            del connection.streams[frame.request_id]
            if frame.compact_revision:
                text = f"{frame.reason or 'compacted'}; the oldest revision is "
                text += str(frame.compact_revision)
                self._fail(stream, Compacted(text, frame.compact_revision))
            else:
                self._detach(stream, f"{connection.endpoint}: {frame.reason}", now + RETRY_S)

    def on_failure(self, connection: Connection, failure: envelope.Error, now: float) -> bool:
        """Whether the error was about a watch."""
        stream = connection.streams.pop(failure.request_id, None)
        if stream is None:
            return False
        text = f"{connection.endpoint}: {failure.message or failure.code}"
        if failure.code in (ErrorCode.NOT_LEADER, ErrorCode.UNAVAILABLE):
            self._detach(stream, text, now + RETRY_S)
        else:
            self._fail(stream, verdicts.refusal(failure.code, text))
        return True

    def on_lost(self, connection: Connection, reason: str) -> None:
        for stream in connection.streams.values():
            self._detach(stream, f"{connection.endpoint}: {reason}", 0.0)
        connection.streams.clear()

    def on_owing(self, connection: Connection) -> None:
        """The node owes answers for long. Accepting a watch is no work: those that it has not even
        accepted go elsewhere."""
        for request_id, stream in list(connection.streams.items()):
            if not stream.is_answered:
                del connection.streams[request_id]
                connection.queue_notice(watch_frames.encode_cancel(request_id))
                self._detach(stream, f"{connection.endpoint} does not answer", 0.0)

    def silent(self, now: float) -> Iterator[Connection]:
        """Connections that owe a watch a sign of life."""
        for connection in list(self._nodes.connections.values()):
            if any(now - s.heard_at > SILENCE_S_MAX for s in connection.streams.values()):
                yield connection

    def close(self, error: MetastoreError) -> None:
        for stream in list(self._streams):
            self._fail(stream, error)

    def _fail(self, stream: Stream, error: MetastoreError) -> None:
        stream.error = error
        stream.endpoint = ""
        self._forget(stream)
        stream.tell()

    def _detach(self, stream: Stream, trouble: str, retry_at: float) -> None:
        stream.detach(trouble, retry_at)
        self._unsettled[stream] = None

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream, None)
        self._unsettled.pop(stream, None)

    def _events_of(self, frame: Events) -> Sequence[WatchEvent]:
        """Many watches of one range get the same events one after the other: decoded once."""
        if not frame.events:
            return ()
        if frame.events != self._decoded[0]:
            self._decoded = (frame.events, watch_frames.decode_event_list(frame.events))
        return self._decoded[1]

    def _give_credit(self, stream: Stream, credit: int) -> None:
        if credit and (connection := self._connection_or_none(stream)) is not None:
            connection.queue_notice(watch_frames.encode_credit(stream.request_id, credit))

    def _connection_or_none(self, stream: Stream) -> Connection | None:
        connection = self._nodes.connections.get(stream.endpoint)
        if connection is None or connection.streams.get(stream.request_id) is not stream:
            return None
        return connection
