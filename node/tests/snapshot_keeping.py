"""A SnapshotKeeper around a real store and mirror, and a sender that only remembers, for tests."""

from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

from founding import founded_by, snapshot_of

from metastore.engines.contract import SnapshotMeta
from metastore.engines.memory.store import MemoryStore
from metastore.node.raft.messages import InstallSnapshot
from metastore.node.raft.model import Entry
from metastore.node.recovery import LogMirror
from metastore.node.snapshots import Received, Saved, Sent, SnapshotKeeper
from metastore.transport import schema

FOUNDED = founded_by(1, 2, 3)
FIRST = snapshot_of(1, 1, FOUNDED)
ADDRESS = "tcp://127.0.0.1:1"


class CountingStore(MemoryStore):
    """Remembers which snapshots were asked for, since their threads report in their own time."""

    asked: list[int]

    def save_snapshot(self, done: Callable[[Exception | None], None]) -> SnapshotMeta:
        self.asked.append(self.last_applied)
        return super().save_snapshot(done)


class Node:
    """A keeper with a real store and mirror; `apply` does what the loop does."""

    def __init__(self, folder: Path, *, witness_folder: Path | None = None, **limits: int) -> None:
        self.reports: Queue[Saved | Sent | Received] = Queue()
        self.store = CountingStore(folder, node_id=1)
        self.store.asked = []
        self.store.skip(1, 1, FOUNDED.encode())
        self.mirror = LogMirror(FIRST)
        self.mirror.apply_snapshot(FIRST)
        sizes = {"entries_max": 10, "bytes_max": 1 << 20, "trailing_entries": 3} | limits
        self.keeper = SnapshotKeeper(
            self.store,
            self.mirror,
            self.reports.put,
            node_id=2,
            witness_folder=witness_folder,
            **sizes,
        )

    def apply(self, count: int, value: bytes = b"v") -> None:
        for _ in range(count):
            index = self.store.last_applied + 1
            request = schema.encode_request([schema.put(b"%d" % index, value)])
            entry = Entry(1, index, data=schema.encode_batch([request]))
            self.mirror.append([entry])
            self.store.apply([entry])
            self.keeper.note_applied(len(entry.data))
            self.keeper.maybe_save()

    def saved(self) -> Saved:
        report = self.reports.get(timeout=10)
        assert isinstance(report, Saved)
        return report

    def save_now(self) -> SnapshotMeta:
        """Applies until a snapshot starts, and takes its report in."""
        self.apply(10)
        meta = self.keeper.on_saved(self.saved())
        assert meta is not None
        return meta


class Started(NamedTuple):
    to: int
    address: str
    facts: dict[str, Any]
    find_path: Callable[[], Path]
    on_done: Callable[[bool, str], None]


class Sender:
    """Remembers the transfers; a test ends them."""

    def __init__(self) -> None:
        self.started: list[Started] = []

    def start(
        self,
        peer_id: int,
        address: str,
        meta: dict[str, Any],
        find_path: Callable[[], Path],
        on_done: Callable[[bool, str], None],
    ) -> None:
        self.started.append(Started(peer_id, address, meta, find_path, on_done))


def message_for(to: int, meta: SnapshotMeta) -> InstallSnapshot:
    snapshot = snapshot_of(meta.index, meta.term, FOUNDED)
    return InstallSnapshot(sender=1, to=to, term=5, snapshot=snapshot)
