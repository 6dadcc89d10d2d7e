"""The socket of clients: a ROUTER that takes many frames per message and answers in kind.

Reading order 10. Used by one thread, the loop; no call waits. Malformed frames are counted and
answered here, so that the loop sees only frames that keep the protocol.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

import zmq

from metastore.transport import limits
from metastore.transport.counters import ANYBODY, Counters
from metastore.transport.envelope import ClientFrame, decode_client_frame, encode_error
from metastore.transport.errors import Malformed
from metastore.transport.framing import ErrorCode
from metastore.transport.security import CurveServer
from metastore.transport.sockets import (
    Context,
    Socket,
    close_router,
    open_router,
    send_frames,
)

GONE = "gone"  # a reply to a client that is no longer connected
SLOW = "slow"  # a reply to a client that does not read
MALFORMED = "malformed"
UNKNOWN_KEY = "unknown key"  # let in when it came, but its key was taken out since
NO_LONGER_KNOWN = "metastore: the key of this connection is not allowed any more"

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
    user: str = ""  # the public key of the connection in Z85; "" without keys


def anybody(user: str) -> bool:
    """For who asks about keys elsewhere, or has none."""
    return True


class ClientServer:
    """Raises BindFailed from the constructor. `address` is where it really listens. With `curve`,
    each message carries the key of its connection; one that is no longer known is refused here."""

    def __init__(
        self,
        bind: str,
        context: Context,
        curve: CurveServer | None = None,
        is_known: Callable[[str], bool] = anybody,
    ) -> None:
        self._is_known = is_known
        self._has_keys = curve is not None
        self._dropped = Counters()
        self._received_count = 0
        self._replied_count = 0
        self._router, self.address = open_router(
            context,
            bind,
            frame_bytes_max=limits.CLIENT_FRAME_BYTES_MAX,
            send_max=limits.CLIENT_SEND_QUEUE_MAX,
            receive_max=limits.CLIENT_RECEIVE_QUEUE_MAX,
            curve=curve,
            # A client's ids are easily guessed: one could have another's answers.
            takes_over=False,
        )

    def pollables(self) -> list[Socket]:
        return [self._router]

    def drain(self, budget: int) -> list[ClientMessage]:
        """Stops at `budget` frames (one ZeroMQ message may overshoot it by CLIENT_FRAMES_MAX), at
        CLIENT_DRAIN_BYTES_MAX bytes or at an empty socket."""
        arrived: list[ClientMessage] = []
        receive = self._router.recv_multipart
        has_keys = self._has_keys
        user = ""
        bytes_left = limits.CLIENT_DRAIN_BYTES_MAX
        frames_left = budget
        while frames_left > 0 and bytes_left > 0:
            try:
                if has_keys:
                    parts, user = self._receive_with_user()
                else:
                    parts = receive(_NOBLOCK)
            except zmq.Again:
                break
            # At least one, so that messages without a frame cannot hold the loop.
            frames_left -= max(1, len(parts) - 1)
            bytes_left -= sum(map(len, parts))
            self._decode(parts, user, arrived)
        self._received_count += len(arrived)
        return arrived

    def _receive_with_user(self) -> tuple[list[bytes], str]:
        """Raises zmq.Again."""
        first = self._router.recv(_NOBLOCK, copy=False)  # only a Frame knows its connection
        parts = [first.bytes]
        if first.more:  # the rest of a message is there as soon as its first frame is
            parts += self._router.recv_multipart(_NOBLOCK)
        return parts, str(first.get("User-Id"))

    def _decode(self, parts: list[bytes], user: str, arrived: list[ClientMessage]) -> None:
        identity = parts[0]
        if not 2 <= len(parts) <= limits.CLIENT_FRAMES_MAX + 1:
            count = limits.CLIENT_FRAMES_MAX
            self._refuse(identity, Malformed(f"a message has 1 to {count} frames"))
            return
        is_refused = self._has_keys and not self._is_known(user)
        for data in parts[1:]:
            try:
                frame = decode_client_frame(data)
                if is_refused:
                    self._refuse_key(identity, frame.request_id)
                else:
                    arrived.append(ClientMessage(identity, frame, user))
            except Malformed as error:
                self._refuse(identity, error)

    def _refuse(self, identity: bytes, error: Malformed) -> None:
        self._dropped.count(ANYBODY, MALFORMED)
        self.reply(identity, (encode_error(error.request_id, error.code, error.reason),))

    def _refuse_key(self, identity: bytes, request_id: int) -> None:
        self._dropped.count(ANYBODY, UNKNOWN_KEY)
        code = ErrorCode.PERMISSION_DENIED
        self.reply(identity, (encode_error(request_id, code, NO_LONGER_KNOWN),))

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
        close_router(self._router)
