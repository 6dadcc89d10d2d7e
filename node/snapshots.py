"""When to take a snapshot, how a lagging peer gets one, what happens to one that was received.

The files move on threads of their own; this part only decides, on the loop, and hands the results
to the core. The core's own InstallSnapshot never travels: its facts go with the file (see
docs/internals).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from metastore.engines.contract import SnapshotMeta, Store
from metastore.node.codec import MalformedMessage, unpack_snapshot_facts
from metastore.node.raft.messages import InstallSnapshot
from metastore.node.raft.model import ConfigurationState, Snapshot
from metastore.node.recovery import LogMirror, encode_configuration, to_snapshot


@dataclass(frozen=True, slots=True)
class Saved:
    """To the loop: the store has written this snapshot (or failed to)."""

    meta: SnapshotMeta
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Sent:
    """To the loop: a transfer to a peer ended."""

    node_id: int
    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """To the loop: a complete, checksummed file has arrived."""

    sender: int
    facts: dict[str, Any]
    path: Path


class Sender(Protocol):
    def start(
        self,
        peer_id: int,
        address: str,
        meta: dict[str, Any],
        path: Path,
        on_done: Callable[[bool, str], None],
    ) -> None: ...


class SnapshotKeeper:
    """`maybe_save` after applying; `send` for an InstallSnapshot of the core; `to_message` and
    `install` for a received file. All on the loop thread."""

    def __init__(
        self,
        store: Store,
        mirror: LogMirror,
        report: Callable[[Saved | Sent | Received], None],
        *,
        entries_max: int,
        bytes_max: int,
        trailing_entries: int,
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._report = report
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._trailing_entries = trailing_entries
        self._bytes_since = 0
        self._saving = False
        self._attempted_index = 0  # a failed snapshot is tried again after as many entries more
        self._received: dict[tuple[int, int], Path] = {}
        self.sending: dict[int, int] = {}  # peer: index of the snapshot on its way there

    def note_applied(self, size_bytes: int) -> None:
        self._bytes_since += size_bytes

    def maybe_save(self, term: int, configuration: ConfigurationState) -> None:
        """Starts a snapshot at the store's last_applied (an entry of `term`) when the log has
        grown."""
        index = self._store.last_applied
        grown = index - max(self._mirror.newest.index, self._attempted_index)
        if self._saving or grown <= 0:
            return
        if grown < self._entries_max and self._bytes_since < self._bytes_max:
            return
        meta = SnapshotMeta(index, term, encode_configuration(configuration))
        self._saving = True
        self._attempted_index = index
        self._bytes_since = 0
        self._store.save_snapshot(meta, lambda error: self._report(Saved(meta, error)))

    def on_saved(self, saved: Saved) -> SnapshotMeta | None:
        """The snapshot up to which the durable log may be compacted, or None if none was
        written."""
        self._saving = False
        if saved.error is not None:
            return None
        if saved.meta.index <= self._mirror.newest.index:
            return None  # one from the leader was installed meanwhile
        self._mirror.newest = to_snapshot(saved.meta)
        # What follows a snapshot under way is kept, or its receiver would only need the next one.
        keep_from = min([saved.meta.index - self._trailing_entries, *self.sending.values()])
        if keep_from > self._mirror.first_index():
            self._mirror.compact(keep_from)
        return saved.meta

    def send(self, message: InstallSnapshot, address: str | None, sender: Sender) -> None:
        """Sends the file that belongs to the message; the outcome arrives as `Sent`."""
        to, snapshot = message.to, message.snapshot
        meta = SnapshotMeta(
            snapshot.index, snapshot.term, encode_configuration(snapshot.configuration)
        )
        if to in self.sending:
            return
        if address is None:
            self._report(Sent(to, False, "no snapshot address"))
            return
        try:
            path = self._store.snapshot_path(meta)
        except FileNotFoundError as error:  # replaced by a newer one since the core named it
            self._report(Sent(to, False, str(error)))
            return
        self.sending[to] = meta.index
        facts = {
            "message_term": message.term,
            "index": meta.index,
            "term": meta.term,
            "configuration": meta.configuration,
        }
        sender.start(to, address, facts, path, lambda ok, why: self._report(Sent(to, ok, why)))

    def to_message(self, received: Received, node_id: int) -> InstallSnapshot | None:
        """The core's message for a received file; None (and the file is gone) when its facts are
        bad."""
        try:
            message = unpack_snapshot_facts(received.facts, received.sender, node_id)
        except MalformedMessage:
            received.path.unlink(missing_ok=True)
            return None
        self._received[(message.snapshot.index, message.snapshot.term)] = received.path
        return message

    def install(self, snapshot: Snapshot) -> SnapshotMeta:
        """Replaces the store's state by the received file; raises StorageDamaged."""
        meta = SnapshotMeta(
            snapshot.index, snapshot.term, encode_configuration(snapshot.configuration)
        )
        path = self._received.pop((snapshot.index, snapshot.term))
        self._store.install_snapshot(meta, path)
        self._bytes_since = 0
        return meta

    def discard_unused(self) -> None:
        """Removes received files that the core did not want (stale, or already matched by the
        log)."""
        for path in self._received.values():
            path.unlink(missing_ok=True)
        self._received.clear()
