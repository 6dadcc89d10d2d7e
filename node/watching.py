"""Watches of this node's clients: frames in, events out as fast as each client takes them.

Reading order: beside requests.py; the loop calls it, from its one thread. Which watch gets what is
decided in engines/watches.py; here are the clients, their credit and their room. Every frame with
events costs one credit. A watch without credit, or of a client without room, just stays behind and
catches up later from the store's history: nothing is queued but the small answers (WATCHED,
CANCELED). A call sends only so much; what is left over catches up in the next turns.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from metastore.engines.contract import Store
from metastore.engines.watched_ranges import normal_range_or_none
from metastore.engines.watches import Due, Position, View, Watches
from metastore.engines.watches import Watch as Watched
from metastore.transport.clients import Delivery
from metastore.transport.envelope import ErrorCode, encode_error
from metastore.transport.watch_frames import (
    Cancel,
    Credit,
    ProgressRequest,
    Watch,
    WatchFlag,
    encode_canceled,
    encode_event_list,
    encode_events,
    encode_watched,
)

WATCHES_MAX: Final = 20_000
WATCHES_PER_CLIENT_MAX: Final = 5_000
RANGE_BYTES_MAX: Final = 64 << 20  # keys and range ends of all watches
CREDIT_MAX: Final = 1_024  # of one watch; more is not needed, and bounds what a socket can hold
ANSWERS_WAITING_MAX: Final = 2 * WATCHES_PER_CLIENT_MAX  # of one client without room
SEND_FRAMES_MAX: Final = 1_024  # with events, of one publish or one flush
SEND_BYTES_MAX: Final = 16 << 20
FLUSH_EVENTS_MAX: Final = 2_048  # looked at in the history in one flush
SLICE_EVENTS_MAX: Final = 512

EMPTY_RANGE = "mvcc: watcher range is empty"
TOO_MANY = "metastore: too many watches"
TOO_LARGE = "metastore: a revision is too large for one frame; watch it in fragments"
DUPLICATE_ID = "the id is that of another watch of this connection"

Frame: TypeAlias = Watch | Credit | Cancel | ProgressRequest
Reply: TypeAlias = Callable[[bytes, Sequence[bytes]], Delivery]


class _Client:
    """A connection with watches, or with answers that it had no room for."""

    __slots__ = ("answers", "has_room", "identity", "watches")

    def __init__(self, identity: bytes) -> None:
        self.identity = identity
        self.watches: dict[int, _Owned] = {}
        self.answers: list[bytes] = []  # to be sent before anything else
        self.has_room = True  # as far as it is known; found out again with every tick


class _Owned:
    """One watch, by the id that its client gave it."""

    __slots__ = ("client", "had_traffic", "request_id", "wants_progress", "watch")

    def __init__(self, client: _Client, request_id: int) -> None:
        self.client = client
        self.request_id = request_id
        self.wants_progress = False
        self.had_traffic = False  # since the last sign of progress
        self.watch: Watched


class _Room:
    """What may still be sent in this call."""

    __slots__ = ("bytes", "frames")

    def __init__(self) -> None:
        self.frames = SEND_FRAMES_MAX
        self.bytes = SEND_BYTES_MAX

    def __bool__(self) -> bool:
        return self.frames > 0 and self.bytes > 0

    def take(self, frame: bytes) -> None:
        self.frames -= 1
        self.bytes -= len(frame)


class _Sending:
    """The frames of one watch on their way into its client's message."""

    __slots__ = ("due", "end", "frames", "refusal")

    def __init__(self, due: Due) -> None:
        self.due = due
        self.frames: list[bytes] = []
        self.end = due.end  # where it stands once they are sent
        self.refusal = ""  # why the watch ends there


class Watching:
    """`progress_ticks`: how often clients get signs of progress, in calls of tick()."""

    def __init__(self, store: Store, reply: Reply, *, progress_ticks: int = 50) -> None:
        self._store = store
        self._reply = reply
        self._progress_ticks = progress_ticks
        self._ticks = 0
        self._watches = Watches()
        self._clients: dict[bytes, _Client] = {}
        self._range_bytes = 0

    @property
    def count(self) -> int:
        return self._watches.count

    def counters(self) -> dict[str, int]:
        """{"watches", "clients", "catching_up"}: how many there are now."""
        catching_up = len(self._watches.ready)
        return {"watches": self.count, "clients": len(self._clients), "catching_up": catching_up}

    def on_frame(self, identity: bytes, frame: Frame) -> None:
        """Takes in what a client asks. Nothing raises, whatever it is."""
        self.publish()
        if isinstance(frame, Watch):
            self._on_watch(identity, frame)
            return
        client = self._clients.get(identity)
        owned = client.watches.get(frame.request_id) if client else None
        if client is None or owned is None:
            return  # of a watch that is no more; it has been told
        if isinstance(frame, Credit):
            watch = owned.watch
            watch.credit = min(CREDIT_MAX, watch.credit + frame.credit)
            if not watch.is_synced and client.has_room:
                self._settle(owned, watch.position)
        elif isinstance(frame, Cancel):
            self._cancel(owned, 0, "")
        else:
            owned.wants_progress = True
            self._show_progress_if_wanted(owned)

    def _on_watch(self, identity: bytes, frame: Watch) -> None:
        client = self._clients.setdefault(identity, _Client(identity))
        if frame.request_id in client.watches:
            self._answer(client, encode_error(frame.request_id, ErrorCode.INVALID, DUPLICATE_ID))
            return
        watched = normal_range_or_none(frame.key, frame.range_end)
        if watched is None or self._is_full(client, frame):
            reason = EMPTY_RANGE if watched is None else TOO_MANY
            self._answer(client, encode_canceled(frame.request_id, 0, reason))
            self._forget_if_idle(client)
            return
        if not self.count:
            self._begin_to_collect()
        start = frame.start_revision or self._store.revision + 1
        owned = _Owned(client, frame.request_id)
        credit = min(CREDIT_MAX, frame.credit)
        owned.watch = self._watches.add(owned, watched, _view(frame.flags), start, credit)
        client.watches[frame.request_id] = owned
        self._range_bytes += len(frame.key) + len(frame.range_end)
        self._answer(client, encode_watched(frame.request_id, self._store.revision))
        if frame.request_id in client.watches:  # else it is gone already
            if start < self._store.compacted_revision:
                self._cancel(owned, self._store.compacted_revision, "")
            else:
                self._settle(owned, Position(start))

    def _is_full(self, client: _Client, frame: Watch) -> bool:
        return (
            self.count >= WATCHES_MAX
            or len(client.watches) >= WATCHES_PER_CLIENT_MAX
            or self._range_bytes + len(frame.key) + len(frame.range_end) > RANGE_BYTES_MAX
        )

    def _begin_to_collect(self) -> None:
        self._store.collect_events(True)
        self._store.take_events()
        self._watches.published = self._store.revision

    # Events

    def publish(self) -> None:
        """After each apply, and after a snapshot was installed: sends synced watches what is new
        for them."""
        if not self.count:
            return
        events = self._store.take_events()
        if events or self._store.revision != self._watches.published:
            self._send(self._watches.publish(events, self._store.revision), _Room())

    def flush(self) -> bool:
        """Once a turn: some of the catching up. True: there is more to do at once."""
        self.publish()
        room = _Room()
        events_left = FLUSH_EVENTS_MAX
        ready = self._watches.ready
        while ready and room and events_left > 0:
            events_left -= 1
            first = next(iter(ready))
            revision = first.position.revision
            if revision < self._store.compacted_revision:
                self._cancel(first.owner, self._store.compacted_revision, "")
                continue
            history = self._store.history(revision, self._watches.published)
            dues, looked_at = self._watches.catch_up(history, SLICE_EVENTS_MAX)
            events_left -= looked_at
            self._send(dues, room)
        return bool(ready)

    def _send(self, dues: Sequence[Due], room: _Room) -> None:
        """One message per client. Who gets less than is due to him stays behind."""
        by_client: dict[_Client, list[_Sending]] = {}
        for due in dues:
            sending = _Sending(due)
            owned: _Owned = due.watch.owner
            if due.pieces:
                self._fill(sending, room)
            if sending.frames:
                by_client.setdefault(owned.client, []).append(sending)
            else:
                self._finish(sending)
        for client, sendings in by_client.items():
            frames = [frame for sending in sendings for frame in sending.frames]
            delivery = self._reply(client.identity, frames)
            if delivery is Delivery.GONE:
                self._drop(client)
            elif delivery:
                for sending in sendings:
                    sending.due.watch.credit -= len(sending.frames)
                    sending.due.watch.owner.had_traffic = True
                    self._finish(sending)
            else:
                client.has_room = False
                for sending in sendings:
                    self._settle(sending.due.watch.owner, sending.due.start)

    def _fill(self, sending: _Sending, room: _Room) -> None:
        """The frames that credit and room allow."""
        owned: _Owned = sending.due.watch.owner
        position = sending.due.start
        for piece in sending.due.pieces:
            has_credit = len(sending.frames) < sending.due.watch.credit
            if not has_credit or not room or not owned.client.has_room or piece.events is None:
                sending.end = position
                sending.refusal = TOO_LARGE if piece.events is None else ""
                return
            data = piece.encoded(encode_event_list)
            frame = encode_events(owned.request_id, piece.revision, data, piece.is_fragment)
            room.take(frame)
            sending.frames.append(frame)
            position = piece.end

    def _finish(self, sending: _Sending) -> None:
        owned: _Owned = sending.due.watch.owner
        if sending.refusal:
            self._cancel(owned, 0, sending.refusal)
        elif owned.request_id in owned.client.watches:  # else dropped meanwhile
            self._settle(owned, sending.end)

    def _settle(self, owned: _Owned, position: Position) -> None:
        if not owned.client.has_room and position.revision <= self._watches.published:
            self._watches.wait(owned.watch, position)
            return
        self._watches.settle(owned.watch, position)
        self._show_progress_if_wanted(owned)

    # Signs of progress, and clients that are gone

    def tick(self) -> None:
        """Tries clients without room again; now and then, shows every client the progress of its
        watches, by which one that is gone is noticed, too."""
        self._ticks += 1
        for client in list(self._clients.values()):
            if not client.has_room:
                self._try_again(client)
        if self._ticks % self._progress_ticks == 0:
            self.publish()
            for client in list(self._clients.values()):
                self._show_progress(client)

    def _try_again(self, client: _Client) -> None:
        client.has_room = True
        answers, client.answers = client.answers, []
        if answers and not self._reply_or_drop(client, answers):
            client.answers = answers
            return
        self._forget_if_idle(client)
        for owned in list(client.watches.values()):
            if owned.watch.is_synced:
                self._show_progress_if_wanted(owned)
            else:
                self._settle(owned, owned.watch.position)

    def _show_progress(self, client: _Client) -> None:
        quiet = [owned for owned in client.watches.values() if not owned.had_traffic]
        for owned in client.watches.values():
            owned.had_traffic = False
        if quiet and client.has_room:
            self._reply_or_drop(client, [self._progress(owned) for owned in quiet])

    def _show_progress_if_wanted(self, owned: _Owned) -> None:
        if owned.wants_progress and owned.watch.is_synced and owned.client.has_room:
            owned.wants_progress = not self._reply_or_drop(owned.client, [self._progress(owned)])

    def _progress(self, owned: _Owned) -> bytes:
        """True of every watch, however far behind it is."""
        needed = self._watches.position_of(owned.watch).revision
        return encode_events(owned.request_id, min(needed - 1, self._watches.published))

    def _answer(self, client: _Client, frame: bytes) -> None:
        """Sends it now, or as soon as there is room."""
        if client.has_room and self._reply_or_drop(client, [frame]):
            return
        if client.identity in self._clients:
            client.answers.append(frame)
            if len(client.answers) > ANSWERS_WAITING_MAX:
                self._drop(client)  # asks on and on, and never reads

    def _reply_or_drop(self, client: _Client, frames: Sequence[bytes]) -> bool:
        delivery = self._reply(client.identity, frames)
        if delivery is Delivery.GONE:
            self._drop(client)
        elif not delivery:
            client.has_room = False
        return bool(delivery)

    # Ends

    def _cancel(self, owned: _Owned, compact_revision: int, reason: str) -> None:
        """Ends a watch and tells its client why. Does nothing for one that has ended."""
        if owned.client.watches.pop(owned.request_id, None) is None:
            return
        self._remove(owned)
        self._answer(owned.client, encode_canceled(owned.request_id, compact_revision, reason))
        self._forget_if_idle(owned.client)

    def _drop(self, client: _Client) -> None:
        """Of a client that is gone."""
        self._clients.pop(client.identity, None)
        client.answers = []
        while client.watches:
            _, owned = client.watches.popitem()
            self._remove(owned)

    def _remove(self, owned: _Owned) -> None:
        self._watches.remove(owned.watch)
        self._range_bytes -= sum(map(len, owned.watch.spot.watched))
        if not self.count:
            self._store.collect_events(False)

    def _forget_if_idle(self, client: _Client) -> None:
        if not client.watches and not client.answers:
            self._clients.pop(client.identity, None)

    def close(self, reason: str) -> None:
        """Tells every client that its watches end here; they can be carried on elsewhere."""
        for client in list(self._clients.values()):
            for owned in list(client.watches.values()):
                self._cancel(owned, 0, reason)
        self._clients.clear()


def _view(flags: int) -> View:
    return View(
        bool(flags & WatchFlag.PREV_KV),
        bool(flags & WatchFlag.NO_PUT),
        bool(flags & WatchFlag.NO_DELETE),
        bool(flags & WatchFlag.FRAGMENT),
    )
