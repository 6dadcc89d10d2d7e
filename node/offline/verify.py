"""Whether a data directory is sound: identity, log, snapshots, state, and that they fit together.

Reading order 6 of the offline tools; words for people are the command's. Reads everything once and
changes nothing. A part that cannot be read does not keep the others from being looked at.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from metastore.engines.contract import (
    RaftLog,
    RecoveredLog,
    SnapshotMeta,
    StorageDamaged,
    StorageFailed,
    Store,
)
from metastore.engines.snapshot_format import verify as verify_snapshot
from metastore.node.identity import DataDirectoryForeign, Identity
from metastore.node.members.records import MemberRecord, Membership
from metastore.node.offline.contents import Contents, Held, KeptSnapshot, open_contents
from metastore.node.offline.directory import held as held_directory
from metastore.node.offline.directory import identity_of
from metastore.node.offline.etcd.adoption import check_snapshot
from metastore.node.offline.etcd.snapshot_file import check_hash, is_etcd_snapshot
from metastore.node.offline.members import membership_of
from metastore.node.offline.reading import Progress, ReadingFiles
from metastore.node.offline.state_check import check_state
from metastore.node.raft.model import ConfigurationChange, EntryType
from metastore.node.recovery import recover


class Verdict(Enum):
    SOUND = "sound"
    WARNING = "warning"  # a start copes with it; somebody should know
    DAMAGED = "damaged"


class Finding(NamedTuple):
    verdict: Verdict
    part: str  # "identity", "log", ...
    sentence: str  # with file and byte or index where there is something wrong


Findings: TypeAlias = Iterator[Finding]
_BAD = (StorageDamaged, StorageFailed, OSError)


def verify_directory(
    path: Path, progress: Progress, *, cluster_id: int | None = None, node_id: int | None = None
) -> Findings:
    """`cluster_id`, `node_id`: whose it should be. Raises DataDirectoryLocked,
    DataDirectoryUnusable, EngineMissing: then nothing was verified."""
    with held_directory(path):
        try:
            identity = identity_of(path)
        except DataDirectoryForeign as error:
            yield Finding(Verdict.DAMAGED, "identity", str(error))
            return
        yield from _check_identity(identity, cluster_id, node_id)
        try:
            with open_contents(path, identity.engine, progress) as contents:
                yield from _check_contents(contents, identity, progress)
        except _BAD as error:
            yield Finding(Verdict.DAMAGED, "database", _said(error))


def verify_file(path: Path, progress: Progress) -> Findings:
    """One snapshot or backup, or an etcd snapshot."""
    try:
        if is_etcd_snapshot(path):
            check_hash(path, progress)
            header = check_snapshot(path, progress)
            yield Finding(
                Verdict.SOUND,
                "snapshot",
                f"{path.name}: of an etcd, index {header.meta.index}, term {header.meta.term}, "
                f"revision {header.revision}, compacted {header.compacted_revision}",
            )
            return
        header = verify_snapshot(path, ReadingFiles(progress))
    except _BAD as error:
        yield Finding(Verdict.DAMAGED, "snapshot", _said(error))
        return
    yield Finding(
        Verdict.SOUND,
        "snapshot",
        f"{path.name}: index {header.meta.index}, term {header.meta.term}, "
        f"revision {header.revision}, compacted {header.compacted_revision}",
    )


def _check_identity(identity: Identity, cluster_id: int | None, node_id: int | None) -> Findings:
    for name, found, wanted in (
        ("cluster_id", identity.cluster_id, cluster_id),
        ("node_id", identity.node_id, node_id),
    ):
        if wanted is not None and wanted != found:
            yield Finding(Verdict.DAMAGED, "identity", f"belongs to {name} {found}, not {wanted}")
    yield Finding(
        Verdict.SOUND,
        "identity",
        f"node {identity.node_id} of cluster {identity.cluster_id}, engine {identity.engine}, "
        f"started {identity.incarnation} times",
    )


def _check_contents(contents: Contents, identity: Identity, progress: Progress) -> Findings:
    log = None
    try:
        log = contents.log()
        yield from _check_log(log)
    except _BAD as error:
        log = None
        yield Finding(Verdict.DAMAGED, "log", _said(error))
    saved = SnapshotMeta()
    for snapshot in contents.snapshots():
        finding, meta = _check_snapshot(snapshot)
        yield finding
        saved = max(saved, meta, key=lambda one: one.index)
    state = None
    try:
        state = contents.stored()
        yield Finding(Verdict.SOUND, "state", check_state(state, progress))
    except _BAD as error:
        yield Finding(Verdict.DAMAGED, "state", _said(error))
    if log is not None and state is not None:
        yield from _check_together(log, state, saved, identity)


def _check_log(log: RecoveredLog) -> Findings:
    for warning in log.warnings:
        # Of the commit index more is said where log and state come together.
        if not warning.startswith("commit index"):
            yield Finding(Verdict.WARNING, "log", warning.replace("cut a", "a start will cut a"))
    for entry in log.entries:
        if entry.type not in tuple(EntryType):
            raise StorageDamaged(f"entry {entry.index} is of the unknown type {entry.type}")
        if entry.type != EntryType.NORMAL:
            try:
                ConfigurationChange.decode(entry.data)
            except ValueError as error:
                raise StorageDamaged(f"entry {entry.index}: {error}") from None
    term, voted_for, commit = log.hard_state
    entries = f"{len(log.entries)} entries" + (
        f" ({log.entries[0].index} to {log.entries[-1].index})" if log.entries else ""
    )
    yield Finding(
        Verdict.SOUND,
        "log",
        f"{entries} after snapshot {log.snapshot.index}; term {term}, voted for {voted_for}, "
        f"committed {commit}",
    )


def _check_snapshot(snapshot: KeptSnapshot) -> tuple[Finding, SnapshotMeta]:
    try:
        header = snapshot.check()
        membership_of(header.meta, snapshot.path)
    except _BAD as error:
        return Finding(Verdict.DAMAGED, "snapshot", _said(error)), SnapshotMeta()
    sentence = f"{snapshot.path.name}: index {header.meta.index}, revision {header.revision}"
    return Finding(Verdict.SOUND, "snapshot", sentence), header.meta


def _check_together(
    log: RecoveredLog, state: Held, saved: SnapshotMeta, identity: Identity
) -> Findings:
    """What a start would say to the two."""
    if not log.snapshot.index and not log.entries and not state.applied.index:
        yield Finding(Verdict.SOUND, "together", "nothing was ever written here")
        return
    founders: tuple[MemberRecord, ...] | None = None if identity.joined else ()
    stand_in = _Reached(state.applied, saved if saved.index else None)
    try:
        found = recover(cast(RaftLog, _Found(log)), cast(Store, stand_in), founders)
    except StorageDamaged as error:
        yield Finding(Verdict.DAMAGED, "together", str(error))
        return
    if found.committed_once > (last_index := found.mirror.last_index()):
        yield Finding(
            Verdict.DAMAGED,
            "log",
            f"entries {last_index + 1} to {found.committed_once} were committed once and are gone",
        )
    yield from _check_members(found.membership, identity.node_id)
    sentence = f"log and state fit: state at {found.last_applied}, log to {last_index}"
    yield Finding(Verdict.SOUND, "together", sentence)


def _check_members(membership: Membership, node_id: int) -> Findings:
    if node_id in membership.removed:
        sentence = f"node {node_id} was removed from the cluster"
        yield Finding(Verdict.WARNING, "members", sentence)
    elif node_id not in membership.active_ids:
        sentence = f"node {node_id} is no member of the configuration it knows"
        yield Finding(Verdict.WARNING, "members", sentence)
    members = (
        f"{member.node_id} ({member.role}, {membership.state_of(member)})"
        for member in membership.members
    )
    sentence = f"as of index {membership.index}: {', '.join(members) or 'none is known'}"
    yield Finding(Verdict.SOUND, "members", sentence)


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


class _Found:
    """A log as recovery asks for it; nothing is written to it."""

    def __init__(self, log: RecoveredLog) -> None:
        self.recover: Callable[[], RecoveredLog] = lambda: log

    def append(self, *_: object) -> None:
        pass

    def sync(self) -> None:
        pass


class _Reached:
    """A store as recovery asks for it: how far it is."""

    def __init__(self, applied: SnapshotMeta, saved: SnapshotMeta | None) -> None:
        self.applied = applied
        self._saved = saved

    @property
    def last_applied(self) -> int:
        return self.applied.index

    def latest_snapshot(self) -> SnapshotMeta | None:
        return self._saved

    def skip(self, index: int, term: int, configuration: bytes) -> None:
        self.applied = SnapshotMeta(index, term, configuration)
