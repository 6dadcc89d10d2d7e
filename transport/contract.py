"""What the runtime asks of the transport between nodes, whichever carries it.

Reading order 7. `peers.PeerTransport` carries it over ZeroMQ, `memory.MemoryPeerTransport` inside
one process. One owner thread; no call waits.
"""

from collections.abc import Collection, Mapping, Sequence
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

    def set_members(
        self,
        addresses: Mapping[int, Sequence[str]],
        directories: Mapping[int, int],
        removed: Collection[int],
    ) -> None:
        """Who is who from now on: where each peer may be, the likeliest place first; which data
        directory it must have (0: any); which ids must never speak again. Raises BadAddress; then
        nothing changed."""
        ...

    def tick(self) -> None:
        """Once per tick of the loop: looks for lost peers at their next place."""
        ...

    def counters(self) -> dict[str, Any]: ...
    def close(self) -> None: ...
