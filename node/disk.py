"""The disk thread: makes appends durable in groups, and only then lets their promises leave.

It owns the durable Raft log after recovery. Everything queued while one sync runs is written and
synced together (group commit). It never decides anything: a failure is handed to the loop, which
stops the node.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from metastore.engines.contract import RaftLog, SnapshotMeta
from metastore.node.raft.messages import StorageAppend
from metastore.node.status import SyncLatencies

SyncMode: TypeAlias = Literal["always", "interval", "never"]


@dataclass(frozen=True, slots=True)
class Append:
    """`committed_once`: a commit index that must not be forgotten, though the log ends below it."""

    message: StorageAppend
    snapshot: SnapshotMeta | None = None
    committed_once: int = 0


@dataclass(frozen=True, slots=True)
class Compact:
    snapshot: SnapshotMeta


@dataclass(frozen=True, slots=True)
class Durable:
    """To the loop: these appends are on disk, in this order; their responses may leave."""

    messages: Sequence[StorageAppend]


@dataclass(frozen=True, slots=True)
class DiskFailed:
    """To the loop: the disk thread has ended; nothing that it had not reported is durable."""

    error: BaseException


Report: TypeAlias = Callable[[Durable | DiskFailed], None]


class DiskThread:
    """`submit` from the loop; reports come back through `report`, which must be thread-safe."""

    def __init__(
        self,
        log: RaftLog,
        report: Report,
        *,
        sync: SyncMode = "always",
        sync_interval_s: float = 0.1,
    ) -> None:
        self._log = log
        self._report = report
        self._sync_mode = sync
        self._sync_interval_s = sync_interval_s
        self._last_sync = time.monotonic()
        self._jobs: deque[Append | Compact] = deque()
        self._ready = threading.Condition()
        self._closing = False
        self._outstanding = 0
        self._term_and_vote = (0, 0)
        self._dirty = False
        self.latencies = SyncLatencies()
        self._thread = threading.Thread(target=self._run, name="metastore-disk", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def outstanding(self) -> int:
        """Appends submitted and not yet durable."""
        return self._outstanding

    def submit(self, job: Append | Compact) -> None:
        with self._ready:
            if isinstance(job, Append):
                self._outstanding += 1
            self._jobs.append(job)
            self._ready.notify()

    def close(self, timeout_s: float) -> bool:
        """Finishes what was submitted and ends the thread; False when that took too long."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while (jobs := self._take()) is not None:
                if jobs:
                    self._perform(jobs)
                else:
                    self._sync_if_due()
        except (
            BaseException
        ) as error:  # whatever it is, the loop must learn it: nothing dies unseen
            self._report(DiskFailed(error))

    def _take(self) -> list[Append | Compact] | None:
        """Waits for jobs; none when it is time to look whether a sync is due (outside the lock: the
        loop must be able to submit while it runs); None at the end."""
        with self._ready:
            while not self._jobs and not self._closing:
                if not self._ready.wait(self._idle_seconds()):
                    return []
            if not self._jobs:
                return None
            jobs = list(self._jobs)
            self._jobs.clear()
            return jobs

    def _idle_seconds(self) -> float | None:
        return self._sync_interval_s if self._sync_mode == "interval" else None

    def _perform(self, jobs: list[Append | Compact]) -> None:
        done: list[StorageAppend] = []
        for job in jobs:
            if isinstance(job, Append):
                self._write(job)
                done.append(job.message)
        if done:
            self._sync()
            with self._ready:
                self._outstanding -= len(done)
            self._report(Durable(done))
        # After the report: deleting old segments must not hold back an acknowledgement.
        for job in jobs:
            if isinstance(job, Compact):
                self._log.compact(job.snapshot)

    def _write(self, job: Append) -> None:
        message, state = job.message, job.message.hard_state
        hard_state = None
        if state is not None:
            commit_index = max(state.commit_index, job.committed_once)
            hard_state = (state.term, state.voted_for, commit_index)
            # A commit index alone promises nothing, so it needs no sync of its own.
            self._dirty |= hard_state[:2] != self._term_and_vote
            self._term_and_vote = hard_state[:2]
        self._dirty |= bool(message.entries) or job.snapshot is not None
        self._log.append(message.entries, hard_state, job.snapshot)

    def _sync(self) -> None:
        if self._sync_mode != "always":
            self._sync_if_due()
        elif self._dirty:
            self._timed_sync()

    def _sync_if_due(self) -> None:
        if self._sync_mode != "interval" or not self._dirty:
            return
        if time.monotonic() - self._last_sync >= self._sync_interval_s:
            self._timed_sync()

    def _timed_sync(self) -> None:
        started = time.monotonic()
        self._log.sync()
        self._dirty = False
        self._last_sync = time.monotonic()
        self.latencies.add(self._last_sync - started)
