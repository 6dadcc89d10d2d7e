"""The socket of clients: a ROUTER that takes many frames per message and answers in kind.

Reading order 10. Used by one thread, the loop; no call waits. Malformed frames are counted and
answered here, so that the loop sees only frames that keep the protocol.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import zmq

from metastore.transport import limits
from metastore.transport.counters import ANYBODY, Counters
from metastore.transport.envelope import ClientFrame, decode_client_frame, encode_error
from metastore.transport.errors import Malformed
from metastore.transport.sockets import Context, Socket, open_router, send_frames

GONE = "gone"  # a reply to a client that is no longer connected
SLOW = "slow"  # a reply to a client that does not read
MALFORMED = "malformed"

_NOBLOCK = int(zmq.NOBLOCK)


class Delivery(Enum):
    """What became of a reply; true if it was sent."""

    SENT = "sent"
    SLOW = SLOW
    GONE = GONE

    def __bool__(self) -> bool:
        return self is Delivery.SENT


class ClientMessage(NamedTuple):
    identity: bytes  # opaque; where the reply goes
    frame: ClientFrame


class ClientServer:
    """Raises BindFailed from the constructor. `address` is where it really listens."""

    def __init__(self, bind: str, context: Context) -> None:
        self._dropped = Counters()
        self._received_count = 0
        self._replied_count = 0
        self._router, self.address = open_router(
            context,
            bind,
            frame_bytes_max=limits.CLIENT_FRAME_BYTES_MAX,
            send_max=limits.CLIENT_SEND_QUEUE_MAX,
            receive_max=limits.CLIENT_RECEIVE_QUEUE_MAX,
        )

    def pollables(self) -> list[Socket]:
        return [self._router]

    def drain(self, budget: int) -> list[ClientMessage]:
        """Stops at `budget` frames (one ZeroMQ message may overshoot it by CLIENT_FRAMES_MAX), at
        CLIENT_DRAIN_BYTES_MAX bytes or at an empty socket."""
        arrived: list[ClientMessage] = []
        receive = self._router.recv_multipart
        bytes_left = limits.CLIENT_DRAIN_BYTES_MAX
        frames_left = budget
        while frames_left > 0 and bytes_left > 0:
            try:
                parts = receive(_NOBLOCK)
            except zmq.Again:
                break
            # At least one, so that messages without a frame cannot hold the loop.
            frames_left -= max(1, len(parts) - 1)
            bytes_left -= sum(map(len, parts))
            self._decode(parts, arrived)
        self._received_count += len(arrived)
        return arrived

    def _decode(self, parts: list[bytes], arrived: list[ClientMessage]) -> None:
        identity = parts[0]
        if not 2 <= len(parts) <= limits.CLIENT_FRAMES_MAX + 1:
            count = limits.CLIENT_FRAMES_MAX
            self._refuse(identity, Malformed(f"a message has 1 to {count} frames"))
            return
        for data in parts[1:]:
            try:
                arrived.append(ClientMessage(identity, decode_client_frame(data)))
            except Malformed as error:
                self._refuse(identity, error)

    def _refuse(self, identity: bytes, error: Malformed) -> None:
        self._dropped.count(ANYBODY, MALFORMED)
        self.reply(identity, (encode_error(error.request_id, error.code, error.reason),))

    def reply(self, identity: bytes, frames: Sequence[bytes]) -> Delivery:
        """One message with these frames. If not sent, it is dropped and counted; who waits for an
        answer will time out, a watch can be carried on with later."""
        try:
            send_frames(self._router, (identity, *frames))
        except zmq.Again:
            self._dropped.count(ANYBODY, SLOW)
            return Delivery.SLOW
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._dropped.count(ANYBODY, GONE)
            return Delivery.GONE
        self._replied_count += len(frames)
        return Delivery.SENT

    def counters(self) -> dict[str, Any]:
        """{"received": frames, "replied": frames, "dropped": {reason: count}}; a copy."""
        return {
            "received": self._received_count,
            "replied": self._replied_count,
            "dropped": self._dropped.as_dict().get(ANYBODY, {}),
        }

    def close(self) -> None:
        """Never waits; unsent replies are gone."""
        self._router.close(0)
