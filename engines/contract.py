"""What a node asks of an engine: the Store, the durable Raft log, and the reference back to Raft.

Reading order 1 of the engines. Protocols and plain values only; engines import nothing of `node`,
so the node's own types satisfy these by shape.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from metastore.engines.records import KeyValue

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
    committed_once: int = 0  # the commit index on disk, though the log may end before it


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


Event: TypeAlias = tuple[KeyValue, KeyValue | None]
"""A version that came to be (a tombstone: the key was deleted), and the live one before it."""


@dataclass(frozen=True, slots=True)
class LeaseChange:
    """Something that a clock of leases must know, in the order of application. `ttl_s` 0: the
    lease is gone; else it has so long to live from now on."""

    lease: int
    ttl_s: int


class Store(Protocol):
    """The replicated state of one node. Only the loop thread calls it, except where it is said."""

    def set_raft_node(self, node: RaftNode) -> None: ...
    def get_raft_status(self) -> RaftStatus:
        """Any thread."""
        ...

    @property
    def applied(self) -> SnapshotMeta:
        """The index and term of the last applied entry, and the configuration as of it."""
        ...

    @property
    def last_applied(self) -> int: ...
    @property
    def revision(self) -> int: ...
    @property
    def compacted_revision(self) -> int: ...
    @property
    def key_count(self) -> int: ...
    @property
    def size_bytes(self) -> int:
        """Keys, values and what they cost beside, all versions; what the quota looks at."""
        ...

    @property
    def alarms(self) -> Sequence[int]: ...

    def apply(self, entries: Sequence[LogEntry]) -> Sequence[Applied]:
        """Applies committed NORMAL entries in index order, exactly once each; deterministic. An
        empty `data` is an entry without requests (a new leader's). Bad requests get an error reply;
        they never raise."""
        ...

    def skip(self, index: int, term: int, configuration: bytes) -> None:
        """Marks an entry that is not for the store (a configuration change) as applied, with the
        configuration as of it."""
        ...

    def read(self, request: bytes) -> bytes:
        """Answers a request that only reads (schema.is_read_only) from the state as it is now; not
        HASH, which takes too long."""
        ...

    def hash_at(self, revision: int, done: Callable[[bytes], None]) -> None:
        """Works out the reply to HASH (0: the newest revision) on another thread, of the state at
        the time of the call, and calls `done` with it (schema.encode_results) from there."""
        ...

    # What changed, for watches and for the clock of leases

    def collect_events(self, wanted: bool) -> None:
        """From now on events are (not) kept for take_events."""
        ...

    def take_events(self) -> Sequence[Event]:
        """Since the last call, in order; all events of one revision stand together."""
        ...

    def take_lease_changes(self) -> Sequence[LeaseChange]:
        """Since the last call. After opening and after an install: every lease there is."""
        ...

    def set_lease_clock(self, remaining_s: Callable[[int], int]) -> None:
        """Who knows how long a lease has to live (seconds), for LEASE_TIME_TO_LIVE."""
        ...

    def lease_renewals(self, lease: int) -> int:
        """How often a lease was renewed; goes into LEASE_EXPIRE, so that a renewal in between
        saves the lease."""
        ...

    def history(self, first: int, last: int) -> Iterator[Event]:
        """Events with first <= revision <= last, compacted_revision <= first. Nothing may be
        applied while it is used. The version before is None where compaction took it."""
        ...

    def compact_step(self, changes_max: int) -> bool:
        """One slice of the physical compaction; whether there is more to do. Does nothing while a
        snapshot or a hash is being worked out."""
        ...

    # Snapshots

    def save_snapshot(self, done: Callable[[Exception | None], None]) -> SnapshotMeta:
        """Starts making a snapshot of the state at `applied` durable, on another thread, aside and
        then named, directory synced; calls `done` from that thread. Applies may go on meanwhile.
        Raises ValueError while another one is under way."""
        ...

    def latest_snapshot(self) -> SnapshotMeta | None: ...

    def export_snapshot(self, meta: SnapshotMeta) -> Path:
        """The complete file (snapshot_format.py) of a snapshot, for a peer or a backup. Any thread
        but the loop's, since it may have to be written first. Raises FileNotFoundError if there is
        no such snapshot, or no more."""
        ...

    def prepare_snapshot(self, meta: SnapshotMeta, received: Path) -> None:
        """Verifies a received file and loads it aside; any one thread but the loop's. Raises
        StorageDamaged (bad file, or not this snapshot), StorageFailed; the state stays as it is."""
        ...

    def install_snapshot(self, meta: SnapshotMeta, received: Path) -> None:
        """Durably replaces the state by a prepared one, in one step: a crash leaves the old or the
        new one. Short. Raises as prepare_snapshot, and ValueError for one behind the state."""
        ...

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """All live keys and values in key order, as of the call."""
        ...

    def close(self) -> None: ...
