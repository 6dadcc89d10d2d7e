"""The keys of the nodes, as the sockets between nodes use them: own, of the others, still valid?

Reading order 7. ZAP is asked once per connection, at its start (zap.py); here the key is asked
about again with every message, so that one taken out of the file stops working at once.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import zmq

from metastore.transport.security import CurveClient, CurveServer, Keys, Watch
from metastore.transport.sockets import Socket

_NOBLOCK = int(zmq.NOBLOCK)


class PeerSecurity(NamedTuple):
    """What a node needs to encrypt towards other nodes. `server_keys`: public keys that one of them
    may have, tried in turn. `is_allowed(public key)`: whether a node has this key; it is asked on
    whichever thread received a message, and must not wait."""

    keys: Keys
    server_keys: Sequence[str]
    is_allowed: Callable[[str], bool]
    watch: Watch | None = None  # of handshakes that fail before a key is shown

    def as_server(self, domain: str) -> CurveServer:
        return CurveServer(self.keys, domain, self.watch)

    def as_client(self, server_key: str) -> CurveClient:
        return CurveClient(self.keys, server_key)


class KeyedReading:
    """Reads a ROUTER's messages together with the public key of who sent each. One thread reads;
    `forget` may come from another."""

    __slots__ = ("_is_allowed", "_known", "_socket")

    def __init__(self, socket: Socket, security: PeerSecurity | None) -> None:
        """Without `security`, everybody is allowed and has no key."""
        self._socket = socket
        self._is_allowed = None if security is None else security.is_allowed
        self._known: dict[str, bool] = {}

    def forget(self) -> None:
        """The keys have changed: every one is asked about again."""
        self._known = {}

    def receive(self) -> tuple[list[bytes], str, bool]:
        """The frames, the key in Z85 ("" if there is none) and whether it is a node's. Raises
        zmq.Again."""
        if self._is_allowed is None:
            return self._socket.recv_multipart(_NOBLOCK), "", True
        first = self._socket.recv(_NOBLOCK, copy=False)
        parts = [first.bytes]
        if first.more:
            # The rest of a message is there as soon as its first frame is.
            parts += self._socket.recv_multipart(_NOBLOCK)
        key = _key_of(first)
        known = self._known  # one table throughout: `forget` may come in between
        is_allowed = known.get(key)
        if is_allowed is None:
            is_allowed = known[key] = bool(key) and self._is_allowed(key)
        return parts, key, is_allowed


def _key_of(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("User-Id"))
    except (zmq.ZMQError, ValueError):
        return ""  # a connection that no key was asked of
