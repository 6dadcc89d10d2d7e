"""What a witness gets in place of data: entries without their contents, snapshots without a state.

Below outbox.py, effects.py and snapshots.py. A witness votes and keeps the log's terms and indexes,
so that what two data nodes agreed on cannot be lost with one of them; it never leads, so nobody
ever takes an entry from it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metastore.engines.contract import SnapshotMeta
from metastore.engines.files import Files
from metastore.engines.memory.loading import empty_state
from metastore.engines.snapshot_format import UNFINISHED, SnapshotHeader, write_snapshot
from metastore.node.raft.messages import AppendEntries, Message
from metastore.node.raft.model import Entry, EntryType


def without_data(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Changes of the members stay whole: a witness has to know who votes."""
    return tuple(
        [
            Entry(entry.term, entry.index) if entry.type is EntryType.NORMAL else entry
            for entry in entries
        ]
    )


def for_witness(messages: Sequence[Message]) -> list[Message]:
    """What of these messages a witness gets."""
    return [
        replace(message, entries=without_data(message.entries))
        if isinstance(message, AppendEntries) and message.entries
        else message
        for message in messages
    ]


def write_empty_snapshot(folder: Path, meta: SnapshotMeta) -> Path:
    """A snapshot at the same index, of the same members and of no keys; takes the place of older
    ones in the folder. Any thread. Raises OSError."""
    files = Files()
    files.make_directory(folder)
    path = folder / f"empty-{meta.index:016x}-{meta.term:016x}.state"
    if not path.exists():
        before = [old for old in folder.iterdir() if not old.name.endswith(UNFINISHED)]
        state = empty_state().state
        header = SnapshotHeader(meta, state.keys.revision, state.keys.compacted_revision)
        write_snapshot(path, files, header, (), (), list(state.all_facts()))
        for old in before:
            old.unlink(missing_ok=True)
    return path
