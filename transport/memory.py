"""Messages between nodes inside one process, under a seed: the same contract without sockets.

Reading order 12. For tests and the simulator: every drop, duplicate and cut is decided by one
injected generator, so the same seed gives the same deliveries in the same order.
"""

import random
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from metastore.transport import limits
from metastore.transport.counters import ANYBODY, Counters
from metastore.transport.handshake import (
    MISPLACED,
    Admission,
    Header,
    Refusal,
    encode_header,
)
from metastore.transport.links import NOT_CONNECTED, QUEUE_FULL
from metastore.transport.peers import UNKNOWN_PEER


class MemoryNetwork:
    """Joins MemoryPeerTransports by address. Probabilities are per message, 0.0 to 1.0."""

    def __init__(
        self,
        seed: int,
        *,
        drop_probability: float = 0.0,
        duplicate_probability: float = 0.0,
    ) -> None:
        self.drop_probability = drop_probability
        self.duplicate_probability = duplicate_probability
        self._random = random.Random(seed)
        self._listening: dict[str, MemoryPeerTransport] = {}
        self._cut: set[tuple[str, str]] = set()
        self.lost_count = 0

    def listen(self, address: str, transport: "MemoryPeerTransport") -> None:
        """A second listener takes over, as a restarted node does."""
        self._listening[address] = transport

    def leave(self, address: str, transport: "MemoryPeerTransport") -> None:
        if self._listening.get(address) is transport:
            del self._listening[address]

    def cut(self, source: str, target: str) -> None:
        """Loses everything from one address to the other, in this direction, silently."""
        self._cut.add((source, target))

    def partition(self, side: Iterable[str], other: Iterable[str]) -> None:
        """Cuts both directions between two sets of addresses."""
        others = tuple(other)
        for one in side:
            for two in others:
                self._cut |= {(one, two), (two, one)}

    def heal(self) -> None:
        self._cut.clear()

    def receiver_or_none(self, address: str) -> "MemoryPeerTransport | None":
        return self._listening.get(address)

    def copies(self, source: str, target: str) -> int:
        """How many times this message arrives: 0, 1 or 2. Draws twice whatever the outcome, so that
        a cut does not shift the fate of later messages."""
        is_dropped = self._random.random() < self.drop_probability
        is_doubled = self._random.random() < self.duplicate_probability
        if is_dropped or (source, target) in self._cut:
            self.lost_count += 1
            return 0
        return 2 if is_doubled else 1


class MemoryPeerTransport:
    """Implements contract.PeerCarrier; `address` is any text, unique in its network. Its patience
    with a place where nobody answers is one tick."""

    def __init__(
        self,
        cluster_id: int,
        node_id: int,
        directory_id: int,
        incarnation: int,
        address: str,
        network: MemoryNetwork,
    ) -> None:
        self.address = address
        self._network = network
        self._header = Header(cluster_id, node_id, directory_id, incarnation)
        self._admission = Admission(cluster_id, node_id, {})
        self._places: dict[int, deque[str]] = {}  # the first one is where the peer is looked for
        self._inbox: deque[tuple[MemoryPeerTransport, bytes, bytes]] = deque()
        self._dropped = Counters()
        self._refused = Counters()
        self._sent: dict[int, int] = {}
        self._received: dict[int, int] = {}
        self._refusals: dict[str, Refusal] = {}
        network.listen(address, self)

    def send(self, node_id: int, payload: bytes) -> bool:
        places = self._places.get(node_id)
        if places is None:
            self._dropped.count(ANYBODY, UNKNOWN_PEER)
            return False
        address = places[0]
        reason = self._reason_to_drop(address, payload)
        if reason:
            self._dropped.count(node_id, reason)
            return False
        self._sent[node_id] = self._sent.get(node_id, 0) + 1
        receiver = self._network.receiver_or_none(address)
        header = encode_header(self._header._replace(to=node_id))
        for _ in range(self._network.copies(self.address, address)):
            if receiver is not None:
                receiver._inbox.append((self, header, payload))
        return True

    def _reason_to_drop(self, address: str, payload: bytes) -> str:
        if len(payload) > limits.PEER_PAYLOAD_BYTES_MAX:
            return Refusal.OVERSIZED.value
        receiver = self._network.receiver_or_none(address)
        if receiver is None:
            return NOT_CONNECTED
        if len(receiver._inbox) >= limits.PEER_SEND_QUEUE_MAX + limits.PEER_RECEIVE_QUEUE_MAX:
            return QUEUE_FULL
        return ""

    def drain(self, budget: int) -> list[tuple[int, bytes]]:
        arrived: list[tuple[int, bytes]] = []
        bytes_left = limits.PEER_DRAIN_BYTES_MAX
        while self._inbox and budget > 0 and bytes_left > 0:
            budget -= 1
            source, header, payload = self._inbox.popleft()
            verdict = self._admission.judge(header)
            if isinstance(verdict, Refusal):
                self._refused.count(self._admission.counted_as(header), verdict.value)
                source._refusals[self.address] = verdict
                continue
            source._refusals.pop(self.address, None)
            self._received[verdict] = self._received.get(verdict, 0) + 1
            arrived.append((verdict, payload))
            bytes_left -= len(payload)
        return arrived

    def pollables(self) -> list[Any]:
        """None: whoever drives this transport drains it at every turn."""
        return []

    def set_members(
        self,
        addresses: Mapping[int, Sequence[str]],
        directories: Mapping[int, int],
        removed: Collection[int],
    ) -> None:
        self._admission.set_members(directories, removed)
        before, self._places = self._places, {}
        for peer, places in addresses.items():
            if places and peer != self._header.node_id:
                current = before.get(peer, deque(places))
                is_as_before = set(current) == set(places)
                self._places[peer] = current if is_as_before else deque(dict.fromkeys(places))

    def tick(self) -> None:
        for places in self._places.values():
            is_misplaced = self._refusals.get(places[0]) in MISPLACED
            is_silent = self._network.receiver_or_none(places[0]) is None
            if len(places) > 1 and (is_misplaced or is_silent):
                self._refusals.pop(places[0], None)
                places.rotate(-1)

    @property
    def refusals(self) -> dict[int, str]:
        return {
            peer: str(self._refusals[places[0]])
            for peer, places in self._places.items()
            if places[0] in self._refusals
        }

    def counters(self) -> dict[str, Any]:
        return {
            "sent": dict(self._sent),
            "received": dict(self._received),
            "dropped": self._dropped.as_dict(),
            "refused": self._refused.as_dict(),
            "connected": [
                peer
                for peer, places in self._places.items()
                if self._network.receiver_or_none(places[0]) is not None
            ],
        }

    def close(self) -> None:
        self._network.leave(self.address, self)
        self._inbox.clear()
