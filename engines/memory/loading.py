"""From a snapshot file to a state in memory, in one pass.

Reading order 14 of the engines. Whole or not at all: what the file's checksums or its content do
not bear out is StorageDamaged, whatever it is.
"""

from pathlib import Path
from typing import NamedTuple

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.files import Files
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.snapshot_format import SnapshotReader
from metastore.engines.state import State


class Loaded(NamedTuple):
    meta: SnapshotMeta
    records: MemoryRecords
    state: State


def empty_state() -> Loaded:
    records = MemoryRecords()
    return Loaded(SnapshotMeta(), records, State(records))


def load_state(path: Path, files: Files) -> Loaded:
    """Any thread. Raises StorageDamaged naming the file, OSError."""
    with SnapshotReader(path, files) as reader:
        try:
            return _load(reader)
        except (StorageDamaged, OSError):
            raise
        except Exception as error:
            # Sound bytes that make no state: a file of another version of this program.
            raise StorageDamaged(f"{path}: {type(error).__name__}: {error}") from error


def _load(reader: SnapshotReader) -> Loaded:
    header = reader.header
    records = MemoryRecords(reader.versions(), reader.order(), header.compacted_revision)
    state = State(records, reader.facts())
    keys = state.keys
    if (keys.revision, keys.compacted_revision) != (header.revision, header.compacted_revision):
        raise ValueError(f"{header} disagrees with the facts: revision {keys.revision}")
    # What was hidden by compaction but not yet gone is counted in the facts and not in the file.
    keys.size_bytes = reader.footer.version_bytes
    return Loaded(header.meta, records, state)
