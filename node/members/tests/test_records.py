"""The record of the members: what an entry makes of it, and that bytes give it back whole."""

import msgpack
import pytest
from member_records import awaiting, directory, founded, record, three, with_learner

from metastore.node.members.records import (
    MemberRecord,
    Membership,
    RecordDamaged,
    decode_edits,
    encode_edits,
)
from metastore.node.raft.model import ConfigurationState
from metastore.transport.member_ops import MemberState

# Sound as far as it goes, which is deeper than Python would print. Found by scripts/fuzz.
DEEP_AND_MORE = b"\x91" * 1000 + b"\xc0" + b"more"

JOINT = ConfigurationState(voters=(1,), voters_outgoing=(1, 2, 3), auto_leave=True)


def test_founders_vote_but_for_learners_and_are_in_order_whoever_names_them() -> None:
    made = founded(record(3, "witness"), record(2, "learner"), record(1))
    assert made == founded(record(1), record(2, "learner"), record(3, "witness"))
    assert made.configuration == ConfigurationState(voters=(1, 3), learners=(2,))


def test_bytes_give_the_whole_record_back() -> None:
    told = record(9, "learner", priority=4, name="nine", client_urls="http://h9:2379")
    made = three().changed(JOINT, put=[told], removed=[2], index=7)
    assert (made.leaving, made.index) == ((2,), 7)
    assert Membership.decode(made.encode()) == made


def test_no_bytes_are_nobody() -> None:
    assert Membership.decode(b"") == Membership()


def damaged(**fields: object) -> bytes:
    parts: dict[str, object] = {
        "format": 2,
        "configuration": ((1,), (), (), (), False),
        "members": [],
        "removed": (),
        "index": 1,
        "leaving": (),
    }
    return bytes(msgpack.packb(tuple((parts | fields).values())))


UNNAMED = (1, "voter", "a", "b", "c", "d", 77, 5)
NAMED = (*UNNAMED, "one", "http://h1:2379")


def test_a_record_of_this_version_is_read() -> None:
    made = Membership.decode(damaged(members=[NAMED]))
    assert (made.configuration.voters, made.members) == ((1,), (MemberRecord(*NAMED),))


def test_a_record_from_before_members_had_names_is_read() -> None:
    made = Membership.decode(damaged(format=1, members=[UNNAMED]))
    assert made.members == (MemberRecord(*UNNAMED, name="", client_urls=""),)


def test_edits_from_before_members_had_names_are_read() -> None:
    # They stand in the logs of nodes that ran the release before.
    put, removed = decode_edits(msgpack.packb((1, [UNNAMED], [2])))
    assert (put, removed) == ((MemberRecord(*UNNAMED, name="", client_urls=""),), (2,))


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\x01",
        damaged(format=3),
        damaged(format=1, members=[NAMED]),
        damaged(members=[UNNAMED]),
        damaged(members=[(*UNNAMED, "one", None)]),
        damaged(configuration=((1,), (), (), False)),
        damaged(configuration=((1,), (), (), (), 0)),
        damaged(members=[(1, "king", "a", "b", "c", "d", 0, 0, "", "")]),
        damaged(members=[(1, "voter", "a", "b", "c", b"d", 0, 0, "", "")]),
        damaged(removed=("x",)),
        damaged(index=None),
        damaged(leaving=1),
        DEEP_AND_MORE,
    ],
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(RecordDamaged):
        Membership.decode(data)


def test_edits_come_back_as_they_were() -> None:
    assert decode_edits(encode_edits([record(4)], [2, 3])) == ((record(4),), (2, 3))
    assert decode_edits(b"") == ((), ())


@pytest.mark.parametrize(
    "data",
    [
        b"\x01",
        msgpack.packb((3, [], [])),
        msgpack.packb((2, [], ["x"])),
        msgpack.packb((2, [()], [])),
        msgpack.packb((2, [UNNAMED], [])),
        msgpack.packb(([2], [], [])),
        DEEP_AND_MORE,
    ],
)
def test_what_are_no_edits_is_refused(data: bytes) -> None:
    with pytest.raises(RecordDamaged):
        decode_edits(data)


def test_an_entry_puts_members_in_and_replaces_them() -> None:
    made = awaiting(three(), record(9))
    changed = made.changed(made.configuration, put=[record(9, priority=1), record(8)], index=5)
    assert [member.node_id for member in changed.members] == [1, 2, 3, 8, 9]
    assert changed.get(9) == record(9, priority=1)


def test_a_removed_member_leaves_its_id_behind_for_ever() -> None:
    two = ConfigurationState(voters=(1, 2))
    changed = three().changed(two, removed=[3], index=5).changed(two, index=6)
    assert (changed.get(3), changed.removed, changed.leaving) == (None, (3,), ())


def test_who_still_has_to_vote_keeps_its_record_until_the_joint_configuration_is_left() -> None:
    # Else the others would cut the connection, and with it perhaps the old half's quorum.
    joint = three().changed(JOINT, removed=[2, 3], index=5)
    assert (joint.get(2), joint.removed) == (record(2), ())
    assert joint.state_of(record(2)) is MemberState.LEAVING
    left = joint.changed(ConfigurationState(voters=(1,)), index=6)
    assert (left.members, left.removed, left.leaving) == ((record(1),), (2, 3), ())


def test_who_is_out_of_the_configuration_and_not_removed_is_awaited_with_any_directory() -> None:
    joint = three().changed(JOINT, removed=[2], index=5)
    assert joint.get(3) == record(3), "it still votes, and only from the directory it had"
    left = joint.changed(ConfigurationState(voters=(1,)), index=6)
    awaited = record(3, directory_id=0)
    assert left.members == (record(1), awaited)
    assert left.state_of(awaited) is MemberState.AWAITED
    again = left.changed(left.configuration, put=[record(3)], index=7)
    assert again.get(3) == record(3)


@pytest.mark.parametrize(
    ("role", "state"),
    [
        ("voter", MemberState.JOINING),
        ("witness", MemberState.JOINING),
        ("learner", MemberState.MEMBER),
    ],
)
def test_a_learner_is_what_it_shall_be_or_on_its_way(role: str, state: MemberState) -> None:
    member = record(4, role)
    assert with_learner(three(), member).state_of(member) is state


def test_an_answer_tells_everything_about_a_member() -> None:
    info = founded(record(1, priority=5)).infos()[0]
    assert (info.node_id, info.role, info.state) == (1, "voter", "member")
    assert (info.directory_id, info.priority, info.client) == (directory(1), 5, "tcp://here:11")
