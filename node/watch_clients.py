"""The clients that watch: what each one watches, and whether it has room for more.

Reading order: below watching.py. A socket refuses what a client has no room for; that is found out
again with every tick, and until then nothing is sent to it. Only the small answers (WATCHED,
CANCELED) are kept for it meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from metastore.engines.watches import Due, Position, Watch
from metastore.transport.clients import Delivery
from metastore.transport.watch_frames import encode_event_list, encode_events

ANSWERS_WAITING_MAX: Final = 40_000  # of one client without room
SEND_FRAMES_MAX: Final = 1_024  # with events, in one publish or one flush
SEND_BYTES_MAX: Final = 16 << 20

TOO_LARGE = "metastore: a revision is too large for one frame; watch it in fragments"

Reply: TypeAlias = Callable[[bytes, Sequence[bytes]], Delivery]


class WatchClient:
    """A connection with watches, or with answers that it had no room for."""

    __slots__ = ("answers", "has_room", "identity", "watches")

    def __init__(self, identity: bytes) -> None:
        self.identity = identity
        self.watches: dict[int, OwnedWatch] = {}  # by request id
        self.answers: list[bytes] = []  # to be sent before anything else
        self.has_room = True  # as far as it is known


class OwnedWatch:
    """A watch, by the id that its client gave it."""

    __slots__ = ("client", "had_traffic", "request_id", "wants_progress", "watch")

    watch: Watch

    def __init__(self, client: WatchClient, request_id: int) -> None:
        self.client = client
        self.request_id = request_id
        self.wants_progress = False
        self.had_traffic = False  # since the last sign of progress

    @property
    def has_ended(self) -> bool:
        return self.client.watches.get(self.request_id) is not self


class WatchClients:
    """By identity. `on_gone` is called for a client that is no longer connected, or that asks on
    and on without ever reading; it is not among the clients any more then."""

    def __init__(self, reply: Reply, on_gone: Callable[[WatchClient], None]) -> None:
        self._reply = reply
        self._on_gone = on_gone
        self._clients: dict[bytes, WatchClient] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[WatchClient]:
        return iter(list(self._clients.values()))

    def get(self, identity: bytes) -> WatchClient | None:
        return self._clients.get(identity)

    def take(self, identity: bytes) -> WatchClient:
        """Makes it if there is none."""
        return self._clients.setdefault(identity, WatchClient(identity))

    def send(self, client: WatchClient, frames: Sequence[bytes]) -> bool:
        """One message, at once or not at all."""
        if not client.has_room:
            return False
        delivery = self._reply(client.identity, frames)
        if delivery is Delivery.GONE:
            self._drop(client)
        client.has_room = delivery is not Delivery.SLOW
        return delivery is Delivery.SENT

    def answer(self, client: WatchClient, frame: bytes) -> None:
        """Sends it now, or as soon as there is room."""
        if self.send(client, [frame]) or client.has_room:
            return  # sent, or gone
        client.answers.append(frame)
        if len(client.answers) > ANSWERS_WAITING_MAX:
            self._drop(client)

    def try_again(self, client: WatchClient) -> bool:
        """Whether there is room now for a client that had none."""
        client.has_room = True
        if client.answers and not self.send(client, client.answers):
            return False
        client.answers.clear()
        return True

    def forget_if_idle(self, client: WatchClient) -> None:
        if not client.watches and not client.answers:
            self._clients.pop(client.identity, None)

    def _drop(self, client: WatchClient) -> None:
        if self._clients.pop(client.identity, None) is not None:
            client.answers.clear()
            self._on_gone(client)


class Room:
    """What may still be sent in this call."""

    __slots__ = ("bytes", "frames")

    def __init__(self) -> None:
        self.frames = SEND_FRAMES_MAX
        self.bytes = SEND_BYTES_MAX

    def __bool__(self) -> bool:
        return self.frames > 0 and self.bytes > 0


class Sending:
    """The frames of one watch, as far as its credit and the room go."""

    __slots__ = ("end", "frames", "owned", "refusal", "start")

    def __init__(self, due: Due, room: Room) -> None:
        self.owned: OwnedWatch = due.watch.owner
        self.start: Position = due.start
        self.end: Position = due.end  # where the watch stands once they are sent
        self.frames: list[bytes] = []
        self.refusal = ""  # why the watch ends there
        position = due.start
        for piece in due.pieces:
            has_credit = len(self.frames) < due.watch.credit
            if not has_credit or not room or not self.owned.client.has_room:
                self.end = position
                return
            if piece.events is None:
                self.end = position
                self.refusal = TOO_LARGE
                return
            data = piece.encoded(encode_event_list)
            request_id = self.owned.request_id
            frame = encode_events(request_id, piece.revision, data, piece.is_fragment)
            self.frames.append(frame)
            room.frames -= 1
            room.bytes -= len(frame)
            position = piece.end
