"""Linearizable reads that wait for the leader to prove its leadership (§6.4 of the dissertation).

Reading order 6 of 12, beside state.py. A plain value of one leader's term: it sends nothing.
"""

from collections import deque
from dataclasses import dataclass

from metastore.node.raft.messages import ReadIndex


@dataclass(frozen=True, slots=True)
class PendingRead:
    sequence: int
    read_index: int  # the commit index when the read was asked
    request: ReadIndex


class ReadQueue:
    """Reads in the order asked. `sequence` counts them; heartbeats carry the newest number, and an
    answered number also confirms all earlier ones."""

    __slots__ = ("acknowledged", "parked", "pending", "sequence")

    def __init__(self) -> None:
        self.sequence = 0
        self.pending: deque[PendingRead] = deque()
        self.acknowledged: dict[int, int] = {}  # node -> highest sequence it has answered
        self.parked: list[ReadIndex] = []  # asked before the first commit of the term

    @property
    def sequence_to_confirm(self) -> int:
        """What heartbeats carry: the newest pending read, 0 if none waits."""
        return self.sequence if self.pending else 0

    def add(self, read_index: int, request: ReadIndex) -> None:
        self.sequence += 1
        self.pending.append(PendingRead(self.sequence, read_index, request))

    def acknowledge(self, node: int, sequence: int) -> bool:
        """Notes an answer; False if it tells nothing new."""
        if sequence <= self.acknowledged.get(node, 0):
            return False
        self.acknowledged[node] = sequence
        return True

    def release(self, sequence: int) -> list[PendingRead]:
        """Takes out the reads confirmed by a quorum's `sequence`."""
        released: list[PendingRead] = []
        while self.pending and self.pending[0].sequence <= sequence:
            released.append(self.pending.popleft())
        return released
