"""Where a member is that was named by its peer URL alone, as etcd names members.

Reading order 5 of the client, beside members.py. Pure. A node has four sockets, and etcd's flags
and calls know one of them; so that everybody finds the other three without asking, they follow
from its port. A node that was started with addresses of its own tells those when it comes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from metastore.transport.addresses import Address

# Of the port of the peer URL; modulo, so that any port has its three.
DISTANCES = {"peer": 0, "client": 3000, "status": 6000, "snapshot": 9000}
_PORTS_END = 65_536
_PORTS_BEGIN = 1024


class Place(NamedTuple):
    """Where a member is reached by the others."""

    host: str
    port: int

    def address(self, socket: str) -> str:
        """`socket`: a key of DISTANCES."""
        port = self.port + DISTANCES[socket]
        if port >= _PORTS_END:
            port = port - _PORTS_END + _PORTS_BEGIN
        return str(Address(self.host, port))

    @property
    def addresses(self) -> Sequence[str]:
        return [self.address(socket) for socket in DISTANCES]
