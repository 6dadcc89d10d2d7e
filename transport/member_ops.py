"""Requests about the members of the cluster, and their answers: shared by node and client.

Reading order 9. They travel as the one operation of an ordinary request (schema.py), but never
reach a store: the node that leads carries them out itself. Decoding is strict and raises
MalformedRequest, never anything else.

    [MEMBERS]                                      who they are; a read, at any read level
    [MEMBER_CHANGE, [change, ...], is_forced]      several changes at once are one joint change
    [MOVE_LEADER, node_id]                         0: to whoever suits best

    change = [ADD, node_id, role, peer, client, status, snapshot, priority]    expects this node
             [JOIN, node_id, role, peer, client, status, snapshot, directory_id, name, client_urls]
                                                   from the node itself
             [PROMOTE, node_id]                    a learner shall vote
             [REMOVE, node_id]                     for ever
             [UPDATE, node_id, peer, client, status, snapshot, priority]   "" and None: as it is
             [REPLACE, node_id, directory_id]      its disk is gone; the id comes back with another

    MEMBERS, MEMBER_CHANGE  [OK, leader_id, cluster_id, index, [member, ...]]
    MOVE_LEADER             [OK, leader_id]
    error                   [code, message]        as in schema.py

    member = [node_id, role, state, peer, client, status, snapshot, directory_id, priority,
              name, client_urls]

`name` is for people. `client_urls`: where the node's etcd gateway is reached, URLs with commas; ""
without one.

`index` is that of the change that made the record. Every change may be repeated: what is so already
is answered as if it had just been done.
"""

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, TypeAlias

import msgpack

from metastore.transport.shapes import MalformedRequest

MEMBERS, MEMBER_CHANGE, MOVE_LEADER = 48, 49, 50
MEMBER_OPERATIONS = frozenset((MEMBERS, MEMBER_CHANGE, MOVE_LEADER))
CHANGES_MAX = 16  # of one request
TEXT_CHARACTERS_MAX = 300  # of an address, a name, or all client_urls of a node
PRIORITY_MAX = 1000

# Answers that a program may have to tell apart.
NO_SUCH_MEMBER = "metastore: there is no such member"
REMOVED = "metastore: this node was removed from the cluster"
LOST_DATA = "metastore: this node has lost its data"
WOULD_LOSE_QUORUM = "metastore: the change would lose the quorum"


class Role(StrEnum):
    """What a member shall be."""

    VOTER = "voter"
    LEARNER = "learner"  # gets everything, votes never
    WITNESS = "witness"  # votes, and holds no data


class MemberState(StrEnum):
    """How far it is."""

    MEMBER = "member"  # it is what it shall be
    JOINING = "joining"  # a learner that will vote once it has caught up
    AWAITED = "awaited"  # expected, but it has not come yet
    LEAVING = "leaving"  # voted in the configuration that is being left


class ChangeKind(IntEnum):
    ADD = 1
    JOIN = 2
    PROMOTE = 3
    REMOVE = 4
    UPDATE = 5
    REPLACE = 6


class MemberInfo(NamedTuple):
    """A member as an answer tells of it."""

    node_id: int
    role: str
    state: str
    peer: str
    client: str
    status: str
    snapshot: str
    directory_id: int  # 0: it has not registered yet
    priority: int
    name: str = ""
    client_urls: str = ""


Change: TypeAlias = tuple[Any, ...]

_NUMBER, _TEXT, _OR_NONE = (int,), (str,), (int, type(None))
_ADDRESSES = (_TEXT, _TEXT, _TEXT, _TEXT)
_CHANGES: dict[int, tuple[tuple[type, ...], ...]] = {
    ChangeKind.ADD: (_NUMBER, _TEXT, *_ADDRESSES, _NUMBER),
    ChangeKind.JOIN: (_NUMBER, _TEXT, *_ADDRESSES, _NUMBER, _TEXT, _TEXT),
    ChangeKind.PROMOTE: (_NUMBER,),
    ChangeKind.REMOVE: (_NUMBER,),
    ChangeKind.UPDATE: (_NUMBER, *_ADDRESSES, _OR_NONE),
    ChangeKind.REPLACE: (_NUMBER, _NUMBER),
}
_WITH_ROLE = (ChangeKind.ADD, ChangeKind.JOIN)


class MemberRequest(NamedTuple):
    """A decoded request; the fields that do not belong to its operation are empty."""

    operation: int
    changes: tuple[Change, ...] = ()
    is_forced: bool = False
    target: int = 0


def members() -> tuple[int]:
    return (MEMBERS,)


def member_change(changes: Sequence[Change], *, is_forced: bool = False) -> tuple[Any, ...]:
    return (MEMBER_CHANGE, tuple(map(tuple, changes)), is_forced)


def move_leader(node_id: int = 0) -> tuple[int, int]:
    return (MOVE_LEADER, node_id)


def decode_member_request(data: bytes) -> MemberRequest:
    """Of a request whose first operation is one of MEMBER_OPERATIONS. Raises MalformedRequest."""
    try:
        operations = msgpack.unpackb(data, use_list=False, strict_map_key=True)
    except Exception as error:  # the decoder's own errors have no common base
        raise MalformedRequest(f"not msgpack: {error}") from None
    if type(operations) is not tuple or len(operations) != 1 or type(operations[0]) is not tuple:
        raise MalformedRequest("an operation on the members is a request of its own")
    operation = operations[0]
    types = tuple(map(type, operation))
    if types == (int,) and operation[0] == MEMBERS:
        return MemberRequest(MEMBERS)
    if types == (int, int) and operation[0] == MOVE_LEADER:
        _check_number(operation[1])
        return MemberRequest(MOVE_LEADER, target=operation[1])
    if types == (int, tuple, bool) and operation[0] == MEMBER_CHANGE:
        _check_changes(operation[1])
        return MemberRequest(MEMBER_CHANGE, operation[1], operation[2])
    raise MalformedRequest("no operation on the members has these fields")


def _check_changes(changes: tuple[Any, ...]) -> None:
    if not 1 <= len(changes) <= CHANGES_MAX:
        raise MalformedRequest(f"{len(changes)} changes, but 1 to {CHANGES_MAX} at once")
    for change in changes:
        if type(change) is not tuple or not change or type(change[0]) is not int:
            raise MalformedRequest("a change is an array that starts with its kind")
        shape = _CHANGES.get(change[0])
        if shape is None or len(change) != len(shape) + 1:
            raise MalformedRequest(f"no change of kind {change[0]} has {len(change)} fields")
        for value, allowed in zip(change[1:], shape, strict=True):
            if type(value) not in allowed:
                raise MalformedRequest(f"a change: {type(value).__name__} in the wrong place")
            if type(value) is int:
                _check_number(value)
            elif type(value) is str and len(value) > TEXT_CHARACTERS_MAX:
                raise MalformedRequest(f"a text of {len(value)} characters is too long")
        if change[0] in _WITH_ROLE and change[2] not in tuple(Role):
            raise MalformedRequest(f"unknown role {change[2]!r}")


def _check_number(value: int) -> None:
    if not 0 <= value < 1 << 64:
        raise MalformedRequest(f"{value} is no number of 64 bits")
