"""Watches of this node's clients: frames in, events out as fast as each client takes them.

Reading order: beside requests.py; the loop calls it, from its one thread. Which watch gets what is
decided in engines/watches.py, what a client has room for in watch_clients.py. Every frame with
events costs one credit. A watch without credit, or of a client without room, just stays behind and
catches up later from the store's history: events are queued for nobody. A call looks at and sends
only so much; what is left over catches up in the next turns.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from metastore.engines.contract import Store
from metastore.engines.watched_ranges import Range, normal_range_or_none
from metastore.engines.watches import Due, Position, View, Watches
from metastore.node.watch_clients import OwnedWatch, Reply, Room, Sending, WatchClient, WatchClients
from metastore.transport.envelope import ErrorCode, encode_error
from metastore.transport.watch_frames import (
    Cancel,
    Credit,
    ProgressRequest,
    Watch,
    WatchFlag,
    encode_canceled,
    encode_events,
    encode_watched,
)

WATCHES_MAX: Final = 40_000
WATCHES_PER_CLIENT_MAX: Final = 20_000  # a gateway is one client, for all of its own
RANGE_BYTES_MAX: Final = 64 << 20  # keys and range ends of all watches
CREDIT_MAX: Final = 1_024  # of one watch; more is of no use
FLUSH_EVENTS_MAX: Final = 1_024  # of the history, looked at in one flush
SLICE_EVENTS_MAX: Final = 512

EMPTY_RANGE = "mvcc: watcher range is empty"
TOO_MANY = "metastore: too many watches"
DUPLICATE_ID = "the id is that of another watch of this connection"

Frame: TypeAlias = Watch | Credit | Cancel | ProgressRequest


class Watching:
    """`reply` sends one message to one client (ClientServer.reply). `progress_ticks`: how often
    clients get signs of progress, in calls of tick()."""

    def __init__(self, store: Store, reply: Reply, *, progress_ticks: int = 50) -> None:
        self._store = store
        self._progress_ticks = progress_ticks
        self._ticks = 0
        self._range_bytes = 0
        self._watches = Watches()
        self._clients = WatchClients(reply, self._on_gone)

    @property
    def count(self) -> int:
        return self._watches.count

    def counters(self) -> dict[str, int]:
        """{"watches", "clients", "catching_up"}: how many there are now."""
        catching_up = len(self._watches.ready)
        return {"watches": self.count, "clients": len(self._clients), "catching_up": catching_up}

    def has_watches(self, identity: bytes) -> bool:
        """Whether this connection has watches, or answers that it had no room for."""
        return self._clients.get(identity) is not None

    def on_frame(self, identity: bytes, frame: Frame) -> None:
        """Takes in what a client asks; whatever it is, it is answered and never raises."""
        self.publish()
        if isinstance(frame, Watch):
            self._on_watch(identity, frame)
            return
        client = self._clients.get(identity)
        owned = client.watches.get(frame.request_id) if client else None
        if owned is None:
            return  # of a watch that has ended; its client has been told
        if isinstance(frame, Credit):
            watch = owned.watch
            watch.credit = min(CREDIT_MAX, watch.credit + frame.credit)
            if not watch.is_synced:
                self._settle(owned, watch.position)
        elif isinstance(frame, Cancel):
            self._cancel(owned)
        else:
            owned.wants_progress = True
            self._show_progress_if_wanted(owned)

    def _on_watch(self, identity: bytes, frame: Watch) -> None:
        client = self._clients.take(identity)
        request_id = frame.request_id
        if request_id in client.watches:
            error = encode_error(request_id, ErrorCode.INVALID, DUPLICATE_ID)
            self._clients.answer(client, error)
            return
        watched = normal_range_or_none(frame.key, frame.range_end)
        if watched is None or self._is_full(client, watched):
            reason = EMPTY_RANGE if watched is None else TOO_MANY
            self._clients.answer(client, encode_canceled(request_id, 0, reason))
            self._clients.forget_if_idle(client)
            return
        if not self.count:
            self._begin_to_collect()
        start = frame.start_revision or self._store.revision + 1
        owned = OwnedWatch(client, request_id)
        credit = min(CREDIT_MAX, frame.credit)
        owned.watch = self._watches.add(owned, watched, _view(frame.flags), start, credit)
        client.watches[request_id] = owned
        self._range_bytes += sum(map(len, watched))
        self._clients.answer(client, encode_watched(request_id, self._store.revision))
        if start < self._store.compacted_revision:
            self._cancel(owned, self._store.compacted_revision)
        else:
            self._settle(owned, Position(start))

    def _is_full(self, client: WatchClient, watched: Range) -> bool:
        return (
            self.count >= WATCHES_MAX
            or len(client.watches) >= WATCHES_PER_CLIENT_MAX
            or self._range_bytes + sum(map(len, watched)) > RANGE_BYTES_MAX
        )

    def _begin_to_collect(self) -> None:
        self._store.collect_events(True)
        self._watches.published = self._store.revision

    # Events

    def publish(self) -> None:
        """After each apply, and after a snapshot was installed: what is new goes to those that have
        all the rest."""
        if not self.count:
            return
        events = self._store.take_events()
        if events or self._store.revision != self._watches.published:
            self._send(self._watches.publish(events, self._store.revision), Room())

    def flush(self) -> bool:
        """Once a turn: some of the catching up. True: there is more to do at once."""
        self.publish()
        room = Room()
        left = FLUSH_EVENTS_MAX
        ready = self._watches.ready
        while ready and room and left > 0:
            first = next(iter(ready))
            revision = first.position.revision
            if revision < self._store.compacted_revision:
                self._cancel(first.owner, self._store.compacted_revision)
                left -= 1
                continue
            history = self._store.history(revision, self._watches.published)
            dues, looked_at = self._watches.catch_up(history, SLICE_EVENTS_MAX)
            left -= looked_at + len(dues)
            self._send(dues, room)
        return bool(ready)

    def _send(self, dues: Sequence[Due], room: Room) -> None:
        """One message per client. Who gets less than is due to it stays behind."""
        by_client: dict[WatchClient, list[Sending]] = {}
        for due in dues:
            sending = Sending(due, room)
            if sending.frames:
                by_client.setdefault(sending.owned.client, []).append(sending)
            else:
                self._finish(sending)
        for client, sendings in by_client.items():
            frames = [frame for sending in sendings for frame in sending.frames]
            is_sent = self._clients.send(client, frames)
            for sending in sendings:
                if is_sent:
                    sending.owned.watch.credit -= len(sending.frames)
                    sending.owned.had_traffic = True
                    self._finish(sending)
                else:
                    self._settle(sending.owned, sending.start)

    def _finish(self, sending: Sending) -> None:
        if sending.refusal:
            self._cancel(sending.owned, reason=sending.refusal)
        else:
            self._settle(sending.owned, sending.end)

    def _settle(self, owned: OwnedWatch, position: Position) -> None:
        if owned.has_ended:
            return
        if position.revision <= self._watches.published and not owned.client.has_room:
            self._watches.wait(owned.watch, position)
            return
        self._watches.settle(owned.watch, position)
        self._show_progress_if_wanted(owned)

    # Signs of progress

    def tick(self) -> None:
        """Tries clients without room again; now and then, shows all clients the progress of their
        watches, by which one that is gone is noticed, too."""
        self._ticks += 1
        for client in self._clients:
            if not client.has_room and self._clients.try_again(client):
                self._carry_on(client)
        if self._ticks % self._progress_ticks == 0:
            self.publish()
            for client in self._clients:
                self._show_progress(client)

    def _carry_on(self, client: WatchClient) -> None:
        self._clients.forget_if_idle(client)
        for owned in list(client.watches.values()):
            self._settle(owned, self._watches.position_of(owned.watch))

    def _show_progress(self, client: WatchClient) -> None:
        quiet = [owned for owned in client.watches.values() if not owned.had_traffic]
        for owned in client.watches.values():
            owned.had_traffic = False
        if quiet:
            self._clients.send(client, [self._progress(owned) for owned in quiet])

    def _show_progress_if_wanted(self, owned: OwnedWatch) -> None:
        if owned.wants_progress and owned.watch.is_synced:
            is_sent = self._clients.send(owned.client, [self._progress(owned)])
            owned.wants_progress = not is_sent

    def _progress(self, owned: OwnedWatch) -> bytes:
        """True of every watch, however far behind it is."""
        needed = self._watches.position_of(owned.watch).revision
        return encode_events(owned.request_id, min(needed - 1, self._watches.published))

    # Ends

    def _cancel(self, owned: OwnedWatch, compact_revision: int = 0, reason: str = "") -> None:
        """Ends a watch and tells its client why. Does nothing for one that has ended."""
        if owned.has_ended:
            return
        del owned.client.watches[owned.request_id]
        self._remove(owned)
        canceled = encode_canceled(owned.request_id, compact_revision, reason)
        self._clients.answer(owned.client, canceled)
        self._clients.forget_if_idle(owned.client)

    def cancel_denied(self, why_not: Callable[[bytes, bytes, bytes], str]) -> None:
        """Ends what a client may not watch any more: `why_not(identity, key, range_end)` says why,
        "" if it still may."""
        for client in self._clients:
            for owned in list(client.watches.values()):
                reason = why_not(client.identity, *owned.watch.spot.watched)
                if reason:
                    self._cancel(owned, reason=reason)

    def _on_gone(self, client: WatchClient) -> None:
        while client.watches:
            _, owned = client.watches.popitem()
            self._remove(owned)

    def _remove(self, owned: OwnedWatch) -> None:
        self._watches.remove(owned.watch)
        self._range_bytes -= sum(map(len, owned.watch.spot.watched))
        if not self.count:
            self._store.collect_events(False)

    def close(self, reason: str) -> None:
        """Ends all watches, for a reason that clients may show; they can be carried on on another
        node."""
        for client in self._clients:
            canceled = [encode_canceled(request_id, 0, reason) for request_id in client.watches]
            if canceled:
                self._clients.send(client, canceled)
            self._on_gone(client)
            client.answers.clear()
            self._clients.forget_if_idle(client)


def _view(flags: int) -> View:
    return View(
        bool(flags & WatchFlag.PREV_KV),
        bool(flags & WatchFlag.NO_PUT),
        bool(flags & WatchFlag.NO_DELETE),
        bool(flags & WatchFlag.FRAGMENT),
    )
