"""One watch on its way: where it stands, what has arrived, and how it goes on on another node.

Reading order 6 of the client. A stream is little more than a revision: everything below
`next_revision` has been taken in, so that any node can go on from there, without loss and without
anything twice. Plain state and decisions; the keeper (watching.py) moves it, under the driver's
lock.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from metastore.client.errors import MetastoreError
from metastore.transport import watch_frames
from metastore.transport.watch_frames import WatchEvent, WatchFlag

MOD: Final = 3  # where a kv has its mod_revision
CREDIT_FRAMES = 16  # on their way or waiting here; a slow reader costs no more memory than these


class Batch(NamedTuple):
    """Whole revisions, in order. Without events it is a sign of progress."""

    revision: int  # everything up to it is out with this
    events: Sequence[WatchEvent]


class Stream:
    """The state of one watch. `endpoint` "" while no node serves it; `trouble` says why."""

    def __init__(self, key: bytes, range_end: bytes, start_revision: int, flags: int) -> None:
        self.key = key
        self.range_end = range_end
        self.next_revision = start_revision  # 0: whatever comes after the watch is made
        self.is_created = False  # some node has once accepted it
        self.is_answered = False  # by the node that serves it
        self.is_closed = False
        self.error: MetastoreError | None = None  # after what has arrived
        self.endpoint = ""
        self.request_id = 0  # on the connection to that endpoint
        self.avoided = ""  # the endpoint that failed it last
        self.retry_at = 0.0  # not before; of time.monotonic()
        self.heard_at = 0.0  # the last frame for it
        self.trouble = "no node has been reached yet"
        self.accepted_revision = 0  # of the node that serves it, when it began to
        # Called by the driving thread, under the driver's lock, when there is news of any kind.
        self.on_news: Callable[[], None] | None = None
        self._flags = flags | WatchFlag.FRAGMENT
        self._arrived: deque[Batch] = deque()
        self._fragments: list[WatchEvent] = []  # of a revision that is not complete yet
        self._credit_owed = 0
        self._lent_count = 0  # of batches that a follower has not given back yet
        self._wants_sign = False

    def opening_frame(self, request_id: int, endpoint: str, now: float) -> bytes:
        """Makes the endpoint the one that serves it, from where it stands."""
        self.endpoint, self.request_id, self.heard_at = endpoint, request_id, now
        self.is_answered = False
        self._fragments.clear()
        self._credit_owed = 0
        unread = sum(bool(batch.events) for batch in self._arrived)
        credit = CREDIT_FRAMES - unread - self._lent_count
        return watch_frames.encode_watch(
            request_id, self.key, self.range_end, self.next_revision, self._flags, credit
        )

    def detach(self, trouble: str, retry_at: float) -> None:
        """The endpoint serves it no more."""
        self.avoided, self.endpoint, self.request_id = self.endpoint, "", 0
        self.trouble, self.retry_at = trouble, retry_at
        self.is_answered = False

    def on_watched(self, frame: watch_frames.Watched) -> None:
        self.is_created = self.is_answered = True
        self.accepted_revision = frame.revision
        self.trouble = ""
        # A node may be behind the one before it: only a watch from now on learns where it begins.
        if not self.next_revision:
            self.next_revision = frame.revision + 1
        self.tell()

    def on_events(self, frame: watch_frames.Events, events: Sequence[WatchEvent]) -> int:
        """Takes a frame in, with its events decoded; answers the credit to give back at once."""
        if not events:
            self._on_progress(frame.revision)
            return 0
        if events[0][0][MOD] < self.next_revision:
            events = [event for event in events if event[0][MOD] >= self.next_revision]
        if frame.is_fragment:
            self._fragments += events
            return 1  # it cannot be handed out alone, and the rest must be able to come
        whole = [*self._fragments, *events] if self._fragments else events
        self._fragments.clear()
        self.next_revision = max(self.next_revision, frame.revision + 1)
        if not whole:
            return 1
        self._arrived.append(Batch(frame.revision, whole))
        self.tell()
        return 0

    def _on_progress(self, revision: int) -> None:
        if self._fragments:
            return  # what they belong to would be passed over, should the connection break now
        self.next_revision = max(self.next_revision, revision + 1)
        if self._flags & WatchFlag.PROGRESS or self._wants_sign:
            self._wants_sign = False
            self._add_progress(revision)

    def _add_progress(self, revision: int) -> None:
        # Signs cost no credit: of those that nobody reads only the last one is kept.
        if self._arrived and not self._arrived[-1].events:
            self._arrived.pop()
        self._arrived.append(Batch(revision, ()))
        self.tell()

    def ask_sign(self) -> None:
        """The next sign of progress is shown, though the watch was not made to show any."""
        self._wants_sign = True

    def tell(self) -> None:
        if self.on_news is not None:
            self.on_news()

    def has_batch(self) -> bool:
        return bool(self._arrived)

    def has_news(self) -> bool:
        return bool(self._arrived) or self.error is not None or self.is_closed

    def is_ready(self) -> bool:
        return self.is_created or self.error is not None or self.is_closed

    def take(self) -> tuple[Batch | None, int]:
        """The next batch, and the credit to give back for what was taken so far."""
        if not self._arrived:
            return None, 0
        batch = self._arrived.popleft()
        self._credit_owed += bool(batch.events)
        if self._credit_owed * 2 < CREDIT_FRAMES:
            return batch, 0
        credit, self._credit_owed = self._credit_owed, 0
        return batch, credit

    def lend(self) -> Sequence[Batch]:
        """All that has arrived, to a follower; those with events are to be given back."""
        lent = tuple(self._arrived)
        self._arrived.clear()
        self._lent_count += sum(bool(batch.events) for batch in lent)
        return lent

    def give_back(self, count: int) -> int:
        """Batches that a follower is done with; answers the credit to give back."""
        self._lent_count -= count
        return count
