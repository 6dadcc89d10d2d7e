"""When to take a snapshot, how a lagging peer gets one, what happens to one that was received.

The files move on threads of their own; this part only decides, on the loop, and hands the results
to the core. The core's own InstallSnapshot never travels: its facts go with the file (see
docs/internals).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from metastore.engines.contract import SnapshotMeta, Store
from metastore.node.codec import MalformedMessage, unpack_snapshot_facts
from metastore.node.raft.messages import InstallSnapshot
from metastore.node.raft.model import Snapshot
from metastore.node.recovery import LogMirror, to_meta, to_snapshot
from metastore.node.witness import write_empty_snapshot

TRAILING_BYTES_SHARE = 4  # the entries kept below a snapshot take at most this part of bytes_max


@dataclass(frozen=True, slots=True)
class Saved:
    """To the loop: the store has written the snapshot that it was asked for (or failed to)."""

    error: Exception | None


@dataclass(frozen=True, slots=True)
class Sent:
    """To the loop: a transfer to a peer ended."""

    node_id: int
    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """To the loop: a complete file has arrived and is prepared in the store."""

    sender: int
    facts: dict[str, Any]
    path: Path


class Sender(Protocol):
    def start(
        self,
        peer_id: int,
        address: str,
        meta: dict[str, Any],
        find_path: Callable[[], Path],
        on_done: Callable[[bool, str], None],
    ) -> None: ...


class NotNow(Exception):
    """A received snapshot has to wait; its sender tries again later."""


class SnapshotKeeper:
    """`maybe_save` after applying; `send` for an InstallSnapshot of the core; `prepare`,
    `to_message` and `install` for a received file. All on the loop thread but `prepare`."""

    def __init__(
        self,
        store: Store,
        mirror: LogMirror,
        report: Callable[[Saved | Sent | Received], None],
        *,
        entries_max: int,
        bytes_max: int,
        trailing_entries: int,
        node_id: int,
        witness_folder: Path | None = None,
    ) -> None:
        """`witness_folder`: for the files without a state that witnesses get; None: they get whole
        ones."""
        self._store = store
        self._mirror = mirror
        self._report = report
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._trailing_entries = trailing_entries
        self._node_id = node_id
        self._witness_folder = witness_folder
        self._witnesses: frozenset[int] = frozenset()
        self._bytes_since = 0
        self._saving: SnapshotMeta | None = None
        self._attempted_index = 0  # a failed snapshot is tried again after as many entries more
        # Set by other threads: a single assignment each, which cannot be seen half done.
        self._is_missing = False  # the newest snapshot was wanted and there is no file of it
        self._is_prepared = False  # a received file, until the loop has dealt with it
        self._received: dict[tuple[int, int], Path] = {}
        self.sending: dict[int, int] = {}  # peer: index of the snapshot on its way there

    def set_witnesses(self, node_ids: Iterable[int]) -> None:
        """Who gets a snapshot without a state from now on."""
        self._witnesses = frozenset(node_ids)

    def note_applied(self, size_bytes: int) -> None:
        self._bytes_since += size_bytes

    def maybe_save(self) -> None:
        """Starts a snapshot of what is applied, when the log has grown or a peer wants one that is
        no more."""
        index = self._store.last_applied
        grown = index - max(self._mirror.newest.index, self._attempted_index)
        if self._saving is not None or grown <= 0:
            return
        is_due = grown >= self._entries_max or self._bytes_since >= self._bytes_max
        if not is_due and not self._is_missing:
            return
        self._save()

    def save_now(self) -> SnapshotMeta | None:
        """For a backup: starts a snapshot of what is applied, unless one is being written; `Saved`
        follows. If there is one of just that, answers with it instead."""
        latest = self._store.latest_snapshot()
        if latest is not None and latest.index == self._store.last_applied:
            return latest
        if self._saving is None:
            self._save()
        return None

    def _save(self) -> None:
        self._attempted_index = self._store.last_applied
        self._bytes_since = 0
        self._is_missing = False
        self._saving = self._store.save_snapshot(lambda error: self._report(Saved(error)))

    def on_saved(self, saved: Saved) -> SnapshotMeta | None:
        """The snapshot up to which the durable log may be compacted, or None if none was
        written."""
        meta, self._saving = self._saving, None
        if meta is None or saved.error is not None:
            return None
        if meta.index <= self._mirror.newest.index:
            return None  # one from the leader was installed meanwhile
        self._mirror.newest = to_snapshot(meta)
        # By bytes too: five thousand entries may be a few gigabytes.
        bytes_max = self._bytes_max // TRAILING_BYTES_SHARE
        trailing = self._mirror.index_before_trailing(meta.index, self._trailing_entries, bytes_max)
        # What follows a snapshot under way is kept, or its receiver would only need the next one.
        keep_from = min([trailing, *self.sending.values()])
        if keep_from > self._mirror.first_index():
            self._mirror.compact(keep_from)
        return meta

    def send(self, message: InstallSnapshot, address: str | None, sender: Sender) -> None:
        """Sends the file that belongs to the message; the outcome arrives as `Sent`."""
        to, snapshot = message.to, message.snapshot
        meta = to_meta(snapshot)
        if to in self.sending:
            return
        if address is None:
            self._report(Sent(to, False, "no snapshot address"))
            return
        self.sending[to] = meta.index
        facts = {
            "message_term": message.term,
            "index": meta.index,
            "term": meta.term,
            "configuration": meta.configuration,
        }

        witness_folder = self._witness_folder if to in self._witnesses else None

        def find_path() -> Path:
            """On the sender's thread: the file may have to be written first."""
            if witness_folder is not None:
                return write_empty_snapshot(witness_folder, meta)
            try:
                return self._store.export_snapshot(meta)
            except FileNotFoundError:
                # Of an older one the peer asks again; of the newest there would never be a file.
                self._is_missing = meta.index >= self._mirror.newest.index
                raise

        sender.start(to, address, facts, find_path, lambda ok, why: self._report(Sent(to, ok, why)))

    def prepare(self, sender: int, facts: Mapping[str, Any], path: Path) -> None:
        """On any one thread but the loop's: has the store verify and load a received file. Raises
        MalformedMessage, NotNow, StorageDamaged, StorageFailed; nothing has changed then."""
        if self._is_prepared:
            raise NotNow("the snapshot before this one has not been installed yet")
        snapshot = unpack_snapshot_facts(facts, sender, self._node_id).snapshot
        self._store.prepare_snapshot(to_meta(snapshot), path)
        self._is_prepared = True

    def to_message(self, received: Received) -> InstallSnapshot | None:
        """The core's message for a received file; None (and the file is gone) when its facts are
        bad."""
        try:
            message = unpack_snapshot_facts(received.facts, received.sender, self._node_id)
        except MalformedMessage:
            received.path.unlink(missing_ok=True)
            self._is_prepared = False
            return None
        self._received[(message.snapshot.index, message.snapshot.term)] = received.path
        return message

    def install(self, snapshot: Snapshot) -> SnapshotMeta:
        """Replaces the store's state by the received file; raises StorageDamaged."""
        meta = to_meta(snapshot)
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
        self._is_prepared = False
