"""What a node says of itself to be let in, and what the leader's answer means for it.

Below registration.py, which sends and receives it. Pure. An answer may come from anybody who
listens at an address that was the cluster's once, so nothing in it is taken on trust.
"""

from dataclasses import dataclass

from metastore.node.identity_errors import JoinRefused, LostData, RemovedFromCluster
from metastore.node.members.records import MemberRecord
from metastore.transport import schema
from metastore.transport.member_ops import (
    LOST_DATA,
    REMOVED,
    ChangeKind,
    MemberInfo,
    member_change,
)

_PREFIX = "metastore: "
TEXT_CHARACTERS_MAX = 1000  # of what somebody else says, in our log or in our last line
_FIELD_TYPES = tuple(MemberInfo.__annotations__.values())


@dataclass(frozen=True, slots=True)
class Registered:
    """The leader has this node in its record as it is now; these are all members."""

    members: tuple[MemberInfo, ...]
    leader_id: int
    index: int = 0  # of the change that made them so


def encode_join(own: MemberRecord) -> bytes:
    """The request of the node that `own` describes."""
    told = (own.directory_id, own.name, own.client_urls)
    change = (ChangeKind.JOIN, own.node_id, own.role, *own.addresses, *told)
    return schema.encode_request((member_change((change,)),))


def decode_answer_or_none(data: bytes) -> Registered | tuple[int, str] | None:
    """What was reached, or (code, message); None for anything that is no answer to a JOIN."""
    try:
        (result,) = schema.decode_results(data)
        if len(result) == 2 and result[0] != schema.Code.OK:
            code, message = result
            return (code, message) if (type(code), type(message)) == (int, str) else None
        code, leader_id, _, index, members = result
        if code != schema.Code.OK or (type(leader_id), type(index)) != (int, int):
            return None
        if any(tuple(map(type, member)) != _FIELD_TYPES for member in members):
            return None
        return Registered(tuple(MemberInfo(*member) for member in members), leader_id, index)
    except Exception:  # the decoder's own errors have no common base
        return None


def final_error_or_none(code: int, message: str, node_id: int) -> Exception | None:
    """Why the node must stop; None if the same request may be carried out later."""
    text = shortened(message.removeprefix(_PREFIX))
    if message.startswith(REMOVED):
        return RemovedFromCluster(node_id)
    if message.startswith(LOST_DATA):
        return LostData(text)
    return None if code == schema.Code.RESOURCE_EXHAUSTED else JoinRefused(text)


def shortened(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[:TEXT_CHARACTERS_MAX] + "..."
