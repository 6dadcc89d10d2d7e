"""What the front knows of a connection, for the gRPC server that only sees its relay.

Each relay binds its own end of the unix connection to a name that nobody else has; the server sees
it as the call's peer. Names are of the abstract kind, so that none is left behind in a folder. Only
who can open the server's socket, which lies in a private folder, could claim one.
"""

import itertools
import os
import secrets
from dataclasses import dataclass

_PREFIX = "unix-abstract:"  # how gRPC writes such a peer


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection, as the outside has it."""

    address: str  # "192.0.2.1:40000"
    certificate_name: str = ""  # common name of its verified certificate


NOBODY = Peer("")


class Peers:
    """The open connections, by the names of their relays. For one event loop."""

    def __init__(self) -> None:
        self._names = itertools.count(1)
        self._family = f"metastore-{os.getpid()}-{secrets.token_hex(8)}"
        self._peers: dict[str, Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def add(self, peer: Peer) -> str:
        """A name for its relay."""
        name = f"{self._family}-{next(self._names)}"
        self._peers[name] = peer
        return name

    def find(self, seen: str) -> Peer:
        """`seen`: what gRPC says the peer is. NOBODY for one that no relay stands behind."""
        return self._peers.get(seen.removeprefix(_PREFIX), NOBODY)

    def remove(self, name: str) -> None:
        self._peers.pop(name, None)
