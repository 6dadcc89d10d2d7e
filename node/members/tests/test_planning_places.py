"""What every change has to respect: ids, addresses, room, and that several are made as one."""

import pytest
from member_plans import LEARNER_4, made, one, planned, refusal
from member_records import (
    add,
    directory,
    founded,
    join,
    places,
    promote,
    record,
    remove,
    three,
    update,
)

from metastore.node.members.drafts import Plan
from metastore.node.members.records import decode_edits
from metastore.node.raft.model import Change as RaftChange
from metastore.node.raft.model import ChangeType, ConfigurationState, Transition
from metastore.node.settings_values import MEMBERS_MAX, NODE_ID_MAX
from metastore.transport.member_ops import PRIORITY_MAX, Change
from metastore.transport.schema import Code


@pytest.mark.parametrize("node_id", [0, NODE_ID_MAX + 1])
@pytest.mark.parametrize("make", [add, join, remove])
def test_an_id_must_be_a_node_s(make: type, node_id: int) -> None:
    message = refusal(three(), make(node_id), code=Code.INVALID_ARGUMENT)
    assert message == f"metastore: {node_id} is no node id; take one from 1 to {NODE_ID_MAX}"


def test_one_node_is_changed_once_in_a_request() -> None:
    message = refusal(three(), add(4), remove(4), code=Code.INVALID_ARGUMENT)
    assert message == "metastore: node 4 is there twice; make its changes one after the other"


@pytest.mark.parametrize("change", [add(4, priority=PRIORITY_MAX + 1), update(3, priority=1001)])
def test_a_priority_has_a_limit(change: Change) -> None:
    message = refusal(three(), change, code=Code.INVALID_ARGUMENT)
    assert message == "metastore: 1001 is no priority; take one from 0 to 1000"


BAD = "tcp://*:1"


@pytest.mark.parametrize(
    "change",
    [
        (1, 4, "voter", *places(4)[:3], BAD, 0),
        (2, 4, "voter", BAD, *places(4)[1:], 5, "", ""),
        (2, 3, "voter", BAD, *places(3)[1:], directory(3), "", ""),
        update(3, ("", "", BAD, "")),
        (1, 4, "voter", *places(4)[:3], "tcp://0.0.0.0:7044", 0),
        (1, 4, "voter", *places(4)[:3], "", 0),
        (2, 4, "voter", *places(4)[:3], "nowhere", 5, "", ""),
    ],
    ids=str,
)
def test_an_address_must_be_one_that_others_can_reach(change: Change) -> None:
    message = refusal(three(), change, code=Code.INVALID_ARGUMENT)
    assert message.startswith(f"metastore: node {change[1]}: address ")
    assert message.endswith("; give one that the others reach it by")


@pytest.mark.parametrize(
    "change",
    [
        (1, 4, "voter", *places(4)[:3], places(2)[0], 0),
        (2, 4, "voter", places(2)[0], *places(4)[1:], 5, "", ""),
        update(3, ("", places(2)[0], "", "")),
    ],
    ids=str,
)
def test_nobody_takes_the_place_of_somebody_else(change: Change) -> None:
    assert refusal(three(), change) == (
        f"metastore: tcp://here:20 is an address of node 2; give node {change[1]} another one, or "
        "update or remove node 2 first"
    )


def test_a_founder_that_never_registered_takes_nobody_s_place_either() -> None:
    membership = founded(record(1), record(2), record(3, directory_id=0))
    assert "is an address of node 2" in refusal(membership, (2, 3, "voter", *places(2), 5, "", ""))


def test_two_members_can_change_places_in_one_request() -> None:
    found = planned(three(), update(2, places(3)), update(3, places(2)))
    assert isinstance(found, Plan)


def test_a_place_is_free_once_its_member_is_removed_in_the_same_request() -> None:
    assert isinstance(planned(three(), remove(3), update(2, places(3))), Plan)


@pytest.mark.parametrize("change", [(1, 4, "voter", *places(4)[:3], places(4)[0], 0)])
def test_each_socket_has_an_address_of_its_own(change: Change) -> None:
    message = refusal(three(), change, code=Code.INVALID_ARGUMENT)
    assert message == (
        "metastore: node 4 has one address for two sockets; give each socket its own"
    )


def test_a_cluster_has_room_for_so_many_members() -> None:
    learners = [record(node_id, "learner") for node_id in range(2, MEMBERS_MAX + 1)]
    full = founded(record(1), *learners)
    message = refusal(full, add(MEMBERS_MAX + 1), code=Code.RESOURCE_EXHAUSTED)
    assert message == f"metastore: a cluster has at most {MEMBERS_MAX} members; remove one first"
    assert isinstance(planned(full, remove(9), add(MEMBERS_MAX + 1)), Plan)


# Several at once


def test_several_changes_in_raft_are_one_joint_change() -> None:
    found = planned(LEARNER_4, promote(4), remove(3), update(2, priority=1), add(5))
    assert isinstance(found, Plan)
    assert found.change.transition is Transition.JOINT_IMPLICIT
    assert found.change.changes == (
        RaftChange(ChangeType.ADD_VOTER, 4),
        RaftChange(ChangeType.REMOVE, 3),
    )
    put, removed = decode_edits(found.change.context)
    assert (sorted(member.node_id for member in put), removed) == ([2, 4, 5], (3,))


def test_changes_of_the_record_alone_are_one_plain_change() -> None:
    changes, put = made(three(), update(2, priority=1), update(3, priority=2))
    assert (changes, len(put)) == (one(ChangeType.UPDATE, 2), 2)


def test_one_refused_change_refuses_all() -> None:
    assert "no such member: 9" in refusal(three(), add(4), promote(9), code=Code.NOT_FOUND)


def test_a_plan_starts_from_the_configuration_that_is_in_force() -> None:
    configuration = ConfigurationState(voters=(1, 2), learners=(3,))
    demoted = three().changed(configuration, index=9)
    found = planned(demoted, promote(3), caught_up=(3,))
    assert isinstance(found, Plan)
    assert found.change.changes == (RaftChange(ChangeType.ADD_VOTER, 3),)
