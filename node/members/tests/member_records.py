"""Records and requests as the tests of the members write them: addresses follow from the id."""

from dataclasses import replace
from typing import Any

from metastore.node.members.records import MemberRecord, Membership, first_membership
from metastore.node.raft.model import ConfigurationState
from metastore.transport.member_ops import Change, ChangeKind

Addresses = tuple[str, str, str, str]


def places(node_id: int, host: str = "here") -> Addresses:
    return (
        f"tcp://{host}:{node_id}0",
        f"tcp://{host}:{node_id}1",
        f"tcp://{host}:{node_id}2",
        f"tcp://{host}:{node_id}3",
    )


def directory(node_id: int) -> int:
    return 1000 + node_id


def record(node_id: int, role: str = "voter", **more: Any) -> MemberRecord:
    """Of a node that has registered."""
    peer, client, status, snapshot = places(node_id)
    made = MemberRecord(node_id, role, peer, client, status, snapshot, directory(node_id))
    return replace(made, **more)


def founded(*members: MemberRecord) -> Membership:
    return first_membership(members, index=1)


def three() -> Membership:
    return founded(record(1), record(2), record(3))


def with_learner(membership: Membership, member: MemberRecord) -> Membership:
    state = membership.configuration
    learners = (*state.learners, member.node_id)
    configuration = ConfigurationState(voters=state.voters, learners=learners)
    return membership.changed(configuration, put=[member], index=membership.index + 1)


def awaiting(membership: Membership, member: MemberRecord) -> Membership:
    return membership.changed(membership.configuration, put=[member], index=membership.index + 1)


def add(node_id: int, role: str = "voter", priority: int = 0) -> Change:
    return (ChangeKind.ADD, node_id, role, *places(node_id), priority)


def join(
    node_id: int,
    role: str = "voter",
    *,
    host: str = "here",
    directory_id: int | None = None,
    name: str = "",
    client_urls: str = "",
) -> Change:
    number = directory(node_id) if directory_id is None else directory_id
    told = (number, name, client_urls)
    return (ChangeKind.JOIN, node_id, role, *places(node_id, host), *told)


def promote(node_id: int) -> Change:
    return (ChangeKind.PROMOTE, node_id)


def remove(node_id: int) -> Change:
    return (ChangeKind.REMOVE, node_id)


def update(
    node_id: int, addresses: Addresses = ("", "", "", ""), priority: int | None = None
) -> Change:
    return (ChangeKind.UPDATE, node_id, *addresses, priority)


def replace_(node_id: int, directory_id: int | None = None) -> Change:
    number = directory(node_id) if directory_id is None else directory_id
    return (ChangeKind.REPLACE, node_id, number)
