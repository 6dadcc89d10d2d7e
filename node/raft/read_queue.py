"""Reads that wait for the leader to prove its leadership, and how long the proof holds (§6.4 of the
dissertation).

Reading order 6 of 12, beside state.py. A plain value of one leader's term: it sends nothing.
"""

from collections import deque
from dataclasses import dataclass

from metastore.node.raft.messages import ReadIndex
from metastore.node.raft.model import NO_LIMIT

# Unanswered rounds of heartbeats to remember; forgetting older ones only shortens the lease.
ROUNDS_MAX = 64


@dataclass(frozen=True, slots=True)
class PendingRead:
    sequence: int
    read_index: int  # the commit index when the read was asked
    request: ReadIndex


class ReadQueue:
    """Reads in the order asked. `sequence` counts them and the rounds of heartbeats; heartbeats
    carry the newest number, and an answered number also confirms all earlier ones."""

    __slots__ = ("_rounds", "acknowledged", "lease_tick", "parked", "pending", "sequence")

    def __init__(self, tick: int) -> None:
        # A quorum had not heard of another leader at this tick, or later. At first the tick of the
        # election: whoever accepted the entry that the leader has to commit first heard of it then.
        self.lease_tick = tick
        self._rounds: deque[tuple[int, int]] = deque(maxlen=ROUNDS_MAX)  # (sequence, tick)
        self.sequence = 0
        self.pending: deque[PendingRead] = deque()
        self.acknowledged: dict[int, int] = {}  # node -> highest sequence it has answered
        self.parked: list[ReadIndex] = []  # asked before the first commit of the term

    @property
    def sequence_to_confirm(self) -> int:
        """What heartbeats carry: the newest number, 0 if nothing waits for an answer."""
        return self.sequence if self.is_waiting else 0

    @property
    def is_waiting(self) -> bool:
        return bool(self.pending or self._rounds)

    def end_lease(self) -> None:
        """Until the next round of heartbeats is answered by a quorum."""
        self.lease_tick = -NO_LIMIT

    def begin_round(self, tick: int) -> None:
        """Heartbeats are about to be sent at this tick; their answers renew the lease."""
        self.sequence += 1
        self._rounds.append((self.sequence, tick))

    def add(self, read_index: int, request: ReadIndex) -> None:
        self.sequence += 1
        self.pending.append(PendingRead(self.sequence, read_index, request))

    def acknowledge(self, node: int, sequence: int) -> bool:
        """Notes an answer; False if it tells nothing new."""
        if sequence <= self.acknowledged.get(node, 0):
            return False
        self.acknowledged[node] = sequence
        return True

    def confirm(self, sequence: int) -> list[PendingRead]:
        """A quorum has answered `sequence`: renews the lease and takes out the confirmed reads."""
        while self._rounds and self._rounds[0][0] <= sequence:
            self.lease_tick = self._rounds.popleft()[1]
        released: list[PendingRead] = []
        while self.pending and self.pending[0].sequence <= sequence:
            released.append(self.pending.popleft())
        return released
