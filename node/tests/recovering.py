"""A member of a cluster whose other disks are gone, for the tests of `recover`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from data_directories import (
    CLUSTER_ID,
    LAST_INDEX,
    NODE_ID,
    TERM,
    make_directory,
    quiet,
)
from founding import founders

from metastore.engines.contract import LogRecord, Store
from metastore.node.identity import open_data_directory, read_identity
from metastore.node.members.records import MemberRecord, encode_edits
from metastore.node.offline.recover import Done, open_recovery
from metastore.node.offline.recovery_plan import INDEX_MARGIN, Plan
from metastore.node.offline.restore import opened_engine
from metastore.node.raft.model import (
    Change,
    ChangeType,
    ConfigurationChange,
    EntryType,
)
from metastore.node.recovery import Recovered, recover
from metastore.transport import schema

ALL_OF_THEM = tuple(founders((1, 2, 3)))
AFTER_INDEX = LAST_INDEX + 2 + INDEX_MARGIN


def uncommitted() -> list[LogRecord]:
    """A write, and a new member, that nobody is known to have agreed to."""
    request = schema.encode_request([schema.put(b"late", b"yes")])
    edits = encode_edits([replace(ALL_OF_THEM[0], node_id=9)])
    change = ConfigurationChange((Change(ChangeType.ADD_LEARNER, 9),), context=edits)
    return [
        LogRecord(TERM + 1, LAST_INDEX + 1, 0, schema.encode_batch([request])),
        LogRecord(TERM + 1, LAST_INDEX + 2, EntryType.CONFIGURATION, change.encode()),
    ]


def make(path: Path, engine: str, members: Sequence[MemberRecord] = ALL_OF_THEM) -> Path:
    make_directory(path, engine, members=members)
    append(path, uncommitted())
    return path


def append(path: Path, entries: Sequence[LogRecord], commit: int = LAST_INDEX) -> None:
    with opened_engine(path, read_identity(path / "identity")) as (_, log):
        log.recover()
        log.append(entries, (TERM + 1, 0, commit), None)
        log.sync()


def run(path: Path, node_id: int = NODE_ID, *, is_forced: bool = False) -> tuple[Plan, Done]:
    with open_recovery(path, node_id, quiet, is_forced=is_forced) as recovery:
        return recovery.plan, recovery.carry_out()


@contextmanager
def started(path: Path, engine: str) -> Iterator[tuple[Store, Recovered]]:
    directory = open_data_directory(path, CLUSTER_ID, NODE_ID, engine)
    with opened_engine(path, directory.identity) as (store, log):
        yield store, recover(log, store, ALL_OF_THEM)
    directory.close()


def keys(store: Store) -> dict[bytes, bytes]:
    return dict(store.scan())
