"""What the runtime asks of the transport between nodes, whichever carries it.

Reading order 7. `peers.PeerTransport` carries it over ZeroMQ, `memory.MemoryPeerTransport` inside
one process. One owner thread; no call waits.
"""

from typing import Any, Protocol


class PeerCarrier(Protocol):
    @property
    def refusals(self) -> dict[int, str]:
        """Which peers refuse us, and why; for status and the log."""
        ...

    def send(self, node_id: int, payload: bytes) -> bool:
        """False: dropped and counted. True is no promise of delivery."""
        ...

    def drain(self, budget: int) -> list[tuple[int, bytes]]:
        """At most `budget` messages that have arrived, as (sender's id, payload)."""
        ...

    def pollables(self) -> list[Any]:
        """Sockets whose readability means that drain() has something."""
        ...

    def set_peer(self, node_id: int, address: str) -> None: ...
    def remove_peer(self, node_id: int) -> None: ...
    def counters(self) -> dict[str, Any]: ...
    def close(self) -> None: ...
