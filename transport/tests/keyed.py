"""Sockets with keys, as the tests of zap.py, handshake_watch.py and the servers open them."""

from typing import Any

import zmq

from metastore.transport.security import CurveClient, CurveServer, Keys, new_keys
from metastore.transport.sockets import open_dealer, open_router

ANY_PORT = "tcp://127.0.0.1:*"
SERVER = new_keys()
KNOWN = new_keys()
UNKNOWN = new_keys()
SIZES: dict[str, Any] = {"frame_bytes_max": 1000, "send_max": 8, "receive_max": 8}
WAIT_MS = 20_000


def listen(context: Any, domain: str = "client", watch: Any = None) -> tuple[Any, str]:
    return open_router(context, ANY_PORT, curve=CurveServer(SERVER, domain, watch), **SIZES)


def _configure(socket: Any) -> None:
    # What is sent before the connection stands is kept, and sent if it ever does.
    socket.setsockopt(zmq.IMMEDIATE, 0)
    socket.setsockopt(zmq.RCVTIMEO, WAIT_MS)


def connect(
    context: Any, address: str, keys: Keys | None = KNOWN, server_key: str = SERVER.public
) -> Any:
    """A DEALER; without `keys` it speaks in plaintext."""
    curve = None if keys is None else CurveClient(keys, server_key)
    return open_dealer(context, address, routing_id=b"", prepare=_configure, curve=curve, **SIZES)


def hears(router: Any) -> bytes | None:
    """The last frame of the next message, None if there is none in time."""
    return router.recv_multipart()[-1] if router.poll(WAIT_MS) else None
