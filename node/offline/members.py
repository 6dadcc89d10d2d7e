"""The record of the members on a disk: read, and brought on by the changes of a log.

Reading order 3 of the offline tools. Pure; what a running node does with its core, it does without
one.
"""

from typing import Any

from metastore.engines.contract import LogEntry, SnapshotMeta, StorageDamaged
from metastore.node.members.records import Membership, RecordDamaged, decode_edits
from metastore.node.raft.changes import Changer, ChangeRefused, restore
from metastore.node.raft.model import ConfigurationChange


def membership_of(meta: SnapshotMeta, where: object) -> Membership:
    """Raises StorageDamaged naming `where` it stands."""
    try:
        return Membership.decode(meta.configuration)
    except RecordDamaged as error:
        raise StorageDamaged(f"{where}: {error}") from None


def membership_after(membership: Membership, entry: LogEntry) -> Membership:
    """After a configuration entry; one that cannot be applied changes nothing, as on every node."""
    try:
        change = ConfigurationChange.decode(entry.data)
        put, removed = decode_edits(change.context)
        configuration, progress = restore(membership.configuration, entry.index, 1)
        changer = Changer(configuration, progress, entry.index, 1)
        after = changer.make(change)[0].to_state()
    except (ChangeRefused, RecordDamaged, ValueError):
        return membership
    return membership.changed(after, put=put, removed=removed, index=entry.index)


def shown_members(membership: Membership) -> list[dict[str, Any]]:
    """As plain values, an id of a directory as it is written elsewhere."""
    return [
        info._asdict() | {"directory_id": f"{info.directory_id:x}"} for info in membership.infos()
    ]
