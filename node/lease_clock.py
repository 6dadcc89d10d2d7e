"""How long each lease has to live, by this node's own clock; the store knows none.

Between the store, which says what became of a lease when entries are applied, and housekeeping.py,
which proposes what follows from the time. Every node keeps the clock, so that a new leader knows
how much of a lease is gone already: a deadline counts from when the node itself applied the grant
or the renewal, which is never before the client asked for it. Decides nothing and proposes nothing.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from metastore.engines.contract import Store

CHECKPOINT_INTERVAL_S = 10.0
CHECKPOINT_TTL_MIN_S = 10  # what has less to live is not worth an entry of the log
CHECKPOINT_SHARE = 0.9  # only when less is left than this share of what the replicas know
LEASES_EXAMINED_MAX = 5_000  # in one call, for checkpoints
_QUEUE_SLACK = 1_024


@dataclass(slots=True)
class _Running:
    """`queued_s`: the moment under which it stands in the queue, never after its deadline;
    infinity when it is in there no more. `replicated_s`: what every replica knows that it had to
    live, at its last change."""

    deadline_s: float
    queued_s: float
    replicated_s: int


class LeaseClock:
    """`take_changes` after every apply, `restart` after the start and after an install; the rest
    asks. All on the loop thread. Seconds of `clock`, which must never go back."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._leases: dict[int, _Running] = {}
        self._queue: list[tuple[float, int]] = []  # a heap of (moment, lease), some out of date
        self._expired: dict[int, None] = {}  # in the order of their expiry
        self._proposed: dict[int, int] = {}  # lease: remaining seconds of our last checkpoints
        self._to_examine: list[int] = []
        self._examined_s = clock()

    def __len__(self) -> int:
        return len(self._leases)

    def restart(self) -> None:
        """The store is about to tell every lease there is, as after an install."""
        self._leases.clear()
        self._queue.clear()
        self._expired.clear()
        self._to_examine.clear()
        self.take_changes()

    def take_changes(self) -> None:
        now = self._clock()
        for lease, ttl_s in [(c.lease, c.ttl_s) for c in self._store.take_lease_changes()]:
            self._expired.pop(lease, None)
            known = self._leases.pop(lease, None)
            proposed_s = self._proposed.pop(lease, None)
            if ttl_s <= 0:
                continue
            deadline = now + ttl_s
            if known is not None and ttl_s == proposed_s:
                # Our own checkpoint, rounded up and late: it must not lengthen the lease each time.
                deadline = min(deadline, known.deadline_s)
            self._leases[lease] = _Running(deadline, deadline, ttl_s)
            if known is not None and known.queued_s <= deadline:
                self._leases[lease].queued_s = known.queued_s  # it is looked at then, and put back
            else:
                heappush(self._queue, (deadline, lease))
        self._shrink_queue()

    def remaining_s(self, lease: int) -> int:
        """Whole seconds, not below 0; 0 for one that is not known."""
        running = self._leases.get(lease)
        return 0 if running is None else max(0, int(running.deadline_s - self._clock()))

    def expired(self, count_max: int) -> Sequence[int]:
        """The leases that have expired and are still there, longest ago first, at most so many."""
        now = self._clock()
        while self._queue and self._queue[0][0] <= now:
            moment, lease = heappop(self._queue)
            running = self._leases.get(lease)
            if running is None or running.queued_s != moment:
                continue
            if running.deadline_s <= now:
                self._expired[lease] = None
                running.queued_s = math.inf  # in the queue no more; a renewal is put in again
            else:
                running.queued_s = running.deadline_s
                heappush(self._queue, (running.deadline_s, lease))
        return [lease for _, lease in zip(range(count_max), self._expired, strict=False)]

    def checkpoints(self, count_max: int) -> Sequence[tuple[int, int]]:
        """(lease, remaining seconds) of those whose replicas should know that they have less to
        live by now, at most so many; every CHECKPOINT_INTERVAL_S all leases are gone through."""
        now = self._clock()
        if not self._to_examine:
            if now - self._examined_s < CHECKPOINT_INTERVAL_S:
                return []
            self._examined_s = now
            self._to_examine = list(self._leases)
        found: list[tuple[int, int]] = []
        for _ in range(LEASES_EXAMINED_MAX):
            if not self._to_examine or len(found) >= count_max:
                break
            lease = self._to_examine.pop()
            running = self._leases.get(lease)
            if running is None or running.replicated_s <= CHECKPOINT_TTL_MIN_S:
                continue
            remaining_s = math.ceil(running.deadline_s - now)
            if 0 < remaining_s < running.replicated_s * CHECKPOINT_SHARE:
                found.append((lease, remaining_s))
        self._proposed = dict(found)
        return found

    def _shrink_queue(self) -> None:
        """Else granting and revoking long leases would leave their moments here for years."""
        if len(self._queue) <= 2 * len(self._leases) + _QUEUE_SLACK:
            return
        self._queue = []
        for lease, running in self._leases.items():
            if lease not in self._expired:
                running.queued_s = running.deadline_s
                self._queue.append((running.deadline_s, lease))
        heapify(self._queue)
