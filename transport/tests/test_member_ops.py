"""Requests about the members: what reads back as it was made, and what is refused with a sentence.

Nothing but MalformedRequest may come out of the decoder, whatever a client sends.
"""

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.transport import member_ops
from metastore.transport.member_ops import (
    CHANGES_MAX,
    MEMBER_CHANGE,
    MEMBERS,
    MOVE_LEADER,
    TEXT_CHARACTERS_MAX,
    Change,
    ChangeKind,
    MemberRequest,
    Role,
    decode_member_request,
)
from metastore.transport.schema import encode_request
from metastore.transport.shapes import MalformedRequest

PLACES = ("tcp://h4:1", "tcp://h4:2", "tcp://h4:3", "tcp://h4:4")
ONE_OF_EACH: dict[ChangeKind, Change] = {
    ChangeKind.ADD: (1, 4, "witness", *PLACES, 10),
    ChangeKind.JOIN: (2, 4, "voter", *PLACES, (1 << 64) - 1, "four", "http://h4:2379"),
    ChangeKind.PROMOTE: (3, 4),
    ChangeKind.REMOVE: (4, 4),
    ChangeKind.UPDATE: (5, 4, "", "tcp://h9:2", "", "", None),
    ChangeKind.REPLACE: (6, 4, 77),
}


def refusal(content: Any) -> str:
    with pytest.raises(MalformedRequest) as caught:
        decode_member_request(msgpack.packb(content))
    return str(caught.value)


def refusal_of(*changes: Any, is_forced: Any = False) -> str:
    return refusal([[MEMBER_CHANGE, list(changes), is_forced]])


def test_the_list_of_the_members_is_asked_for_without_a_field() -> None:
    request = decode_member_request(encode_request([member_ops.members()]))
    assert request == MemberRequest(MEMBERS)
    assert "has these fields" in refusal([[MEMBERS, 1]])


@pytest.mark.parametrize("target", [0, 3, (1 << 64) - 1])
def test_the_leadership_is_moved_to_somebody_or_whoever_suits_best(target: int) -> None:
    request = decode_member_request(encode_request([member_ops.move_leader(target)]))
    assert request == MemberRequest(MOVE_LEADER, target=target)


@pytest.mark.parametrize("kind", ChangeKind)
@pytest.mark.parametrize("is_forced", [False, True])
def test_a_change_of_each_kind_reads_back_as_it_was_made(kind: ChangeKind, is_forced: bool) -> None:
    operation = member_ops.member_change([ONE_OF_EACH[kind]], is_forced=is_forced)
    request = decode_member_request(encode_request([operation]))
    assert request == MemberRequest(MEMBER_CHANGE, (ONE_OF_EACH[kind],), is_forced)


def test_several_changes_are_one_request_in_their_order() -> None:
    changes = tuple(ONE_OF_EACH.values())
    assert decode_member_request(encode_request([member_ops.member_change(changes)])).changes == (
        changes
    )


@pytest.mark.parametrize("kind", ChangeKind)
def test_a_change_has_exactly_its_fields(kind: ChangeKind) -> None:
    change = ONE_OF_EACH[kind]
    sentence = f"no change of kind {kind.value} has"
    assert sentence in refusal_of(change[:-1])
    assert sentence in refusal_of((*change, 1))


@pytest.mark.parametrize("wrong", [None, True, 1.5, b"x", [], {}], ids=repr)
@pytest.mark.parametrize("kind", ChangeKind)
def test_no_field_takes_a_value_of_another_type(kind: ChangeKind, wrong: object) -> None:
    change = ONE_OF_EACH[kind]
    for place in range(1, len(change)):
        may_be_none = kind is ChangeKind.UPDATE and place == len(change) - 1
        if not (wrong is None and may_be_none):
            changed = [*change[:place], wrong, *change[place + 1 :]]
            assert "in the wrong place" in refusal_of(changed)


@pytest.mark.parametrize("kind", ChangeKind)
def test_a_number_does_not_stand_for_a_text_nor_a_text_for_a_number(kind: ChangeKind) -> None:
    change = ONE_OF_EACH[kind]
    for place in range(1, len(change)):
        other = 1 if isinstance(change[place], str) else "tcp://h4:1"
        changed = [*change[:place], other, *change[place + 1 :]]
        assert "in the wrong place" in refusal_of(changed)


@pytest.mark.parametrize("number", [-1, -(1 << 63)])
def test_numbers_are_not_negative(number: int) -> None:
    assert "no number of 64 bits" in refusal_of([3, number])
    assert "no number of 64 bits" in refusal_of([6, 4, number])
    assert "no number of 64 bits" in refusal([[MOVE_LEADER, number]])


@pytest.mark.parametrize("kind", [ChangeKind.ADD, ChangeKind.JOIN])
def test_a_role_is_one_that_there_is(kind: ChangeKind) -> None:
    change = list(ONE_OF_EACH[kind])
    for role in Role:
        change[2] = role.value
        data = encode_request([member_ops.member_change([change])])
        assert decode_member_request(data).changes[0][2] == role
    change[2] = "leader"
    assert refusal_of(change) == "unknown role 'leader'"


def test_an_address_has_a_limit() -> None:
    longest = "t" * TEXT_CHARACTERS_MAX
    update = [5, 4, longest, "", "", "", None]
    assert decode_member_request(msgpack.packb([[MEMBER_CHANGE, [update], False]])).changes
    update[2] += "t"
    assert "301 characters is too long" in refusal_of(update)


def test_a_request_has_a_limit_of_changes_and_at_least_one() -> None:
    most = [[4, node_id] for node_id in range(1, CHANGES_MAX + 1)]
    assert len(decode_member_request(msgpack.packb([[MEMBER_CHANGE, most, False]])).changes) == 16
    assert "17 changes" in refusal_of(*most, [4, 99])
    assert "0 changes" in refusal_of()


@pytest.mark.parametrize("kind", [0, 7, -1, 1 << 40])
def test_an_unknown_kind_of_change_is_refused(kind: int) -> None:
    assert f"no change of kind {kind} has" in refusal_of([kind, 4])


@pytest.mark.parametrize("change", [[], 4, "remove", [True, 4], ["4", 4], {}], ids=repr)
def test_a_change_starts_with_its_kind(change: object) -> None:
    assert refusal_of(change) == "a change is an array that starts with its kind"


@pytest.mark.parametrize("is_forced", [0, 1, None, "no"], ids=repr)
def test_force_is_said_with_true_or_false(is_forced: object) -> None:
    assert "has these fields" in refusal_of([4, 4], is_forced=is_forced)


@pytest.mark.parametrize(
    "content",
    [[], [[MEMBERS], [MEMBERS]], [[MEMBERS], [6, 1, False]], MEMBERS, [MEMBERS], {}, None],
    ids=repr,
)
def test_an_operation_on_the_members_stands_alone(content: object) -> None:
    assert refusal(content) == "an operation on the members is a request of its own"


@pytest.mark.parametrize("operation", [[], [47], [51], [True], [48.0], [MOVE_LEADER, True]])
def test_anything_else_is_no_operation_on_the_members(operation: object) -> None:
    assert "no operation on the members has these fields" in refusal([operation])


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_the_refusal(data: bytes) -> None:
    with contextlib.suppress(MalformedRequest):
        decode_member_request(data)


def nested_lists() -> Any:
    leaves = st.none() | st.booleans() | st.integers(-9, 60) | st.text(max_size=3) | st.binary()
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=9), max_leaves=20)


@given(st.sampled_from((MEMBERS, MEMBER_CHANGE, MOVE_LEADER)), nested_lists(), nested_lists())
def test_no_fields_raise_anything_but_the_refusal(
    operation: int, first: object, second: object
) -> None:
    with contextlib.suppress(MalformedRequest):
        decode_member_request(msgpack.packb([[operation, first, second]]))
