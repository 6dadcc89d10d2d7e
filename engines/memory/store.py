"""The memory engine's Store: all versions of all keys in memory, durable through log and snapshots.

Reading order 16 of the engines. Between two snapshots nothing is written here: after a restart the
node replays the log from `last_applied`. What an entry means is for state.py to say; here is where
the state comes from and where it goes. Threads of its own only while a snapshot is written or a
hash worked out.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

from metastore.engines.background import BackgroundWork
from metastore.engines.contract import (
    Applied,
    LogEntry,
    RaftNode,
    SnapshotMeta,
    StorageDamaged,
    StorageFailed,
)
from metastore.engines.files import Files
from metastore.engines.hash_replies import hash_reply
from metastore.engines.memory.loading import Loaded, empty_state, load_state
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.memory.snapshot_files import (
    adopt_snapshot,
    find_snapshots,
    make_durable,
    remove_old_snapshots,
    remove_unfinished_snapshots,
    snapshot_name,
)
from metastore.engines.mvcc import KeySpace
from metastore.engines.snapshot_format import SnapshotHeader, write_snapshot
from metastore.engines.state_store import StateStore

T = TypeVar("T")

DISSOLVE_WAIT_S = 0.1

_WRITER, _HASHER, _DISSOLVER = "snapshot-writer", "hasher", "dissolver"


class MemoryStore(StateStore):
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
        _, self._records, state = empty_state()
        super().__init__(node_id, raft, state)
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

    def apply(self, entries: Sequence[LogEntry]) -> Sequence[Applied]:
        """Raises StorageFailed on an entry that is not the next one: applying it, or applying one
        twice, would make this replica another than the rest."""
        applied = []
        for entry in entries:
            self._check_next(entry.index, self._applied.index)
            replies = self._state.apply(entry)
            self._applied = SnapshotMeta(entry.index, entry.term, self._applied.configuration)
            applied.append(Applied(entry.index, replies))
        return applied

    def skip(self, index: int, term: int, configuration: bytes) -> None:
        """Raises StorageFailed as `apply` does. An empty configuration changes none."""
        self._check_next(index, self._applied.index)
        self._applied = SnapshotMeta(index, term, configuration or self._applied.configuration)

    def hash_at(self, revision: int, done: Callable[[bytes], None]) -> None:
        keys = self._state.keys
        versions = self._records.freeze(keys.revision).versions()
        revisions = (revision, keys.compacted_revision, keys.revision)
        work = partial(hash_reply, versions, *revisions, self._work.is_closing)
        self._start(_HASHER, work, done)

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
        if meta.index < self.last_applied:
            raise ValueError(f"snapshot {meta.index} is behind the state at {self.last_applied}")
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
        self._replace(loaded)

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
            self._replace(loaded)

    def _load_received(self, meta: SnapshotMeta, received: Path) -> Loaded:
        try:
            make_durable(self._files, received)
            loaded = load_state(received, self._files)
        except OSError as error:
            raise StorageFailed(f"preparing the snapshot {received}: {error}") from error
        if loaded.meta != meta:
            raise StorageDamaged(f"{received}: holds {loaded.meta}, not {meta}")
        return loaded

    def _replace(self, loaded: Loaded) -> None:
        before, keys = self._records, self._state.keys
        self._records = loaded.records
        self._become(loaded.meta, loaded.state)
        if len(before):
            self._work.start(_DISSOLVER, partial(self._dissolve, before, keys), lambda _: None)

    def _dissolve(self, before: MemoryRecords, keys: KeySpace) -> None:
        """Once no snapshot and no hash is made of it any more."""
        while keys.compaction_pauses and not self._work.is_closing():
            time.sleep(DISSOLVE_WAIT_S)
        if not keys.compaction_pauses:
            before.dissolve()

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
