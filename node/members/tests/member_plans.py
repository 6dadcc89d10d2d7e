"""Plans as their tests ask for them, from a cluster of three whose members all answer."""

from collections.abc import Collection

from member_records import record, three, with_learner

from metastore.node.members.drafts import Nothing, Plan, Refused
from metastore.node.members.planning import plan
from metastore.node.members.records import MemberRecord, Membership, decode_edits
from metastore.node.raft.model import Change as RaftChange
from metastore.node.raft.model import ChangeType, Transition
from metastore.transport.member_ops import Change
from metastore.transport.schema import Code

REMOVED_5 = three().changed(three().configuration, removed=[5], index=2)
LEARNER_4 = with_learner(three(), record(4, "learner"))


def planned(
    membership: Membership, *changes: Change, caught_up: Collection[int] = (4,)
) -> Plan | Refused | Nothing:
    alive = {1, 2, 3, 4, 5, 6}
    return plan(
        membership,
        changes,
        own_id=1,
        alive=alive,
        is_caught_up=lambda node_id: node_id in caught_up,
    )


def made(membership: Membership, *changes: Change) -> tuple[list[RaftChange], list[MemberRecord]]:
    """Of a plan for one change in Raft at most."""
    found = planned(membership, *changes)
    assert isinstance(found, Plan), found
    assert found.change.transition is Transition.AUTO
    put, removed = decode_edits(found.change.context)
    assert not removed
    return list(found.change.changes), list(put)


def refusal(membership: Membership, *changes: Change, code: Code = Code.FAILED_PRECONDITION) -> str:
    found = planned(membership, *changes, caught_up=())
    assert isinstance(found, Refused), found
    assert found.code is code
    return found.message


def one(kind: ChangeType, node_id: int) -> list[RaftChange]:
    return [RaftChange(kind, node_id)]
