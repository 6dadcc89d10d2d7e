"""Ready: all that the driver must do for the core, and what must be durable before what may leave.

Outside the reading order; after raft.py. Values and their order only; what the driver does with
them is its own affair.
"""

from dataclasses import dataclass

from metastore.node.raft.messages import (
    Message,
    StorageAppend,
    StorageAppendReply,
    StorageApply,
    StorageApplyReply,
)
from metastore.node.raft.model import (
    APPEND_THREAD,
    APPLY_THREAD,
    Entry,
    HardState,
    ReadState,
    Snapshot,
    SoftState,
)
from metastore.node.raft.raft import Raft


@dataclass(frozen=True, slots=True)
class Ready:
    """Sync mode: write hard_state, snapshot and entries (and sync if must_sync), then send messages
    and apply committed, then call advance(). Async mode: `messages` says it all, the storage
    messages included; the other fields are for the eye."""

    soft_state: SoftState | None  # None: unchanged
    hard_state: HardState | None  # None: unchanged
    read_states: tuple[ReadState, ...]
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    committed: tuple[Entry, ...]
    messages: tuple[Message, ...]
    must_sync: bool

    @property
    def is_empty(self) -> bool:
        return not (
            self.soft_state
            or self.hard_state
            or self.read_states
            or self.entries
            or self.snapshot
            or self.committed
            or self.messages
        )


class ReadyMaker:
    """Makes Readies and remembers what the last one said."""

    def __init__(self, raft: Raft) -> None:
        self._raft = raft
        self._async = raft.config.async_storage_writes
        self._soft_state = raft.soft_state
        self._hard_state = raft.hard_state
        self._steps_on_advance: list[Message] = []

    def has_ready(self) -> bool:
        raft, log = self._raft, self._raft.log
        if (
            raft.messages
            or raft.messages_after_append
            or raft.read_states
            or log.has_next_unstable_entries
            or log.has_next_unstable_snapshot
            or log.has_next_committed(not self._async)
        ):
            return True
        return self._changed_hard_state() is not None or raft.soft_state != self._soft_state

    def make(self) -> Ready:
        """The present Ready, which counts as taken over by the driver."""
        raft, log = self._raft, self._raft.log
        soft_state = raft.soft_state
        hard_state = self._changed_hard_state()
        entries = log.next_unstable_entries()
        must_sync = bool(entries) or (
            hard_state is not None
            and (hard_state.term, hard_state.voted_for)
            != (self._hard_state.term, self._hard_state.voted_for)
        )
        snapshot = log.next_unstable_snapshot()
        committed = log.next_committed(not self._async)
        messages = tuple(self._messages(entries, hard_state, snapshot, committed))
        ready = Ready(
            soft_state if soft_state != self._soft_state else None,
            hard_state,
            tuple(raft.read_states),
            entries,
            snapshot,
            committed,
            messages,
            must_sync,
        )
        self._accept(ready)
        return ready

    def advance(self) -> list[Message]:
        """The local messages that follow from having carried out the last Ready, in order."""
        steps, self._steps_on_advance = self._steps_on_advance, []
        return steps

    def _changed_hard_state(self) -> HardState | None:
        raft, last = self._raft, self._hard_state
        if (
            raft.log.commit_index == last.commit_index
            and raft.term == last.term
            and raft.voted_for == last.voted_for
        ):
            return None
        hard_state = raft.hard_state
        return None if hard_state.is_empty else hard_state

    def _messages(
        self,
        entries: tuple[Entry, ...],
        hard_state: HardState | None,
        snapshot: Snapshot | None,
        committed: tuple[Entry, ...],
    ) -> list[Message]:
        raft = self._raft
        messages, after = raft.messages, raft.messages_after_append
        raft.messages, raft.messages_after_append = [], []
        append_reply = self._append_reply(snapshot)
        apply_reply = StorageApplyReply(sender=APPLY_THREAD, to=raft.id, entries=committed)
        if not self._async:
            # In this order: our own promises are kept before the log is known to be stable.
            steps = [message for message in after if message.to == raft.id]
            if append_reply is not None:
                steps.append(append_reply)
            if committed:
                steps.append(apply_reply)
            self._steps_on_advance = steps
            messages += [message for message in after if message.to != raft.id]
            return messages
        if entries or hard_state is not None or snapshot is not None or after:
            responses = (*after, append_reply) if append_reply is not None else tuple(after)
            messages.append(self._storage_append(entries, hard_state, snapshot, responses))
        if committed:
            messages.append(
                StorageApply(
                    sender=raft.id, to=APPLY_THREAD, entries=committed, responses=(apply_reply,)
                )
            )
        return messages

    def _storage_append(
        self,
        entries: tuple[Entry, ...],
        hard_state: HardState | None,
        snapshot: Snapshot | None,
        responses: tuple[Message, ...],
    ) -> StorageAppend:
        return StorageAppend(
            sender=self._raft.id,
            to=APPEND_THREAD,
            term=self._raft.term if hard_state is not None else 0,
            entries=entries,
            hard_state=hard_state,
            snapshot=snapshot,
            responses=responses,
        )

    def _append_reply(self, snapshot: Snapshot | None) -> StorageAppendReply | None:
        """Names the end of the whole log, not of this batch: if that write is done and nothing has
        been replaced since, everything up to there is stable."""
        raft, log = self._raft, self._raft.log
        has_unstable = bool(log.unstable.entries)
        if not has_unstable and snapshot is None:
            return None
        return StorageAppendReply(
            sender=APPEND_THREAD,
            to=raft.id,
            term=raft.term,
            index=log.last_index if has_unstable else 0,
            log_term=log.last_term if has_unstable else 0,
            snapshot=snapshot,
        )

    def _accept(self, ready: Ready) -> None:
        raft, log = self._raft, self._raft.log
        if ready.soft_state is not None:
            self._soft_state = ready.soft_state
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        if ready.read_states:
            raft.read_states = []
        log.accept_unstable()
        if ready.committed:
            log.accept_applying(
                ready.committed[-1].index,
                sum([entry.size_bytes for entry in ready.committed]),
                not self._async,
            )
