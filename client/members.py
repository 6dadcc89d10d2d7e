"""Changes of the members as values: for `Client.member_change`, several of them at once.

    from metastore.client import members
    client.member_change([members.remove(2), members.remove(3)])

Reading order 5 of the client, beside ops.py. Pure. Raises InvalidRequest for what can be seen to be
wrong here; the rest is for the leader to see.
"""

from collections.abc import Sequence

from metastore.client.errors import InvalidRequest
from metastore.client.member_results import Member
from metastore.transport import member_ops
from metastore.transport.addresses import parse_connect_address
from metastore.transport.errors import BadAddress
from metastore.transport.member_ops import CHANGES_MAX, PRIORITY_MAX, Change, ChangeKind, Role
from metastore.transport.schema import Code, Operation

NODE_ID_MAX = (1 << 64) - 1


def add(
    node_id: int,
    *,
    peer: str,
    client: str,
    status: str,
    snapshot: str,
    role: str = "voter",
    priority: int = 0,
) -> Change:
    """Expects a new node at these addresses; it becomes a member when it comes. role: "voter",
    "learner" or "witness"."""
    if role not in tuple(Role):
        raise InvalidRequest(f"the role {role!r} is none of {', '.join(Role)}")
    addresses = [_address(address) for address in (peer, client, status, snapshot)]
    return (int(ChangeKind.ADD), _id(node_id), str(role), *addresses, _priority(priority))


def promote(node_id: int) -> Change:
    """A learner that has caught up shall vote."""
    return (int(ChangeKind.PROMOTE), _id(node_id))


def remove(node_id: int) -> Change:
    """It is a member no more, and its id never comes back."""
    return (int(ChangeKind.REMOVE), _id(node_id))


def update(
    node_id: int,
    *,
    peer: str | None = None,
    client: str | None = None,
    status: str | None = None,
    snapshot: str | None = None,
    priority: int | None = None,
) -> Change:
    """Other addresses, another priority; what is None stays."""
    given = (peer, client, status, snapshot)
    if priority is None and given == (None,) * len(given):
        raise InvalidRequest("nothing is to be updated; give an address or a priority")
    addresses = ["" if address is None else _address(address) for address in given]
    chosen = None if priority is None else _priority(priority)
    return (int(ChangeKind.UPDATE), _id(node_id), *addresses, chosen)


def replace(node_id: int, directory_id: int) -> Change:
    """Its data directory of this number is gone; another one is taken in its place when it comes.
    `Client.member_replace` looks the number up."""
    if not 0 <= directory_id < 1 << 64:
        raise InvalidRequest(f"{directory_id} is no number of a data directory")
    return (int(ChangeKind.REPLACE), _id(node_id), directory_id)


def change_of(changes: Sequence[Change], *, force: bool) -> Operation:
    """All of them, or none."""
    if not 1 <= len(changes) <= CHANGES_MAX:
        raise InvalidRequest(f"{len(changes)} changes at once; make 1 to {CHANGES_MAX}")
    return member_ops.member_change(changes, is_forced=bool(force))


def move_of(node_id: int) -> Operation:
    """0: to whoever suits best."""
    return member_ops.move_leader(0 if node_id == 0 else _id(node_id))


def replacement_of(known: Sequence[Member], node_id: int) -> Change:
    """Of the directory that the node has now, so that a repeat leaves its next one alone."""
    for member in known:
        if member.node_id == node_id:
            return replace(node_id, member.directory_id)
    message = f"{member_ops.NO_SUCH_MEMBER}: {node_id}; see `member list`"  # as the leader says it
    raise InvalidRequest(message, code=int(Code.NOT_FOUND))


def _id(node_id: int) -> int:
    if not 1 <= node_id <= NODE_ID_MAX:
        raise InvalidRequest(f"{node_id} is no node id; ids are numbers from 1 on")
    return node_id


def _priority(priority: int) -> int:
    if not 0 <= priority <= PRIORITY_MAX:
        raise InvalidRequest(f"{priority} is no priority; give 0 to {PRIORITY_MAX}")
    return priority


def _address(text: str) -> str:
    try:
        return str(parse_connect_address(text))
    except BadAddress as error:
        raise InvalidRequest(str(error)) from None
