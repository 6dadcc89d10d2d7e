"""The keys of one node: its own pair, and the file that says whom it lets in.

Read by process.py before a data directory is touched, so that a mistake in it changes nothing;
sockets.py makes the sockets encrypt with it. Without key_file there is none, and only loopback
addresses are bound unless settings say `insecure`.
"""

from dataclasses import dataclass

from metastore.node.access.file import AccessFile
from metastore.node.settings import Settings
from metastore.transport.peer_keys import PeerSecurity
from metastore.transport.security import (
    PEER_DOMAIN,
    SNAPSHOT_DOMAIN,
    CurveClient,
    CurveServer,
    Keys,
    Watch,
    read_key_file,
)

_NODES_ONLY = frozenset((PEER_DOMAIN, SNAPSHOT_DOMAIN))


@dataclass(frozen=True, slots=True)
class NodeSecurity:
    """`why_not` may be called by any thread; the file is read again by the loop's."""

    keys: Keys
    access: AccessFile

    def server(self, domain: str, watch: Watch) -> CurveServer:
        return CurveServer(self.keys, domain, watch)

    def curves(self) -> list[CurveClient]:
        """For each key that a node may have, how to reach it; to be tried in turn."""
        return [CurveClient(self.keys, key) for key in self.server_keys()]

    def for_peers(self, watch: Watch) -> PeerSecurity:
        return PeerSecurity(self.keys, self.server_keys(), self.is_node, watch)

    def server_keys(self) -> list[str]:
        """One of these belongs to whoever is dialled."""
        return sorted(self.access.current.node_keys)

    def is_node(self, key: str) -> bool:
        return key in self.access.current.node_keys

    def why_not(self, domain: str, key: str) -> str:
        """Why the holder of a key may not connect to this socket; "" if it may."""
        access = self.access.current
        if key in access.node_keys:
            return ""
        client = access.clients.get(key)
        if client is None:
            return "its key is not in the access file"
        if domain in _NODES_ONLY:
            return f"it is the key of client {client.name!r}, not of a node"
        return ""


def read_security(settings: Settings) -> NodeSecurity | None:
    """Raises KeyFileInvalid, AccessInvalid."""
    if settings.key_file is None or settings.access_file is None:
        return None
    keys = read_key_file(settings.key_file)
    return NodeSecurity(keys, AccessFile(settings.access_file, keys.public))
