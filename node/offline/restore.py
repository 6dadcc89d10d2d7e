"""From a backup, or an etcd snapshot, to the data directory of one member of a new cluster.

Reading order 8 of the offline tools. The same file gives every member the same state. It is a new
cluster: another id, so that nothing of the old one takes it for its own; a log that begins where
the old one cannot have been; revisions that went on, so that whoever remembers one of the old
cluster is told that it is compacted, instead of being shown another history under the same number.
Only who knows that the old cluster wrote nothing after the backup may keep revisions and history.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from metastore.engines.contract import RaftLog, SnapshotMeta, Store
from metastore.engines.files import Files
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.sessions import REPLY_FACT, SESSION_FACT
from metastore.engines.snapshot_format import (
    Fact,
    Order,
    SnapshotHeader,
    SnapshotReader,
    verify,
    write_snapshot,
)
from metastore.engines.state import State
from metastore.node.identity import Identity, new_data_directory
from metastore.node.members.records import MemberRecord, Membership, first_membership
from metastore.node.members.roster import to_record
from metastore.node.offline.directory import LOG_FOLDERS
from metastore.node.offline.etcd.adoption import adopt_snapshot
from metastore.node.offline.etcd.snapshot_file import check_hash, is_etcd_snapshot
from metastore.node.offline.members import membership_of
from metastore.node.offline.reading import Progress, ReadingFiles
from metastore.node.raft.model import NO_NODE
from metastore.node.settings_values import NODE_ID_MAX, number_from, parse_members
from metastore.transport.member_ops import Role

BUMP_REVISION = 1_000_000
REVISION_MAX = (1 << 63) - 1
# In the data directory, until the store has taken it in
_RESTORED = "restored.state"
_ADOPTED = "adopted.state"


class Refused(Exception):
    """Nothing was restored: what was asked for makes no member of a cluster."""


class Restored(NamedTuple):
    meta: SnapshotMeta
    revision: int
    compacted_revision: int
    key_count: int
    keys_without_lease: int = 0  # of an etcd snapshot: their lease is not in it


def new_identity(cluster_id: int, node_id: int, engine: str) -> Identity:
    """Of a node that has not started yet, and yet has a log that it must not lose."""
    return Identity(cluster_id, node_id, engine, has_log=True)


def founder(text: str) -> MemberRecord:
    """A member of the new cluster: as in the settings, or its id alone. Raises ValueError."""
    if "=" not in text:
        node_id = number_from(1, NODE_ID_MAX)(text)
        return MemberRecord(node_id, Role.VOTER.value, "", "", "", "")
    (member,) = parse_members([text])
    return to_record(member)


def restore(
    backup: Path,
    data_dir: Path,
    identity: Identity,
    members: Sequence[MemberRecord],
    progress: Progress,
    *,
    bump_revision: int | None = None,
    skip_hash_check: bool = False,
) -> Restored:
    """Fills a new data directory for the node that `identity` names. `bump_revision` 0 keeps the
    revision and the history; by default it is BUMP_REVISION, and 0 for an etcd snapshot, as etcd's
    own restore has it. Raises Refused, StorageDamaged (the file is not whole), StorageFailed,
    EngineMissing, OSError, and what new_data_directory raises; the directory is as it was before
    then."""
    _own(identity.node_id, members)
    if not is_etcd_snapshot(backup):
        bump = BUMP_REVISION if bump_revision is None else bump_revision
        header = _new_header(verify(backup, ReadingFiles(progress)), backup, members, bump)
        with new_data_directory(data_dir, identity):
            return _fill(data_dir, identity, members, (backup, header), progress)
    if not skip_hash_check:
        check_hash(backup, progress)
    with new_data_directory(data_dir, identity):
        own = data_dir / _ADOPTED
        adopted = adopt_snapshot(backup, own, progress)
        header = _new_header(adopted.header, backup, members, bump_revision or 0)
        filled = _fill(data_dir, identity, members, (own, header), progress)
        own.unlink()
        return filled._replace(keys_without_lease=adopted.keys_without_lease)


def _fill(
    data_dir: Path,
    identity: Identity,
    members: Sequence[MemberRecord],
    source: tuple[Path, SnapshotHeader],
    progress: Progress,
) -> Restored:
    backup, header = source
    raised = data_dir / _RESTORED
    if _own(identity.node_id, members).role == Role.WITNESS:  # holds no data
        write_snapshot(raised, Files(), header, (), (), _facts((), header))
    else:
        _write_raised(backup, raised, header, progress)
    with opened_engine(data_dir, identity) as (store, log):
        log.recover()
        store.prepare_snapshot(header.meta, raised)
        store.install_snapshot(header.meta, raised)
        log.append((), (header.meta.term, NO_NODE, header.meta.index), header.meta)
        log.sync()
        return Restored(header.meta, store.revision, store.compacted_revision, store.key_count)


def _own(node_id: int, members: Sequence[MemberRecord]) -> MemberRecord:
    """Raises Refused."""
    for member in members:
        if member.node_id == node_id:
            return member
    listed = ", ".join(str(member.node_id) for member in members)
    raise Refused(f"node {node_id} is none of the members ({listed})")


def _removed(old: Membership, members: Sequence[MemberRecord]) -> tuple[int, ...]:
    """Of the old cluster, and of the new one from its beginning on: whoever was removed and still
    has a disk must not come back because of a restore. Raises Refused."""
    for member in members:
        if member.node_id in (*old.removed, *old.leaving):
            raise Refused(
                f"node {member.node_id} was removed from the cluster of the backup, and its disk "
                "may still be somewhere; use another id"
            )
    return tuple(sorted({*old.removed, *old.leaving}))


def _new_header(
    before: SnapshotHeader, backup: Path, members: Sequence[MemberRecord], bump_revision: int
) -> SnapshotHeader:
    """Raises Refused."""
    removed = _removed(membership_of(before.meta, backup), members)
    # Of indexes as of revisions: the old cluster may have gone on after the backup. Lease ids are
    # made from indexes, and one that was given out is not given to somebody else. And a member that
    # was started on an empty directory by mistake does not seem to have this beginning.
    index = before.meta.index + (bump_revision or BUMP_REVISION)
    revision = before.revision + bump_revision
    if max(index, revision) > REVISION_MAX:
        raise Refused(
            f"revision {before.revision} or index {before.meta.index} + "
            f"{bump_revision or BUMP_REVISION} does not fit 64 bits"
        )
    membership = replace(first_membership(members, index), removed=removed)
    meta = SnapshotMeta(index, before.meta.term + 1, membership.encode())
    compacted_revision = revision if bump_revision else before.compacted_revision
    return SnapshotHeader(meta, revision, compacted_revision)


def _write_raised(backup: Path, raised: Path, header: SnapshotHeader, progress: Progress) -> None:
    """Streams. Of every key only what is not compacted now is left."""
    with SnapshotReader(backup, ReadingFiles(progress)) as reader:

        def order() -> Iterator[Order]:
            for one in reader.order():
                if one[0] >= header.compacted_revision:
                    yield one

        facts = _facts(reader.facts(), header)
        write_snapshot(raised, Files(), header, reader.versions(), order(), facts)


def _facts(facts: Iterable[Fact], header: SnapshotHeader) -> Iterator[Fact]:
    """Without sessions: their clients' writes went to another history. Leases begin anew."""
    kept = [f for f in facts if not f[0].startswith((SESSION_FACT, REPLY_FACT))]
    state = State(MemoryRecords(), kept)
    state.keys.revision = header.revision
    state.keys.compacted_revision = header.compacted_revision
    for lease in state.leases.ids():
        if (found := state.leases.get(lease)) is not None:
            found.remaining_s = 0
    for alarm in state.alarms.as_tuple():
        state.alarms.change(alarm, False)  # the new leader sees for itself
    yield from state.all_facts()


@contextmanager
def opened_engine(data_dir: Path, identity: Identity) -> Iterator[tuple[Store, RaftLog]]:
    """Of a data directory that is held by the caller. Raises StorageDamaged, StorageFailed,
    EngineMissing."""
    folder = data_dir / LOG_FOLDERS[identity.engine]
    if identity.engine == "rocksdb":
        from metastore.engines.rocksdb.store import RocksStore

        database = RocksStore(folder, node_id=identity.node_id)
        try:
            yield database, database.raft_log
        finally:
            database.close()
        return
    from metastore.engines.memory.store import MemoryStore
    from metastore.engines.memory.wal import WriteAheadLog

    store, log = (
        MemoryStore(data_dir / "snapshots", node_id=identity.node_id),
        WriteAheadLog(folder),
    )
    try:
        yield store, log
    finally:
        log.close()
        store.close()


def check_backup(path: Path, progress: Progress) -> SnapshotHeader:
    """Reads a whole backup. Raises StorageDamaged, OSError."""
    return verify(path, ReadingFiles(progress))
