"""Members of a cluster without addresses, and records of them, for tests."""

from collections.abc import Iterable

from metastore.engines.contract import SnapshotMeta
from metastore.node.members.records import MemberRecord, Membership, first_membership
from metastore.node.raft.model import ConfigurationState, Snapshot
from metastore.node.recovery import to_snapshot
from metastore.transport.member_ops import Role


def founders(voters: Iterable[int]) -> list[MemberRecord]:
    return [MemberRecord(node_id, Role.VOTER.value, "", "", "", "") for node_id in voters]


def founded_by(*voters: int) -> Membership:
    """The record that every one of them starts with."""
    return first_membership(founders(voters), 1)


def record_of(configuration: ConfigurationState, index: int = 1) -> Membership:
    """Raft's part alone."""
    return Membership(configuration, index=index)


def snapshot_of(index: int, term: int, membership: Membership) -> Snapshot:
    return to_snapshot(SnapshotMeta(index, term, membership.encode()))
