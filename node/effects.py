"""Carries out what the core asks for in a Ready: disk, peers, store, snapshots, answers.

The core decides and does nothing; this does and decides nothing. In asynchronous mode (see
docs/decisions) a Ready's messages are everything: appends go to the disk thread, committed entries
to the store, the rest to the peers while the disk still works.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from metastore.engines.contract import SnapshotMeta, Store
from metastore.node.disk import Append, Compact, DiskThread, Durable
from metastore.node.outbox import Outbox
from metastore.node.proposals import PendingProposals, Waiter
from metastore.node.raft.errors import RaftError
from metastore.node.raft.messages import InstallSnapshot, StorageAppend, StorageApply
from metastore.node.raft.model import Entry, EntryType, HardState, invariant
from metastore.node.raft.node import RaftCore
from metastore.node.reads import PendingReads
from metastore.node.recovery import LogMirror
from metastore.node.snapshots import SnapshotKeeper
from metastore.node.witness import without_data

APPLIED_BYTES_PER_TURN = 1 << 20


class Effects:
    """`carry_out` after every group of inputs; `on_durable` for each report of the disk thread."""

    def __init__(
        self,
        core: RaftCore,
        store: Store,
        mirror: LogMirror,
        disk: DiskThread,
        snapshots: SnapshotKeeper,
        outbox: Outbox,
        *,
        pending: PendingProposals,
        reads: PendingReads,
        answer: Callable[[Sequence[Waiter], Sequence[bytes]], None],
        refuse: Callable[[Sequence[Waiter]], None],
        send_snapshot: Callable[[InstallSnapshot], None],
        on_configuration: Callable[[Entry], bytes],
        on_applied: Callable[[], None],
        on_installed: Callable[[bytes], None],
        is_witness: Callable[[], bool] = lambda: False,
        committed_once: int = 0,
    ) -> None:
        """`on_configuration` applies a configuration change, or finds that it cannot be, and gives
        the record of the members after it. `on_applied` after each group of applied entries, before
        their waiters can hear of them; `on_installed` after a snapshot replaced the state, with
        the record in it. `is_witness`: this node holds no data (see witness.py).
        `committed_once`: see lost_tail.py."""
        self._core, self._store, self._mirror = core, store, mirror
        self._disk, self._snapshots, self._outbox = disk, snapshots, outbox
        self._pending, self._reads = pending, reads
        self._answer, self._refuse = answer, refuse
        self._send_snapshot = send_snapshot
        self._on_configuration, self._is_witness = on_configuration, is_witness
        self._on_applied, self._on_installed = on_applied, on_installed
        self._committed_once = committed_once
        # Appends at the disk that it has not reported here. The disk's own count would not do:
        # between its sync and the report, the mirror does not have the entries yet.
        self._unreported_count = 0
        self._applied_bytes = 0
        stored = mirror.initial_state()[0]
        self._term_and_vote = (stored.term, stored.voted_for)  # as last given to the disk
        self._unwritten: HardState | None = None  # a commit index that has not gone there

    def carry_out(self) -> None:
        """Until the core asks for nothing more."""
        while self._core.has_ready():
            self._carry_out_one()

    def carry_out_some(self) -> bool:
        """As carry_out, but stops once APPLIED_BYTES_PER_TURN were applied, so that a long backlog
        (after a start, or a pause) cannot stop the ticks. Whether there is more to do."""
        self._applied_bytes = 0
        while self._core.has_ready():
            self._carry_out_one()
            if self._applied_bytes >= APPLIED_BYTES_PER_TURN:
                return self._core.has_ready()
        return False

    def _carry_out_one(self) -> None:
        ready = self._core.ready()
        for state in ready.read_states:
            self._reads.confirm(state.context, state.read_index)
        for message in ready.messages:
            if isinstance(message, StorageAppend):
                self._append(message)
            elif isinstance(message, StorageApply):
                self._apply(message)
            elif isinstance(message, InstallSnapshot):
                self._send_snapshot(message)
            else:
                self._outbox.add(message)

    def _append(self, message: StorageAppend) -> None:
        meta: SnapshotMeta | None = None
        if message.snapshot is not None:
            # The state first, the log's marker after it: a crash between leaves the snapshot ahead
            # of the log, which recovery understands; the reverse would be a log without its state.
            meta = self._snapshots.install(message.snapshot)
            self._on_installed(meta.configuration)
        state = message.hard_state or self._unwritten
        if self._promises_nothing(message) and not self._unreported_count:
            # A commit index alone is only a hint for the next start: no detour over the disk
            # thread, which would cost two changes of thread for every batch on every follower.
            self._unwritten = state
            self._release(message)
            return
        # But it goes with the next entries. One of them may be a change of the members, and whoever
        # starts again with that on disk must know that the change before it was committed: else it
        # counts votes by a configuration of the past, of which a quorum may not meet today's.
        self._unwritten = None
        if state is not message.hard_state:
            message = replace(message, hard_state=state)
        self._unreported_count += 1
        self._disk.submit(Append(message, meta, self._committed_once))

    def _promises_nothing(self, message: StorageAppend) -> bool:
        """No entry, no snapshot, and the term and vote that went to the disk before."""
        state = message.hard_state
        if state is not None and (state.term, state.voted_for) != self._term_and_vote:
            self._term_and_vote = (state.term, state.voted_for)
            return False
        return not message.entries and message.snapshot is None

    def on_durable(self, durable: Durable) -> None:
        """What the disk thread reports, in the order of submission."""
        self._unreported_count -= len(durable.messages)
        for message in durable.messages:
            self._release(message)

    def _release(self, message: StorageAppend) -> None:
        """The mirror follows the disk, then the promises leave."""
        if message.snapshot is not None:
            self._mirror.apply_snapshot(message.snapshot)
            self._mirror.newest = message.snapshot
        if message.entries:
            self._mirror.append(message.entries)
        if message.hard_state is not None:
            self._mirror.set_hard_state(message.hard_state)
        for response in message.responses:
            if response.to == self._core.id:
                with contextlib.suppress(RaftError):  # e.g. an ack of a node removed meanwhile
                    self._core.step(response)
            else:
                self._outbox.add(response)

    def _apply(self, message: StorageApply) -> None:
        entries = message.entries
        invariant(
            entries[0].index == self._store.last_applied + 1,
            f"entry {entries[0].index} to apply after {self._store.last_applied}",
        )
        start = 0
        for position, entry in enumerate(entries):
            if entry.type is not EntryType.NORMAL:
                self._apply_normal(entries[start:position])
                self._change_configuration(entry)
                start = position + 1
        self._apply_normal(entries[start:])
        self._on_applied()
        for response in message.responses:
            self._core.step(response)
        self._snapshots.maybe_save()

    def _apply_normal(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        if self._is_witness():
            entries = without_data(entries)  # sent whole before its role was known to the sender
        for entry, applied in zip(entries, self._store.apply(entries), strict=True):
            self._snapshots.note_applied(len(entry.data))
            self._applied_bytes += entry.size_bytes
            waiters, theirs = self._pending.take(entry.index, entry.term)
            if not waiters:
                continue
            if theirs:
                self._answer(waiters, applied.replies)
            else:
                self._refuse(waiters)

    def _change_configuration(self, entry: Entry) -> None:
        self._store.skip(entry.index, entry.term, self._on_configuration(entry))

    def compact(self, meta: SnapshotMeta) -> None:
        self._disk.submit(Compact(meta))
