"""The client's keys: its own pair, the public keys that a node may have, and which of them it has.

Reading order 6 of the client. Read from its file once, when the client is made; the secret half
goes to libzmq only. Server keys are tried in turn, one with each connection. Opens no socket.
"""

import os
from collections.abc import Sequence

import zmq

from metastore.client.errors import InvalidRequest
from metastore.transport.errors import KeyFileInvalid, KeyInvalid
from metastore.transport.security import CurveClient, Keys, check_public_key, read_key_file

REFUSED_KEY = "it refused our key; is its public half in the access file of the node?"
CANNOT_CHECK = "it could not check our key; is it just starting or ending?"
OTHER_KEY = "it does not use keys, or has another key than those in server_keys, or went away"
USES_KEYS = "the handshake failed; does it use keys (key_file and server_keys)?"

HANDSHAKE_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_ZAP_REFUSED = 400  # of ZAP (RFC 27); 300 and 500 are troubles of the node's


class ClientSecurity:
    """Any thread may use it: every method reads or sets one value."""

    def __init__(self, keys: Keys, server_keys: Sequence[str]) -> None:
        """`server_keys`: at least one, in Z85. What is tried first is what worked last."""
        self._keys = keys
        self._server_keys = tuple(server_keys)
        self._first = 0  # index of the one that worked last, anywhere
        self._next: dict[str, int] = {}  # address -> index of the one to try

    @property
    def server_keys_count(self) -> int:
        return len(self._server_keys)

    def curve(self, address: str) -> CurveClient:
        """For the next connection to the address."""
        at = self._next.get(address, self._first)
        return CurveClient(self._keys, self._server_keys[at])

    def on_worked(self, address: str, curve: CurveClient) -> None:
        """Somebody with this key answered there."""
        self._next[address] = self._first = self._server_keys.index(curve.server_key)

    def on_failed(self, address: str, curve: CurveClient) -> bool:
        """Nobody with this key is there. False once that was the last one of a round: who tries on
        then should wait a little."""
        at = (self._server_keys.index(curve.server_key) + 1) % len(self._server_keys)
        self._next[address] = at
        return at != self._first


def read_security(
    key_file: str | os.PathLike[str] | None, server_keys: str | Sequence[str]
) -> ClientSecurity | None:
    """None: neither is given, and nothing is encrypted. `server_keys`: a sequence, or one text with
    commas. Raises InvalidRequest, which never quotes a key."""
    given = server_keys.split(",") if isinstance(server_keys, str) else list(server_keys)
    wanted = list(dict.fromkeys(key.strip() for key in given if key.strip()))
    if not key_file and not wanted:
        return None
    if not key_file:
        raise InvalidRequest(
            "server_keys without key_file; give the file of the client's own key, too "
            "(`metastore keygen` makes one)"
        )
    if not wanted:
        raise InvalidRequest(
            "key_file without server_keys; give the public keys of the nodes, too "
            "(`metastore keygen --public` prints that of a node's file)"
        )
    for number, key in enumerate(wanted, 1):
        try:
            check_public_key(key)
        except KeyInvalid as error:
            raise InvalidRequest(f"server_keys, number {number}: {error}") from None
    try:
        return ClientSecurity(read_key_file(key_file), wanted)
    except KeyFileInvalid as error:
        raise InvalidRequest(str(error)) from None


def why_failed(event: int, value: int, curve: CurveClient | None) -> str:
    """A handshake failure, as the monitor of a connecting socket tells it (`event` and `value`)."""
    if curve is None:
        return USES_KEYS
    if event != zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return OTHER_KEY
    return REFUSED_KEY if value == _ZAP_REFUSED else CANNOT_CHECK


def is_of_server_key(event: int) -> bool:
    """Whether another server key may help: one that refused our key has the one we expected."""
    return bool(event & HANDSHAKE_FAILURES) and event != zmq.EVENT_HANDSHAKE_FAILED_AUTH
