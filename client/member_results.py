"""What the calls about members return, decoded strictly: an operator acts upon it.

Reading order 2 of the client, beside results.py. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metastore.client.errors import WrongVersion
from metastore.transport.member_ops import MemberInfo, MemberState, Role

_FIELDS = tuple(MemberInfo.__annotations__.values())


@dataclass(frozen=True, slots=True)
class Member:
    """One node of the cluster. Addresses are ZeroMQ's ("tcp://host:port").

    role: "voter", "learner" (gets everything, votes never) or "witness" (votes, holds no data).
    state: "member", "joining" (a learner that will vote once it has caught up), "awaited" (it has
        not come yet) or "leaving" (it votes until the change under way is done).
    directory_id: the number of its data directory; 0: it has not registered yet.
    priority: the highest of the voters shall lead.
    name: for people; "" unless the node was given one.
    client_urls: where its etcd gateway is reached; empty without one.
    """

    node_id: int
    role: str
    state: str
    peer: str
    client: str
    status: str
    snapshot: str
    directory_id: int
    priority: int
    name: str
    client_urls: tuple[str, ...]
    is_leader: bool


@dataclass(frozen=True, slots=True)
class MemberList:
    """`leader_id` 0: the node that was asked knows of no leader."""

    leader_id: int
    cluster_id: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class LeaderMoved:
    leader_id: int


def decode_members(result: Sequence[Any]) -> MemberList:
    """Raises WrongVersion."""
    if tuple(map(type, result)) != (int, int, int, int, tuple):
        raise _unreadable()
    _, leader_id, cluster_id, _, infos = result
    members = tuple(_member(info, leader_id) for info in infos)
    return MemberList(leader_id, cluster_id, tuple(sorted(members, key=lambda m: m.node_id)))


def decode_leader_moved(result: Sequence[Any]) -> LeaderMoved:
    """Raises WrongVersion."""
    if tuple(map(type, result)) != (int, int):
        raise _unreadable()
    return LeaderMoved(result[1])


def _member(info: Any, leader_id: int) -> Member:
    if type(info) is not tuple or tuple(map(type, info)) != _FIELDS:
        raise _unreadable()
    found = MemberInfo(*info)
    if found.role not in tuple(Role) or found.state not in tuple(MemberState):
        raise _unreadable()
    urls = tuple(filter(None, found.client_urls.split(",")))
    return Member(*found[:-1], urls, is_leader=found.node_id == leader_id)


def _unreadable() -> WrongVersion:
    return WrongVersion(
        "the node's answer about the members cannot be read; is it of another version? A change "
        "that was asked for may have been made"
    )
