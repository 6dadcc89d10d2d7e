"""Dialling one peer: a DEALER to one of the places where it may be, and what is heard there.

Reading order 7, below peers.py. A place is an address and, with keys, the key that the peer must
have there. A link moves on when nobody answers, or somebody else does.
"""

from collections.abc import Sequence
from typing import NamedTuple

import zmq

from metastore.transport import limits
from metastore.transport.handshake import MISPLACED, Refusal, decode_verdict
from metastore.transport.peer_keys import PeerSecurity
from metastore.transport.sockets import Context, Socket, inproc_address, open_dealer

NOT_CONNECTED = "not connected"
QUEUE_FULL = "queue full"
# Long enough for a connection that was refused once by a node that is only starting.
DIAL_PATIENCE_S = 1.0

_NOBLOCK = int(zmq.NOBLOCK)
_FIRST_FRAME = int(zmq.NOBLOCK) | int(zmq.SNDMORE)
# From here on, handing over the memory costs less than copying it.
_COPY_BYTES_MAX = 64 << 10
# A verdict is looked for on this many sends; asking on each would double the cost of a send.
_SENDS_PER_VERDICT_CHECK = 16
# After these libzmq never connects again, though a key may be let in later, or a port change hands.
_GIVEN_UP = frozenset(
    (int(zmq.EVENT_HANDSHAKE_FAILED_AUTH), int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL))
)
_EVENTS = (
    zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | sum(_GIVEN_UP)
)


class Place(NamedTuple):
    address: str
    server_key: str  # "": without keys


class PeerLink:
    """The DEALER to one peer, whether it is connected, and what the peer last said about us."""

    __slots__ = (
        "_connected_at",
        "_context",
        "_has_failed",
        "_header",
        "_is_given_up",
        "_is_in_handshake",
        "_monitor",
        "_place",
        "_places",
        "_security",
        "_sends_until_check",
        "_socket",
        "is_connected",
        "refusal",
    )

    def __init__(
        self,
        context: Context,
        header: bytes,
        places: Sequence[Place],
        security: PeerSecurity | None,
        now: float,
    ) -> None:
        """`places`, at least one: valid addresses, the likeliest first. `header` opens every
        message; it names who is speaking and to whom. `now`: seconds of a monotonic clock."""
        self._context = context
        self._header = header
        self._security = security
        self._places = tuple(places)
        self._dial(self._places[0], now)

    def _dial(self, place: Place, now: float) -> None:
        self._place = place
        self._connected_at = now  # when it was last seen connected; until then, when it was dialled
        self._is_in_handshake = False  # for the first time since the last failure
        self._has_failed = False
        self._is_given_up = False
        self.is_connected = False
        self.refusal: Refusal | None = None
        self._sends_until_check = _SENDS_PER_VERDICT_CHECK
        self._monitor = self._context.socket(zmq.PAIR)
        security = self._security
        self._socket = open_dealer(
            self._context,
            place.address,
            # It holds cluster, incarnation and whom we dialled: neither a stranger with the same
            # node id nor our own link to another node can take over (ROUTER_HANDOVER) this one.
            routing_id=self._header,
            frame_bytes_max=limits.PEER_PAYLOAD_BYTES_MAX,
            send_max=limits.PEER_SEND_QUEUE_MAX,
            receive_max=limits.VERDICT_QUEUE_MAX,
            prepare=self._start_monitor,
            curve=None if security is None else security.as_client(place.server_key),
        )

    def _start_monitor(self, socket: Socket) -> None:
        endpoint = inproc_address("monitor")
        socket.monitor(endpoint, _EVENTS)
        self._monitor.setsockopt(zmq.LINGER, 0)
        # Unlimited: a full monitor queue would block libzmq's I/O thread, and with it every socket.
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.connect(endpoint)

    def follow(self, places: Sequence[Place], now: float) -> None:
        """The peer may be at these places now, at least one. A connection to one of them stays."""
        places = tuple(places)
        if places == self._places:
            return
        self._places = places
        self.check_state()
        if self._place not in places or not self.is_connected:
            self._move_to(places[0], now)

    def tick(self, now: float) -> None:
        """Goes to the next place if nobody answers at this one, or somebody else."""
        self.check_state()
        if len(self._places) == 1 and not self._is_given_up:
            return  # libzmq tries again by itself, and asks for the name's address again
        if self.refusal not in MISPLACED:
            if self.is_connected:
                self._connected_at = now
            # A handshake over a slow line takes long; libzmq ends one that takes too long.
            if self._is_in_handshake or now - self._connected_at < DIAL_PATIENCE_S:
                return
        following = (self._places.index(self._place) + 1) % len(self._places)
        self._move_to(self._places[following], now)

    def _move_to(self, place: Place, now: float) -> None:
        self.close()
        self._dial(place, now)

    def send(self, payload: bytes) -> str:
        """ "" when handed to libzmq, else the reason of the drop."""
        try:
            self._socket.send(self._header, _FIRST_FRAME)
            self._socket.send(payload, _NOBLOCK, copy=len(payload) <= _COPY_BYTES_MAX)
        except zmq.Again:
            self._read_monitor()
            return QUEUE_FULL if self.is_connected else NOT_CONNECTED
        self._sends_until_check -= 1
        if self._sends_until_check <= 0:
            self.check_state()
        return ""

    def check_state(self) -> None:
        self._sends_until_check = _SENDS_PER_VERDICT_CHECK
        self._read_monitor()
        for _ in range(limits.VERDICT_QUEUE_MAX):
            try:
                self.refusal = decode_verdict(self._socket.recv_multipart(_NOBLOCK))
            except zmq.Again:
                return
            except ValueError:
                continue  # not a verdict, and nothing else may come this way

    def _read_monitor(self) -> None:
        while True:
            try:
                event = self._monitor.recv_multipart(_NOBLOCK)[0]
            except zmq.Again:
                return
            number = int.from_bytes(event[:2], "little")
            self.is_connected = number == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if number == zmq.EVENT_CONNECTED:
                self._is_in_handshake = not self._has_failed
                continue
            self._is_in_handshake = False
            self._has_failed = not self.is_connected
            self._is_given_up = self._is_given_up or number in _GIVEN_UP
            if not self.is_connected:
                self.refusal = None  # whoever answers next decides anew

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
