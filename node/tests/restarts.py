"""A data directory that is opened again and again as restarts would, and what it is filled with."""

from collections.abc import Sequence
from pathlib import Path
from queue import Queue

from founding import founded_by, founders

from metastore.engines.contract import SnapshotMeta
from metastore.engines.memory.store import MemoryStore
from metastore.engines.memory.wal import WriteAheadLog
from metastore.node.raft.model import ConfigurationState, Entry
from metastore.node.recovery import Recovered, recover
from metastore.transport import schema

THREE = ConfigurationState(voters=(1, 2, 3))
FOUNDED = founded_by(1, 2, 3)


class Disk:
    """One node's data directory, opened again and again as restarts would."""

    def __init__(self, path: Path) -> None:
        self.wal, self.snapshots = path / "wal", path / "snapshots"
        self.store: MemoryStore
        self.log: WriteAheadLog

    def start(self) -> Recovered:
        self.store = MemoryStore(self.snapshots, node_id=1)
        self.log = WriteAheadLog(self.wal)
        return recover(self.log, self.store, founders([3, 1, 2]))

    def write(
        self, entries: Sequence[Entry] = (), hard_state: tuple[int, int, int] | None = None
    ) -> None:
        self.log.append(entries, hard_state, None)
        self.log.sync()

    def save_snapshot(self) -> SnapshotMeta:
        done: Queue[Exception | None] = Queue()
        meta = self.store.save_snapshot(done.put)
        assert done.get(timeout=10) is None
        return meta

    def crash(self) -> None:
        self.log.close()
        self.store.close()


def entry(index: int, term: int = 1) -> Entry:
    data = schema.encode_batch([schema.encode_request([schema.put(b"%d" % index, b"v")])])
    return Entry(term, index, data=data)


def entries(low: int, high: int, term: int = 1) -> list[Entry]:
    return [entry(index, term) for index in range(low, high + 1)]


def indexes(found: Recovered) -> list[int]:
    mirror = found.mirror
    return list(range(mirror.first_index(), mirror.last_index() + 1))
