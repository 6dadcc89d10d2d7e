"""Linearizable reads: one read index serves everything that arrived before it was asked for (§6.4).

At most one read index is under way; what arrives meanwhile waits for the next one, because a
confirmation that started before a read arrived must not serve it.
"""

from dataclasses import dataclass, field

from metastore.node.proposals import Request

READ_RETRY_TICKS = 5  # ask again: the question, or its answer, may have been lost
READ_TIMEOUT_TICKS = 50  # give up: the client is told that no quorum answered
READS_BYTES_MAX = 64 << 20  # of the requests that wait; without a quorum they do so for long


@dataclass(slots=True)
class ReadBatch:
    context: bytes
    requests: list[Request]
    asked_tick: int
    born_tick: int
    read_index: int | None = None


@dataclass(slots=True)
class PendingReads:
    """The reads of one node. `to_ask` after every turn; `confirm` with each ReadState of a
    Ready."""

    _waiting: list[tuple[int, Request]] = field(default_factory=list)  # (tick of arrival, read)
    _asked: ReadBatch | None = None
    _confirmed: list[ReadBatch] = field(default_factory=list)
    _sequence: int = 0
    _size_bytes: int = 0  # of all that wait

    def __len__(self) -> int:
        asked = len(self._asked.requests) if self._asked else 0
        return len(self._waiting) + asked + sum(len(b.requests) for b in self._confirmed)

    def has_room(self, request: Request) -> bool:
        """Whether it may wait, too; else it is to be refused."""
        return self._size_bytes + len(request.data) <= READS_BYTES_MAX

    def add(self, request: Request, tick: int) -> None:
        self._waiting.append((tick, request))
        self._size_bytes += len(request.data)

    def _taken(self, requests: list[Request]) -> list[Request]:
        for request in requests:
            self._size_bytes -= len(request.data)
        return requests

    def to_ask(self, tick: int) -> bytes | None:
        """The context to ask the core for now, or None. A repeated question gets a new context, so
        a late answer to the old one is not taken for it; it covers no more reads than before."""
        if self._asked is not None:
            if tick - self._asked.asked_tick < READ_RETRY_TICKS:
                return None
            self._asked.asked_tick = tick
            self._asked.context = self._next_context()
            return self._asked.context
        if not self._waiting:
            return None
        batch = ReadBatch(
            self._next_context(),
            [request for _, request in self._waiting],
            tick,
            self._waiting[0][0],
        )
        self._waiting = []
        self._asked = batch
        return batch.context

    def _next_context(self) -> bytes:
        self._sequence += 1
        return self._sequence.to_bytes(8, "big")

    def confirm(self, context: bytes, read_index: int) -> None:
        batch = self._asked
        if batch is not None and batch.context == context:
            batch.read_index = read_index
            self._confirmed.append(batch)
            self._asked = None

    def take_ready(self, last_applied: int) -> list[Request]:
        """Reads whose index has been applied here, in order of arrival."""
        ready: list[Request] = []
        while self._confirmed and (self._confirmed[0].read_index or 0) <= last_applied:
            ready += self._confirmed.pop(0).requests
        return self._taken(ready)

    def take_expired(self, tick: int) -> list[Request]:
        """Reads that waited for READ_TIMEOUT_TICKS without a confirmation, or whose index never
        got applied here (this node was cut off after the confirmation)."""
        expired: list[Request] = []
        while self._confirmed and tick - self._confirmed[0].born_tick >= READ_TIMEOUT_TICKS:
            expired += self._confirmed.pop(0).requests
        if self._asked is not None and tick - self._asked.born_tick >= READ_TIMEOUT_TICKS:
            expired += self._asked.requests
            self._asked = None
        while self._waiting and tick - self._waiting[0][0] >= READ_TIMEOUT_TICKS:
            expired.append(self._waiting.pop(0)[1])
        return self._taken(expired)

    def take_all(self) -> list[Request]:
        taken = [request for batch in self._confirmed for request in batch.requests]
        taken += self._asked.requests if self._asked else []
        taken += [request for _, request in self._waiting]
        self._waiting, self._asked, self._confirmed = [], None, []
        return self._taken(taken)
