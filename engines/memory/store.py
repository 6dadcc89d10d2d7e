"""The memory engine's Store: keys in a dict, durable through the Raft log and snapshot files.

Reading order 10 of the engines. Between two snapshots nothing is written here: after a restart the
node replays the log from `last_applied`. One thread of its own, and only while a snapshot is
written.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread

from metastore.engines.contract import (
    STANDALONE,
    Applied,
    LogEntry,
    RaftNode,
    RaftStatus,
    SnapshotMeta,
    StorageDamaged,
    StorageFailed,
)
from metastore.engines.files import Files
from metastore.engines.memory.index import MemoryIndex
from metastore.engines.memory.snapshot_files import (
    SnapshotHeader,
    adopt_snapshot,
    find_snapshots,
    read_snapshot,
    remove_old_snapshots,
    remove_unfinished_snapshots,
    snapshot_name,
    write_snapshot,
)
from metastore.engines.mvcc import KeySpace, KeyValue
from metastore.transport.schema import (
    Code,
    MalformedRequest,
    decode_batch,
    decode_request,
    encode_results,
    is_read_only,
)

_NOT_A_READ = "only reads are answered without the log"


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
        self._index = MemoryIndex()
        self._keys = KeySpace(self._index)
        self._last_applied = 0
        self._latest: SnapshotMeta | None = None
        self._writer: Thread | None = None
        self._is_writing = False
        self._closing = Event()
        # Snapshot files are named, renamed and removed by the loop thread and by the writer.
        self._snapshots_lock = Lock()
        try:
            self._load()
        except OSError as error:
            raise StorageFailed(f"loading the snapshot in {directory}: {error}") from error

    def set_raft_node(self, node: RaftNode) -> None:
        self._raft = node

    def get_raft_status(self) -> RaftStatus:
        """The node's own status; without a node, that of a store that stands alone. Any thread."""
        if self._raft is not None:
            return self._raft.status()
        applied = self._last_applied
        return RaftStatus(self._node_id, 0, 0, STANDALONE, applied, applied)

    @property
    def last_applied(self) -> int:
        return self._last_applied

    @property
    def revision(self) -> int:
        return self._keys.revision

    @property
    def key_count(self) -> int:
        return len(self._index)

    def apply(self, entries: Sequence[LogEntry]) -> Sequence[Applied]:
        """Raises StorageFailed on an entry that is not the next one: applying it, or applying one
        twice, would make this replica another than the rest."""
        applied = []
        for entry in entries:
            self._check_next(entry.index)
            replies = [self._answer(request) for request in _requests(entry.data)]
            self._last_applied = entry.index
            applied.append(Applied(entry.index, replies))
        return applied

    def skip(self, index: int) -> None:
        """Raises StorageFailed as `apply` does."""
        self._check_next(index)
        self._last_applied = index

    def read(self, request: bytes) -> bytes:
        try:
            operations = decode_request(request)
        except MalformedRequest as error:
            return _refusal(str(error))
        if not is_read_only(operations):
            return _refusal(_NOT_A_READ)
        return encode_results(self._keys.execute(operations))

    def save_snapshot(self, meta: SnapshotMeta, done: Callable[[Exception | None], None]) -> None:
        """Raises ValueError if `meta` is not of last_applied, or while another one is being
        written. The state is copied in this call; a failed write leaves the store as usable as
        before."""
        if meta.index != self._last_applied:
            raise ValueError(f"snapshot of {meta.index}, but the state is at {self._last_applied}")
        if self._is_writing:
            raise ValueError("a snapshot is already being written")
        records, keys = self._index.copy()
        header = SnapshotHeader(meta, self._keys.revision, len(keys))
        content = (records[key] for key in keys)
        write = partial(self._write_snapshot, header, content, done)
        self._is_writing = True
        self._writer = Thread(target=write, name="snapshot-writer", daemon=True)
        self._writer.start()

    def latest_snapshot(self) -> SnapshotMeta | None:
        return self._latest

    def snapshot_path(self, meta: SnapshotMeta) -> Path:
        """Raises FileNotFoundError if there is no such snapshot, or no more."""
        path = self._directory / snapshot_name(meta)
        with self._snapshots_lock:
            if path not in find_snapshots(self._directory, self._files):
                raise FileNotFoundError(f"no snapshot {meta.index} of term {meta.term}: {path}")
        return path

    def install_snapshot(self, meta: SnapshotMeta, received: Path) -> None:
        """Raises StorageDamaged for a file that is not whole or not this snapshot, ValueError for
        one that is behind the state, StorageFailed if it cannot be put in place."""
        if meta.index < self._last_applied:
            raise ValueError(f"snapshot {meta.index} is behind the state at {self._last_applied}")
        try:
            header, records = read_snapshot(received, self._files)
            if header.meta != meta:
                raise StorageDamaged(f"{received}: holds {header.meta}, not {meta}")
            state = MemoryIndex(records)
            with self._snapshots_lock:
                adopt_snapshot(self._directory, self._files, meta, received)
                self._latest = meta
                remove_old_snapshots(self._directory, self._files)
        except OSError as error:
            raise StorageFailed(f"installing the snapshot {received}: {error}") from error
        self._become(header, state)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        return self._index.scan()

    def close(self) -> None:
        """Stops a snapshot that is being written; waits for its thread."""
        self._closing.set()
        if self._writer is not None:
            self._writer.join()

    def _load(self) -> None:
        self._files.make_directory(self._directory)
        remove_unfinished_snapshots(self._directory, self._files)
        found = find_snapshots(self._directory, self._files)
        if found:
            header, records = read_snapshot(found[-1], self._files)
            if snapshot_name(header.meta) != found[-1].name:
                raise StorageDamaged(f"{found[-1]}: holds {header.meta}")
            self._latest = header.meta
            self._become(header, MemoryIndex(records))

    def _become(self, header: SnapshotHeader, index: MemoryIndex) -> None:
        self._index = index
        self._keys = KeySpace(index, header.revision)
        self._last_applied = header.meta.index

    def _check_next(self, index: int) -> None:
        if index != self._last_applied + 1:
            raise StorageFailed(f"entry {index} is not the one after {self._last_applied}")

    def _answer(self, request: bytes) -> bytes:
        try:
            operations = decode_request(request)
        except MalformedRequest as error:
            return _refusal(str(error))
        return encode_results(self._keys.execute(operations))

    def _write_snapshot(
        self,
        header: SnapshotHeader,
        records: Iterator[KeyValue],
        done: Callable[[Exception | None], None],
    ) -> None:
        problem: Exception | None = None
        try:
            write_snapshot(self._directory, self._files, header, records, self._closing.is_set)
            with self._snapshots_lock:
                if self._latest is None or self._latest.index < header.meta.index:
                    self._latest = header.meta
                remove_old_snapshots(self._directory, self._files)
        except Exception as error:
            problem = error
        self._is_writing = False  # before `done`, which may ask for the next one
        done(problem)


def _refusal(sentence: str) -> bytes:
    return encode_results(((int(Code.INVALID_ARGUMENT), sentence),))


def _requests(data: bytes) -> Sequence[bytes]:
    """The requests of an entry. Bytes that are no batch hold none: every replica must go on
    alike."""
    try:
        requests = decode_batch(data)
    except Exception:
        return ()
    return requests if type(requests) is tuple else ()
