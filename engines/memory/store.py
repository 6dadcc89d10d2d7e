"""The memory engine's Store: all versions of all keys in memory, durable through log and snapshots.

Reading order 16 of the engines. Between two snapshots nothing is written here: after a restart the
node replays the log from `last_applied`. What an entry means is for state.py to say; here is where
the state comes from and where it goes. Threads of its own only while a snapshot is written or a
hash worked out.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

from metastore.engines.contract import (
    STANDALONE,
    Applied,
    Event,
    LeaseChange,
    LogEntry,
    RaftNode,
    RaftStatus,
    SnapshotMeta,
    StorageDamaged,
    StorageFailed,
)
from metastore.engines.files import Files
from metastore.engines.hash_replies import hash_reply
from metastore.engines.memory.background import BackgroundWork
from metastore.engines.memory.loading import Loaded, empty_state, load_state
from metastore.engines.memory.snapshot_files import (
    adopt_snapshot,
    find_snapshots,
    make_durable,
    remove_old_snapshots,
    remove_unfinished_snapshots,
    snapshot_name,
)
from metastore.engines.snapshot_format import SnapshotHeader, write_snapshot

T = TypeVar("T")

_WRITER, _HASHER = "snapshot-writer", "hasher"


class MemoryStore:
    """Implements contract.Store. Opening loads the newest snapshot; raises StorageDamaged if it is
    not whole (an older one is no substitute: the log between them may be gone), StorageFailed."""

    def __init__(
        self,
        directory: Path,
        *,
        node_id: int,
        raft: RaftNode | None = None,
        files: Files | None = None,
    ) -> None:
        self._directory = Path(directory)
        self._files = files if files is not None else Files()
        self._node_id = node_id
        self._raft = raft
        _, self._records, self._state = empty_state()
        self._index = self._term = 0  # of the last applied entry
        self._configuration = b""
        self._gone_leases: list[LeaseChange] = []  # with the state that was replaced
        self._latest: SnapshotMeta | None = None
        self._prepared: tuple[Path, Loaded] | None = None
        self._work = BackgroundWork()
        # Snapshot files are named, renamed and removed by the loop thread and by the writer.
        self._snapshots_lock = Lock()
        self._pauses_lock = Lock()  # an addition is two steps
        try:
            self._load()
        except OSError as error:
            raise StorageFailed(f"loading the snapshot in {directory}: {error}") from error

    def set_raft_node(self, node: RaftNode) -> None:
        self._raft = node

    def get_raft_status(self) -> RaftStatus:
        """The node's own status; without a node, that of a store that stands alone."""
        if self._raft is not None:
            return self._raft.status()
        applied = self._index
        return RaftStatus(self._node_id, 0, 0, STANDALONE, applied, applied)

    @property
    def applied(self) -> SnapshotMeta:
        return SnapshotMeta(self._index, self._term, self._configuration)

    @property
    def last_applied(self) -> int:
        return self._index

    @property
    def revision(self) -> int:
        return self._state.keys.revision

    @property
    def compacted_revision(self) -> int:
        return self._state.keys.compacted_revision

    @property
    def key_count(self) -> int:
        return len(self._records)

    @property
    def size_bytes(self) -> int:
        return self._state.keys.size_bytes

    @property
    def alarms(self) -> Sequence[int]:
        return self._state.alarms.as_tuple()

    def apply(self, entries: Sequence[LogEntry]) -> Sequence[Applied]:
        """Raises StorageFailed on an entry that is not the next one: applying it, or applying one
        twice, would make this replica another than the rest."""
        applied = []
        for entry in entries:
            self._check_next(entry.index)
            replies = self._state.apply(entry)
            self._index, self._term = entry.index, entry.term
            applied.append(Applied(entry.index, replies))
        return applied

    def skip(self, index: int, term: int, configuration: bytes) -> None:
        """Raises StorageFailed as `apply` does. An empty configuration changes none."""
        self._check_next(index)
        self._index, self._term = index, term
        if configuration:
            self._configuration = configuration

    def read(self, request: bytes) -> bytes:
        return self._state.read(request)

    def hash_at(self, revision: int, done: Callable[[bytes], None]) -> None:
        keys = self._state.keys
        versions = self._records.freeze(keys.revision).versions()
        revisions = (revision, keys.compacted_revision, keys.revision)
        work = partial(hash_reply, versions, *revisions, self._work.is_closing)
        self._start(_HASHER, work, done)

    # What changed

    def collect_events(self, wanted: bool) -> None:
        keys = self._state.keys
        if not wanted:
            keys.events = None
        elif keys.events is None:
            keys.events = []

    def take_events(self) -> Sequence[Event]:
        keys = self._state.keys
        events = keys.events
        if not events:
            return ()
        keys.events = []
        return events

    def take_lease_changes(self) -> Sequence[LeaseChange]:
        changes = [*self._gone_leases, *self._state.take_lease_changes()]
        self._gone_leases.clear()
        return changes

    def set_lease_clock(self, remaining_s: Callable[[int], int]) -> None:
        self._state.remaining_s = remaining_s

    def lease_renewals(self, lease: int) -> int:
        found = self._state.leases.get(lease)
        return 0 if found is None else found.renewals

    def history(self, first: int, last: int) -> Iterator[Event]:
        return self._state.keys.history(first, last)

    def compact_step(self, changes_max: int) -> bool:
        return self._state.keys.compact_step(changes_max)

    # Snapshots

    def save_snapshot(self, done: Callable[[Exception | None], None]) -> SnapshotMeta:
        """Costs the caller a list of the keys; a failed write leaves the store as usable as
        before."""
        if self._work.count(_WRITER):
            raise ValueError("a snapshot is already being written")
        keys, meta = self._state.keys, self.applied
        header = SnapshotHeader(meta, keys.revision, keys.compacted_revision)
        frozen = self._records.freeze(keys.revision)
        write = partial(
            write_snapshot,
            self._directory / snapshot_name(meta),
            self._files,
            header,
            frozen.versions(),
            frozen.order(keys.compacted_revision),
            list(self._state.all_facts()),
            self._work.is_closing,
        )
        self._start(_WRITER, partial(self._write_snapshot, meta, write), done)
        return meta

    def latest_snapshot(self) -> SnapshotMeta | None:
        return self._latest

    def export_snapshot(self, meta: SnapshotMeta) -> Path:
        """The file as it was saved or received."""
        path = self._directory / snapshot_name(meta)
        with self._snapshots_lock:
            if path not in find_snapshots(self._directory, self._files):
                raise FileNotFoundError(f"no snapshot {meta.index} of term {meta.term}: {path}")
        return path

    def prepare_snapshot(self, meta: SnapshotMeta, received: Path) -> None:
        """Reads the file once. What was prepared before and not installed is forgotten."""
        self._prepared = None
        self._prepared = (received, self._load_received(meta, received))

    def install_snapshot(self, meta: SnapshotMeta, received: Path) -> None:
        """Prepares what is not the prepared one."""
        if meta.index < self._index:
            raise ValueError(f"snapshot {meta.index} is behind the state at {self._index}")
        path, loaded = self._prepared or (None, None)
        if loaded is None or (path, loaded.meta) != (received, meta):
            loaded = self._load_received(meta, received)
        try:
            with self._snapshots_lock:
                adopt_snapshot(self._directory, self._files, meta, received)
                self._latest = meta
                remove_old_snapshots(self._directory, self._files)
        except OSError as error:
            raise StorageFailed(f"installing the snapshot {received}: {error}") from error
        self._prepared = None
        self._become(loaded)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        return iter([record[:2] for record in self._records.select(b"", None, 0)])

    def close(self) -> None:
        """Stops a snapshot that is being written; waits for its thread."""
        self._work.close()

    def _load(self) -> None:
        self._files.make_directory(self._directory)
        remove_unfinished_snapshots(self._directory, self._files)
        found = find_snapshots(self._directory, self._files)
        if found:
            loaded = load_state(found[-1], self._files)
            if snapshot_name(loaded.meta) != found[-1].name:
                raise StorageDamaged(f"{found[-1]}: holds {loaded.meta}")
            self._latest = loaded.meta
            self._become(loaded)

    def _load_received(self, meta: SnapshotMeta, received: Path) -> Loaded:
        try:
            make_durable(self._files, received)
            loaded = load_state(received, self._files)
        except OSError as error:
            raise StorageFailed(f"preparing the snapshot {received}: {error}") from error
        if loaded.meta != meta:
            raise StorageDamaged(f"{received}: holds {loaded.meta}, not {meta}")
        return loaded

    def _become(self, loaded: Loaded) -> None:
        before = self._state
        meta, self._records, state = loaded
        state.remaining_s = before.remaining_s
        state.keys.events = None if before.keys.events is None else []
        self._gone_leases = [
            LeaseChange(lease, 0) for lease in before.leases.ids() if not state.leases.exists(lease)
        ]
        self._state = state
        self._index, self._term, self._configuration = meta.index, meta.term, meta.configuration

    def _check_next(self, index: int) -> None:
        if index != self._index + 1:
            raise StorageFailed(f"entry {index} is not the one after {self._index}")

    def _start(self, name: str, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Work on the records frozen just now: what compaction took would be missing from them."""
        keys = self._state.keys

        def work_in_peace() -> T:
            try:
                return work()
            finally:
                with self._pauses_lock:
                    keys.compaction_pauses -= 1

        with self._pauses_lock:
            keys.compaction_pauses += 1
        self._work.start(name, work_in_peace, done)

    def _write_snapshot(self, meta: SnapshotMeta, write: Callable[[], None]) -> Exception | None:
        try:
            write()
            with self._snapshots_lock:
                if self._latest is None or self._latest.index < meta.index:
                    self._latest = meta
                remove_old_snapshots(self._directory, self._files)
        except Exception as error:
            return error
        return None
