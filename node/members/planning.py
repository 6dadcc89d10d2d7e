"""What a request for changes of the members comes to: a change for the log, a refusal, or nothing.

Between guards.py and keeper.py. Pure: it computes from the record and from what the leader knows
of the others at the moment, and proposes nothing. What each kind of change does is here; what must
hold whatever is changed is in guards.py.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from metastore.node.members.drafts import Draft, Nothing, Plan, Refusal, Refused
from metastore.node.members.guards import (
    check_addresses,
    check_client_urls,
    check_places,
    check_priority,
    check_voters,
)
from metastore.node.members.records import MemberRecord, Membership
from metastore.node.raft.model import ChangeType
from metastore.node.settings_values import NODE_ID_MAX
from metastore.transport.member_ops import LOST_DATA, REMOVED, Change, ChangeKind, Role
from metastore.transport.schema import Code

__all__ = ["Nothing", "Plan", "Refused", "plan"]


def plan(
    membership: Membership,
    changes: Sequence[Change],
    *,
    own_id: int,
    alive: Collection[int],
    is_caught_up: Callable[[int], bool],
    is_forced: bool = False,
) -> Plan | Refused | Nothing:
    """`changes` as member_ops.py decodes them, to be made all or none from a configuration that is
    not joint; `own_id` leads. `alive`: who was heard lately. `is_forced`: even what is dangerous as
    long as somebody is down, though never what would leave no cluster."""
    draft = Draft(membership, is_caught_up)
    try:
        _check_ids(changes)
        for kind, node_id, *fields in changes:
            _RULES[kind](draft, node_id, *fields)
        check_places(draft)
        check_voters(draft, set(alive) | {own_id}, is_forced=is_forced)
    except Refusal as refusal:
        return refusal.refused
    return draft.finish()


def _check_ids(changes: Sequence[Change]) -> None:
    ids = [change[1] for change in changes]
    for node_id in ids:
        if not 1 <= node_id <= NODE_ID_MAX:
            raise Refusal(
                f"metastore: {node_id} is no node id; take one from 1 to {NODE_ID_MAX}",
                Code.INVALID_ARGUMENT,
            )
        if ids.count(node_id) > 1:
            raise Refusal(
                f"metastore: node {node_id} is there twice; make its changes one after the other",
                Code.INVALID_ARGUMENT,
            )


def _add(draft: Draft, node_id: int, role: str, *rest: Any) -> None:
    """Expects a node; Raft hears of it when it joins."""
    *addresses, priority = rest
    check_addresses(node_id, addresses)
    check_priority(priority)
    known = draft.membership.get(node_id)
    if known is not None:
        if (known.role, known.addresses, known.priority) == (role, tuple(addresses), priority):
            return
        raise Refusal(
            f"metastore: node {node_id} is a member already, as something else; see `metastore "
            f"member list`, and change it with `metastore member update {node_id}`"
        )
    if node_id in draft.membership.removed:
        raise Refusal(
            f"metastore: node {node_id} was removed from the cluster, and its id cannot come back; "
            "add it with a new node_id"
        )
    peer, client, status, snapshot = addresses
    draft.put[node_id] = MemberRecord(node_id, role, peer, client, status, snapshot, 0, priority)


def _join(draft: Draft, node_id: int, role: str, *rest: Any) -> None:
    """A node says that it is there, as each one does at every start."""
    *addresses, directory_id, name, client_urls = rest
    peer, client, status, snapshot = addresses
    membership, known = draft.membership, draft.membership.get(node_id)
    if directory_id == 0:
        raise Refusal("metastore: 0 names no data directory", Code.INVALID_ARGUMENT)
    check_addresses(node_id, addresses)
    check_client_urls(node_id, client_urls)
    if node_id in membership.removed:
        raise Refusal(
            f"{REMOVED}; the id {node_id} cannot come back: give it a new node_id and an empty "
            "data_dir, and start it with --join"
        )
    if known is None:
        known = MemberRecord(node_id, role, peer, client, status, snapshot)
    elif known.directory_id not in (0, directory_id):
        raise Refusal(
            f"{LOST_DATA}: node {node_id}'s data directory is not the one it had; run `metastore "
            f"member replace {node_id}`, then start it again with an empty data_dir and --join"
        )
    elif known.directory_id and draft.is_active(node_id):
        # It is the very node. Whoever still has one of its places in the record has moved too, and
        # will say so: refusing could leave two that changed places refused for ever.
        draft.believed.add(node_id)
    new = replace(
        known,
        peer=peer,
        client=client,
        status=status,
        snapshot=snapshot,
        directory_id=directory_id,
        name=name,
        client_urls=client_urls,
    )
    if not draft.is_active(node_id):
        draft.do(ChangeType.ADD_LEARNER, node_id)
        draft.put[node_id] = new
    elif new != known:
        draft.put[node_id] = new


def _promote(draft: Draft, node_id: int) -> None:
    member = draft.member(node_id)
    if node_id in draft.voters:
        return
    if not draft.is_active(node_id):
        raise Refusal(
            f"metastore: node {node_id} has not come yet; start it with an empty data_dir and "
            "--join, and promote it when it has caught up"
        )
    if not draft.is_caught_up(node_id):
        raise Refusal(
            f"metastore: node {node_id} has not caught up with the log yet; see that it runs and "
            "is reached, and promote it again later",
            may_pass=True,
        )
    draft.do(ChangeType.ADD_VOTER, node_id)
    if not member.votes:
        draft.put[node_id] = replace(member, role=Role.VOTER.value)


def _remove(draft: Draft, node_id: int) -> None:
    if node_id in draft.membership.removed:
        return
    draft.member(node_id)
    draft.removed.append(node_id)
    if draft.is_active(node_id):
        draft.do(ChangeType.REMOVE, node_id)


def _update(draft: Draft, node_id: int, *rest: Any) -> None:
    *addresses, priority = rest
    member = draft.member(node_id)
    new = [given or present for given, present in zip(addresses, member.addresses, strict=True)]
    peer, client, status, snapshot = new
    wanted = member.priority if priority is None else priority
    check_priority(wanted)
    changed = replace(
        member, peer=peer, client=client, status=status, snapshot=snapshot, priority=wanted
    )
    if changed != member:
        check_addresses(node_id, filter(None, addresses))
        draft.put[node_id] = changed


def _replace(draft: Draft, node_id: int, directory_id: int) -> None:
    """Its directory is gone: out of the configuration, which makes it awaited (records.py)."""
    member = draft.member(node_id)
    if member.directory_id == directory_id and draft.is_active(node_id):
        draft.do(ChangeType.REMOVE, node_id)


_RULES: dict[int, Callable[..., None]] = {
    ChangeKind.ADD: _add,
    ChangeKind.JOIN: _join,
    ChangeKind.PROMOTE: _promote,
    ChangeKind.REMOVE: _remove,
    ChangeKind.UPDATE: _update,
    ChangeKind.REPLACE: _replace,
}
