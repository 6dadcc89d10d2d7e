"""What a data directory holds, piece by piece, as plain values: for JSON lines and for people.

Reading order 7 of the offline tools. Every piece is a kind and its fields; what is said of an
entry is in words.py. Reads, never writes; stops at the first thing it cannot read.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from metastore.engines.contract import LogRecord, RecoveredLog, SnapshotMeta
from metastore.engines.records import KeyValue
from metastore.engines.sessions import SESSION_FACT
from metastore.engines.state import State
from metastore.node.offline.contents import Contents, Held, open_contents
from metastore.node.offline.directory import held as held_directory
from metastore.node.offline.directory import identity_of
from metastore.node.offline.members import membership_after, membership_of, shown_members
from metastore.node.offline.reading import Progress
from metastore.node.offline.words import requests_of, shown, type_of
from metastore.node.raft.model import EntryType


class Piece(NamedTuple):
    kind: str  # "identity", "hard_state", "snapshot", "entry", "member", "scalars", "lease", ...
    fields: dict[str, Any]


class Wanted(NamedTuple):
    """Which entries (indexes, inclusive; 0: to the end), and whether all live keys as well."""

    first_index: int = 0
    last_index: int = 0
    keys: bool = False


def inspect_directory(path: Path, wanted: Wanted, progress: Progress) -> Iterator[Piece]:
    """Raises DataDirectoryLocked, DataDirectoryUnusable, DataDirectoryForeign, EngineMissing,
    StorageDamaged, StorageFailed, OSError."""
    with held_directory(path):
        identity = identity_of(path)
        yield Piece("identity", asdict(identity))
        with open_contents(path, identity.engine, progress) as contents:
            log = contents.log()
            yield from _of_log(contents, log, wanted)
            yield from _of_state(_caught_up(contents.stored(), log), wanted)


def _of_log(contents: Contents, log: RecoveredLog, wanted: Wanted) -> Iterator[Piece]:
    term, voted_for, commit = log.hard_state
    yield Piece("hard_state", {"term": term, "voted_for": voted_for, "commit_index": commit})
    yield Piece("log_base", _meta(log.snapshot))
    for warning in log.warnings:
        yield Piece("warning", {"what": warning})
    for snapshot in contents.snapshots():
        header = snapshot.check()
        revisions = {"revision": header.revision, "compacted_revision": header.compacted_revision}
        yield Piece("snapshot", {"file": snapshot.path.name, **_meta(header.meta), **revisions})
    for entry in log.entries:
        if wanted.first_index <= entry.index and not 0 < wanted.last_index < entry.index:
            yield Piece("entry", _entry(entry, commit))


def _entry(entry: LogRecord, commit: int) -> dict[str, Any]:
    return {
        "index": entry.index,
        "term": entry.term,
        "type": type_of(entry),
        "bytes": len(entry.data),
        "is_committed": entry.index <= commit,
        "requests": requests_of(entry),
    }


def _meta(meta: SnapshotMeta) -> dict[str, Any]:
    fields: dict[str, Any] = {"index": meta.index, "term": meta.term}
    if meta.configuration:
        membership = membership_of(meta, f"the record of the members at index {meta.index}")
        parts = asdict(membership.configuration)
        fields |= {name: value for name, value in parts.items() if value}
    return fields


def _caught_up(held: Held, log: RecoveredLog) -> Held:
    """With what the log says was committed after what is stored; in memory only."""
    applied, state = held
    if not applied.index:  # what a founder's log begins with, no store has to write down
        applied = log.snapshot
    membership = membership_of(applied, "the state")
    for entry in log.entries:
        if applied.index < entry.index <= log.hard_state[2]:
            if entry.type == EntryType.NORMAL:
                state.apply(entry)
            else:
                membership = membership_after(membership, entry)
            applied = SnapshotMeta(entry.index, entry.term, membership.encode())
    return Held(applied, state)


def _of_state(held: Held, wanted: Wanted) -> Iterator[Piece]:
    applied, state = held
    yield from _of_members(applied)
    keys = state.keys
    yield Piece(
        "scalars",
        {
            "as_of_index": applied.index,
            "revision": keys.revision,
            "compacted_revision": keys.compacted_revision,
            "size_bytes": keys.size_bytes,
            "keys": len(keys.records),
            "alarms": list(state.alarms.as_tuple()),
        },
    )
    yield from _of_leases(state)
    for name, _ in state.sessions.facts():
        session = int.from_bytes(name[len(SESSION_FACT) :], "big", signed=True)
        yield Piece("session", {"session": f"{session:x}"})
    if wanted.keys:
        for record in _live(state):
            yield Piece("key", _key(record))


def _of_members(applied: SnapshotMeta) -> Iterator[Piece]:
    membership = membership_of(applied, "the state")
    for fields in shown_members(membership):
        yield Piece("member", fields)
    if membership.removed:
        yield Piece("removed", {"node_ids": list(membership.removed)})


def _of_leases(state: State) -> Iterator[Piece]:
    for lease in state.leases.ids():
        found = state.leases.get(lease)
        if found is not None:
            fields = {
                "lease": f"{lease:x}",
                "ttl_s": found.ttl_s,
                "remaining_s": found.to_live_s,
                "renewals": found.renewals,
                "keys": [shown(key) for key in sorted(found.keys)],
            }
            yield Piece("lease", fields)


_PAGE_KEYS = 1000


def _live(state: State) -> Iterator[KeyValue]:
    """In pages: the store may hold more than memory does."""
    start = b""
    while page := state.keys.records.select(start, None, _PAGE_KEYS):
        yield from page
        start = page[-1][0] + b"\0"


def _key(record: KeyValue) -> dict[str, Any]:
    key, value, create, mod, version, lease = record
    fields: dict[str, Any] = {"key": shown(key), "value": shown(value)}
    fields |= {"create_revision": create, "mod_revision": mod, "version": version}
    return fields | ({"lease": f"{lease:x}"} if lease else {})
