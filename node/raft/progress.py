"""What a leader knows about one peer's log, and how much it may send it.

Stands on model.py; configuration.py keeps one Progress per node, replication.py drives them. It
computes positions only: it sends nothing and knows neither the log nor the other peers.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum

from metastore.node.raft.model import invariant


class ProgressState(Enum):
    """How entries travel: one message a round trip, a pipeline, or none until a snapshot is in."""

    PROBE = "StateProbe"
    REPLICATE = "StateReplicate"
    SNAPSHOT = "StateSnapshot"


class Inflights:
    """The appends sent and not yet acknowledged, oldest first, by their last index. `bytes_max` 0
    means no limit; one message may overshoot it, or large entries could never be sent."""

    __slots__ = ("_bytes", "_bytes_max", "_count_max", "_window")

    def __init__(self, count_max: int, bytes_max: int = 0) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._window: deque[tuple[int, int]] = deque()

    @property
    def count(self) -> int:
        return len(self._window)

    @property
    def is_full(self) -> bool:
        if len(self._window) >= self._count_max:
            return True
        return bool(self._bytes_max) and self._bytes >= self._bytes_max

    def add(self, index: int, size_bytes: int) -> None:
        """Notes a sent message; the caller checked is_full."""
        invariant(not self.is_full, "an append was sent into a full window")
        self._window.append((index, size_bytes))
        self._bytes += size_bytes

    def free_to(self, index: int) -> None:
        """Forgets every message whose last index is at or below `index`: an acknowledgement covers
        all before it, and those in between may never come."""
        while self._window and self._window[0][0] <= index:
            self._bytes -= self._window.popleft()[1]

    def reset(self) -> None:
        self._window.clear()
        self._bytes = 0

    def copy(self) -> "Inflights":
        twin = Inflights(self._count_max, self._bytes_max)
        twin._window = self._window.copy()
        twin._bytes = self._bytes
        return twin


@dataclass(slots=True)
class Progress:
    """match_index < next_index. Entries up to `match_index` are known to be the peer's, the next
    message starts at `next_index`."""

    inflights: Inflights
    match_index: int = 0
    next_index: int = 1
    state: ProgressState = ProgressState.PROBE
    # Index of the snapshot under way, only in SNAPSHOT.
    pending_snapshot: int = 0
    # Heard from since the last CheckQuorum.
    recently_active: bool = False
    # Nothing may be sent until an answer comes.
    flow_paused: bool = False
    # The highest commit index that the peer was told and that it could act upon.
    sent_commit: int = 0
    is_learner: bool = False

    @property
    def is_paused(self) -> bool:
        return self.flow_paused or self.state is ProgressState.SNAPSHOT

    def become_probe(self) -> None:
        """One append at a time, from just after what is known: the matched entry, or the snapshot
        if one was under way (it may have landed)."""
        known = max(self.match_index, self.pending_snapshot)
        self._enter(ProgressState.PROBE, known + 1)

    def become_replicate(self) -> None:
        self._enter(ProgressState.REPLICATE, self.match_index + 1)

    def become_snapshot(self, index: int) -> None:
        """A snapshot through `index` is on its way; it tells the commit index by itself."""
        self._enter(ProgressState.SNAPSHOT, index + 1)
        self.pending_snapshot = index
        self.sent_commit = index

    def _enter(self, state: ProgressState, next_index: int) -> None:
        self.state = state
        self.flow_paused = False
        self.pending_snapshot = 0
        self.inflights.reset()
        self._fall_back(next_index)

    def _fall_back(self, next_index: int) -> None:
        """Moves next_index; a commit index told for entries not received was told in vain."""
        self.next_index = next_index
        self.sent_commit = min(self.sent_commit, next_index - 1)

    def maybe_update(self, index: int) -> bool:
        """The peer acknowledged `index`. False for news that is old."""
        if index <= self.match_index:
            return False
        self.match_index = index
        self.next_index = max(self.next_index, index + 1)
        self.flow_paused = False
        return True

    def maybe_decrease(self, rejected: int, hint: int) -> bool:
        """The peer refused entries after `rejected` and may match at `hint`. False if that answer
        is stale. In REPLICATE the caller is to probe from here on."""
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match_index:
                return False
            self._fall_back(self.match_index + 1)
            return True
        # A probe is unanswered until its own position is refused; anything else is an older one.
        if rejected != self.next_index - 1:
            return False
        self._fall_back(max(min(rejected, hint + 1), self.match_index + 1))
        self.flow_paused = False
        return True

    def sent_entries(self, count: int, size_bytes: int) -> None:
        """An append with this many entries, of this payload, has been sent from next_index."""
        invariant(self.state is not ProgressState.SNAPSHOT, "an append was sent beside a snapshot")
        if self.state is ProgressState.PROBE:
            # An empty probe costs nothing, so it does not pause.
            self.flow_paused = self.flow_paused or count > 0
            return
        if count:
            self.next_index += count
            self.inflights.add(self.next_index - 1, size_bytes)
        # Also after an empty message: one heartbeat answer lets out exactly one of them.
        self.flow_paused = self.inflights.is_full

    def can_bump_commit(self, commit_index: int) -> bool:
        """Whether telling `commit_index` lets the peer commit more, entries in flight included."""
        return commit_index > self.sent_commit and self.sent_commit < self.next_index - 1

    def copy(self) -> "Progress":
        """A twin sharing nothing, for status and for trying changes."""
        return Progress(
            self.inflights.copy(),
            self.match_index,
            self.next_index,
            self.state,
            self.pending_snapshot,
            self.recently_active,
            self.flow_paused,
            self.sent_commit,
            self.is_learner,
        )

    def __str__(self) -> str:
        parts = [f"{self.state.value} match={self.match_index} next={self.next_index}"]
        if self.is_learner:
            parts.append("learner")
        if self.is_paused:
            parts.append("paused")
        if self.pending_snapshot:
            parts.append(f"pendingSnap={self.pending_snapshot}")
        if not self.recently_active:
            parts.append("inactive")
        if self.inflights.count:
            full = "[full]" if self.inflights.is_full else ""
            parts.append(f"inflight={self.inflights.count}{full}")
        return " ".join(parts)
