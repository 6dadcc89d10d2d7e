"""What a node asks of an engine: the Store, the durable Raft log, and the reference back to Raft.

Reading order 1 of the engines. Protocols and plain values only; engines import nothing of `node`,
so the node's own types satisfy these by shape.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

STANDALONE = "standalone"


@dataclass(frozen=True, slots=True)
class RaftStatus:
    """One node's view of Raft; the answer of the status socket, field for field."""

    node_id: int
    term: int
    leader_id: int  # 0: no leader known
    state: str  # "leader" | "follower" | "candidate" | "pre-candidate" | "standalone"
    applied: int  # last applied index
    commit: int  # commit index

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@runtime_checkable
class RaftNode(Protocol):
    """What a store may ask the Raft node it belongs to. Never blocks."""

    def status(self) -> RaftStatus: ...
    def term(self) -> int: ...
    def leader(self) -> int: ...
    def state(self) -> str: ...


class LogEntry(Protocol):
    """The shape of one Raft log entry; `data` is stored as it is."""

    @property
    def term(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def type(self) -> int: ...
    @property
    def data(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A log entry as recovery returns it."""

    term: int
    index: int
    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """Names a snapshot: the state up to and including `index`. `configuration` is opaque bytes."""

    index: int = 0
    term: int = 0
    configuration: bytes = b""


@dataclass(frozen=True, slots=True)
class RecoveredLog:
    """What was durable: (term, voted_for, commit_index), the snapshot below the log, the
    entries."""

    hard_state: tuple[int, int, int] = (0, 0, 0)
    snapshot: SnapshotMeta = SnapshotMeta()
    entries: Sequence[LogRecord] = ()
    warnings: Sequence[str] = ()  # e.g. "cut a torn record of 17 bytes at FILE:OFFSET"


class StorageFailed(Exception):
    """A write or sync failed. The storage is poisoned; the node must stop. Says what and where."""


class StorageDamaged(Exception):
    """Damage that is not a torn tail: the node must not start. Names file and offset."""


class RaftLog(Protocol):
    """The durable Raft log. `append` writes, `sync` makes it durable; one owner thread (the disk
    thread) after recovery. The first failure poisons it: every later call raises StorageFailed."""

    def recover(self) -> RecoveredLog:
        """Called once after open, before anything else."""
        ...

    def append(
        self,
        entries: Sequence[LogEntry],
        hard_state: tuple[int, int, int] | None,
        snapshot: SnapshotMeta | None,
    ) -> None:
        """Entries overwrite from their first index on; a snapshot replaces everything up to and
        including its index and, if the log does not hold (index, term), everything after it."""
        ...

    def sync(self) -> None: ...

    def compact(self, snapshot: SnapshotMeta) -> None:
        """Entries up to and including snapshot.index are no longer needed; whole segments go."""
        ...

    def size_bytes(self) -> int: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying one entry gave: one encoded reply (bytes of schema.encode_results) per request
    of the entry, in order."""

    index: int
    replies: Sequence[bytes]


class Store(Protocol):
    """The replicated state of one node. Only the loop thread calls it, except get_raft_status."""

    def set_raft_node(self, node: RaftNode) -> None: ...
    def get_raft_status(self) -> RaftStatus: ...

    @property
    def last_applied(self) -> int: ...
    @property
    def revision(self) -> int: ...
    @property
    def key_count(self) -> int: ...

    def apply(self, entries: Sequence[LogEntry]) -> Sequence[Applied]:
        """Applies committed NORMAL entries in index order, exactly once each; deterministic. An
        empty `data` is an entry without requests (a new leader's). Bad requests get an error reply;
        they never raise."""
        ...

    def skip(self, index: int) -> None:
        """Marks an entry that is not for the store (a configuration change) as applied."""
        ...

    def read(self, request: bytes) -> bytes:
        """Answers a request that only reads (schema.is_read_only) from the state as it is now."""
        ...

    def save_snapshot(self, meta: SnapshotMeta, done: Callable[[Exception | None], None]) -> None:
        """Starts writing the state at last_applied (== meta.index) to a snapshot file, on another
        thread, aside and renamed, directory synced; calls `done` from that thread. The state taken
        is the one at the time of the call; applies may go on meanwhile."""
        ...

    def latest_snapshot(self) -> SnapshotMeta | None: ...

    def snapshot_path(self, meta: SnapshotMeta) -> Path:
        """The complete, checksummed file of a snapshot, for sending it to a peer."""
        ...

    def install_snapshot(self, meta: SnapshotMeta, received: Path) -> None:
        """Verifies a received file, moves it into place durably and replaces the state by it. On
        any error (StorageDamaged) the old state stays."""
        ...

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """All live keys and values in key order (for dump and digests)."""
        ...

    def close(self) -> None: ...
