"""What each kind of change comes to, and every sentence of refusal; the rules for
all are in test_planning_places.py, the voters in test_planning_voters.py."""

import pytest
from member_plans import LEARNER_4, REMOVED_5, made, one, planned, refusal
from member_records import (
    add,
    awaiting,
    directory,
    founded,
    join,
    places,
    promote,
    record,
    remove,
    replace_,
    three,
    update,
    with_learner,
)

from metastore.node.members.drafts import Nothing, Plan, Refused
from metastore.node.members.records import MemberRecord, Membership, decode_edits
from metastore.node.raft.model import Change as RaftChange
from metastore.node.raft.model import ChangeType
from metastore.transport.member_ops import Change
from metastore.transport.schema import Code

# Add


def test_an_added_node_is_expected_and_raft_hears_nothing_of_it() -> None:
    found = made(three(), add(4, "witness", priority=3))
    expected = record(4, "witness", priority=3, directory_id=0)
    assert found == (one(ChangeType.UPDATE, 4), [expected])


@pytest.mark.parametrize("known", [record(4, directory_id=0), record(4)])
def test_adding_what_is_so_already_is_nothing(known: MemberRecord) -> None:
    assert planned(awaiting(three(), known), add(4)) == Nothing()


def test_adding_a_member_as_something_else_is_refused() -> None:
    assert refusal(three(), add(3, "learner")) == (
        "metastore: node 3 is a member already, as something else; see `metastore member list`, "
        "and change it with `metastore member update 3`"
    )


def test_a_removed_node_cannot_be_added_again() -> None:
    assert refusal(REMOVED_5, add(5)) == (
        "metastore: node 5 was removed from the cluster, and its id cannot come back; add it with "
        "a new node_id"
    )


# Join


def test_an_unknown_node_joins_as_a_learner_with_the_role_it_wishes() -> None:
    assert made(three(), join(4, "witness")) == (
        one(ChangeType.ADD_LEARNER, 4),
        [record(4, "witness")],
    )


def test_an_expected_node_joins_with_the_role_and_priority_that_the_operator_gave_it() -> None:
    awaited = record(4, "witness", directory_id=0, priority=2)
    found = made(awaiting(three(), awaited), join(4, "voter", host="there"))
    peer, client, status, snapshot = places(4, "there")
    joined = MemberRecord(4, "witness", peer, client, status, snapshot, directory(4), 2)
    assert found == (one(ChangeType.ADD_LEARNER, 4), [joined])


def test_a_founder_that_registers_first_brings_its_directory() -> None:
    membership = founded(record(1), record(2, directory_id=0))
    assert made(membership, join(2)) == (one(ChangeType.UPDATE, 2), [record(2)])


def test_a_member_that_starts_as_it_was_changes_nothing() -> None:
    assert planned(three(), join(3, "learner")) == Nothing()


def test_a_member_that_has_moved_is_found_where_it_is() -> None:
    changes, put = made(three(), join(3, host="there"))
    assert changes == one(ChangeType.UPDATE, 3)
    assert [member.addresses for member in put] == [places(3, "there")]


def test_a_member_with_another_name_or_other_urls_is_updated_and_nothing_else_is() -> None:
    named = record(3, name="c", client_urls="http://here:2379")
    changes, put = made(three(), join(3, name="c", client_urls="http://here:2379"))
    assert (changes, put) == (one(ChangeType.UPDATE, 3), [named])
    membership = founded(record(1), record(2), named)
    same = join(3, name="c", client_urls="http://here:2379")
    assert isinstance(planned(membership, same), Nothing)
    _, put = made(membership, join(3, name="c"))
    assert put == [record(3, name="c")]


def test_an_awaited_node_brings_its_name_and_its_urls() -> None:
    membership = awaiting(three(), record(4, "learner", directory_id=0))
    _, put = made(membership, join(4, name="d", client_urls="https://here:1,http://here:2"))
    assert put == [record(4, "learner", name="d", client_urls="https://here:1,http://here:2")]


def test_urls_of_no_place_are_refused() -> None:
    message = refusal(three(), join(3, client_urls="here:2379"), code=Code.INVALID_ARGUMENT)
    assert message.startswith("metastore: node 3: URL 'here:2379': must look like http://")
    assert message.endswith("; correct etcd_advertise")


def test_members_that_changed_places_can_both_register() -> None:
    # Refused, each would wait for the other's record to change.
    member = record(3)
    change = (2, 3, "voter", *places(2), member.directory_id, "", "")
    _, put = made(three(), change)
    assert [one.addresses for one in put] == [places(2)]


def test_another_directory_under_a_known_id_has_lost_its_data() -> None:
    assert refusal(three(), join(3, directory_id=5)) == (
        "metastore: this node has lost its data: node 3's data directory is not the one it had; "
        "run `metastore member replace 3`, then start it again with an empty data_dir and --join"
    )


def test_a_removed_node_is_told_so() -> None:
    assert refusal(REMOVED_5, join(5)) == (
        "metastore: this node was removed from the cluster; the id 5 cannot come back: give it a "
        "new node_id and an empty data_dir, and start it with --join"
    )


def test_a_node_must_name_its_directory() -> None:
    message = refusal(three(), join(4, directory_id=0), code=Code.INVALID_ARGUMENT)
    assert message == "metastore: 0 names no data directory"


# Promote


def test_a_learner_that_has_caught_up_is_made_a_voter_for_good() -> None:
    assert made(LEARNER_4, promote(4)) == (one(ChangeType.ADD_VOTER, 4), [record(4)])


def test_a_witness_votes_and_stays_a_witness() -> None:
    membership = with_learner(three(), record(4, "witness"))
    assert made(membership, promote(4)) == (one(ChangeType.ADD_VOTER, 4), [])


def test_promoting_a_voter_is_nothing() -> None:
    assert planned(three(), promote(3)) == Nothing()


def test_a_learner_that_is_behind_is_not_promoted() -> None:
    assert refusal(LEARNER_4, promote(4)) == (
        "metastore: node 4 has not caught up with the log yet; see that it runs and is reached, "
        "and promote it again later"
    )
    found = planned(LEARNER_4, promote(4), caught_up=())
    assert isinstance(found, Refused)
    assert found.may_pass


def test_a_node_that_has_not_come_is_not_promoted() -> None:
    assert refusal(awaiting(three(), record(4)), promote(4)) == (
        "metastore: node 4 has not come yet; start it with an empty data_dir and --join, and "
        "promote it when it has caught up"
    )


# Remove, update, replace


def removals(membership: Membership, *changes: Change) -> tuple[list[RaftChange], tuple[int, ...]]:
    found = planned(membership, *changes)
    assert isinstance(found, Plan), found
    put, removed = decode_edits(found.change.context)
    assert not put
    return list(found.change.changes), removed


def test_a_member_is_removed_from_raft_and_from_the_record() -> None:
    assert removals(three(), remove(3)) == (one(ChangeType.REMOVE, 3), (3,))
    assert removals(LEARNER_4, remove(4)) == (one(ChangeType.REMOVE, 4), (4,))


def test_who_never_came_is_removed_from_the_record() -> None:
    assert removals(awaiting(three(), record(4)), remove(4)) == (one(ChangeType.UPDATE, 4), (4,))


def test_removing_who_is_gone_is_nothing() -> None:
    assert planned(REMOVED_5, remove(5)) == Nothing()


def test_a_plan_says_who_is_taken_out() -> None:
    leaves = {
        change: found.leaves
        for change in (remove(1), replace_(2), join(4), remove(4))
        if isinstance(found := planned(awaiting(three(), record(4)), change), Plan)
    }
    assert leaves == {remove(1): {1}, replace_(2): {2}, join(4): set(), remove(4): set()}


def test_an_update_changes_what_it_names() -> None:
    found = made(three(), update(3, ("", "tcp://there:1", "", ""), 9))
    peer, _, status, snapshot = places(3)
    changed = MemberRecord(3, "voter", peer, "tcp://there:1", status, snapshot, directory(3), 9)
    assert found == (one(ChangeType.UPDATE, 3), [changed])


@pytest.mark.parametrize("change", [update(3), update(3, places(3)), update(3, priority=0)])
def test_an_update_to_what_is_so_is_nothing(change: Change) -> None:
    assert planned(three(), change) == Nothing()


def test_a_priority_can_be_taken_back_to_nothing() -> None:
    assert made(founded(record(1), record(2, priority=5)), update(2, priority=0))[1] == [record(2)]


def test_a_replaced_member_is_taken_out_and_its_record_stays() -> None:
    assert removals(three(), replace_(3)) == (one(ChangeType.REMOVE, 3), ())
    unregistered = founded(record(1), record(2), record(3, directory_id=0))
    assert removals(unregistered, replace_(3, 0)) == (one(ChangeType.REMOVE, 3), ())


def test_replacing_a_directory_that_is_gone_from_the_record_is_nothing() -> None:
    assert planned(three(), replace_(3, 5)) == Nothing()
    awaited = record(4, directory_id=0)
    assert planned(awaiting(three(), awaited), replace_(4, 0)) == Nothing()


@pytest.mark.parametrize("change", [promote(9), remove(9), update(9), replace_(9)], ids=str)
def test_who_is_no_member_cannot_be_changed(change: Change) -> None:
    message = refusal(three(), change, code=Code.NOT_FOUND)
    assert message == "metastore: there is no such member: 9; see `member list`"


@pytest.mark.parametrize("change", [promote(5), update(5), replace_(5)], ids=str)
def test_who_was_removed_cannot_be_changed(change: Change) -> None:
    message = refusal(REMOVED_5, change, code=Code.NOT_FOUND)
    assert message == ("metastore: there is no such member: 5; it was removed and cannot come back")
