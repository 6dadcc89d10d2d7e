"""Transactions as etcd 3.5 carries them out: decided first, checked whole, written at once."""

import pytest
from key_spaces import LEASE, LeaseTable, content, empty_keys, invalid, out_of_range

from metastore.engines.mvcc import KeySpace
from metastore.transport.schema import (
    COMPACTED,
    DUPLICATE_KEY,
    FUTURE_REVISION,
    KEY_NOT_FOUND,
    KEY_NOT_PROVIDED,
    LEASE_NOT_FOUND,
    LEASE_PROVIDED,
    TOO_MANY_OPERATIONS,
    VALUE_PROVIDED,
    Code,
    CompareResult,
    CompareTarget,
    Operation,
    compare,
    delete_range,
    put,
    range_,
    txn,
)

EQUAL, GREATER, LESS, NOT_EQUAL = CompareResult
VERSION, CREATE, MOD, VALUE, LEASE_OF = CompareTarget
RESULTS = list(CompareResult)


@pytest.fixture
def keys() -> KeySpace:
    """a = 1 (version 2, created at 2, at 3, of LEASE), b = 2 (version 1, at 4)."""
    keys: KeySpace = empty_keys()
    keys.put(put(b"a", b"0"))
    keys.put(put(b"a", b"1", lease=LEASE))
    keys.put(put(b"b", b"2"))
    return keys


def holds(keys: KeySpace, *compares: object) -> bool:
    status, revision, succeeded, results = keys.txn(txn(compares))  # type: ignore[arg-type]
    assert (status, revision, results) == (Code.OK, keys.revision, [])
    return bool(succeeded)


# Comparisons


@pytest.mark.parametrize(
    ("target", "operand"),
    [(VERSION, 2), (CREATE, 2), (MOD, 3), (VALUE, b"1"), (LEASE_OF, LEASE)],
)
def test_each_target_compares_with_each_operator(
    keys: KeySpace, target: int, operand: int | bytes
) -> None:
    less = operand - 1 if isinstance(operand, int) else b"0"
    more = operand + 1 if isinstance(operand, int) else b"10"
    for other, expected in (
        (operand, {EQUAL}),
        (less, {GREATER, NOT_EQUAL}),
        (more, {LESS, NOT_EQUAL}),
    ):
        found = {r for r in RESULTS if holds(keys, compare(target, r, b"a", other))}
        assert found == expected


def test_the_value_of_a_missing_key_compares_with_nothing(keys: KeySpace) -> None:
    for result in RESULTS:
        for operand in (b"", b"x"):
            assert not holds(keys, compare(VALUE, result, b"missing", operand))


def test_everything_else_of_a_missing_key_is_zero(keys: KeySpace) -> None:
    for target in (VERSION, CREATE, MOD, LEASE_OF):
        assert holds(keys, compare(target, EQUAL, b"missing", 0))
        assert holds(keys, compare(target, LESS, b"missing", 1))
        assert not holds(keys, compare(target, GREATER, b"missing", 0))


def test_a_range_compares_if_all_its_keys_do(keys: KeySpace) -> None:
    assert holds(keys, compare(CREATE, GREATER, b"a", 0, b"z"))
    assert not holds(keys, compare(VERSION, EQUAL, b"a", 1, b"z"))
    assert holds(keys, compare(VERSION, EQUAL, b"b", 1, b"\x00"))
    assert not holds(keys, compare(VALUE, EQUAL, b"a", b"1", b"\x00"))


def test_an_empty_range_compares_as_a_missing_key(keys: KeySpace) -> None:
    for start, end in ((b"x", b"z"), (b"z", b"a")):
        assert holds(keys, compare(VERSION, EQUAL, start, 0, end))
        assert not holds(keys, compare(VALUE, NOT_EQUAL, start, b"q", end))


def test_all_comparisons_have_to_hold_and_none_always_do(keys: KeySpace) -> None:
    yes, no = compare(VERSION, EQUAL, b"a", 2), compare(VERSION, EQUAL, b"a", 1)
    assert holds(keys)
    assert holds(keys, yes, yes)
    assert not holds(keys, yes, no)


# What is done


def test_the_branch_that_is_taken_answers_in_order(keys: KeySpace) -> None:
    no = compare(VERSION, EQUAL, b"a", 1)
    failure = [put(b"c", b"3", prev_kv=True), range_(b"c"), delete_range(b"b")]
    assert keys.txn(txn([no], [put(b"x", b"")], failure)) == (
        *(Code.OK, 5, False),
        [
            (Code.OK, 5, None),
            (Code.OK, 5, ((b"c", b"3", 5, 5, 1, 0),), False, 1),
            (Code.OK, 5, 1, ()),
        ],
    )
    assert content(keys) == {b"a": b"1", b"c": b"3"}


def test_results_show_the_revision_as_it_was_at_their_turn(keys: KeySpace) -> None:
    steps = [range_(b"a"), delete_range(b"x"), put(b"c", b""), delete_range(b"x"), range_(b"a")]
    results = keys.txn(txn((), steps))[3]
    assert [result[1] for result in results] == [4, 4, 5, 5, 5]


def test_all_writes_share_a_revision_and_nothing_written_makes_none(keys: KeySpace) -> None:
    nested = txn((), [put(b"d", b"")])
    assert keys.txn(txn((), [put(b"c", b""), nested, delete_range(b"a", b"c")]))[1] == 5
    assert [record[0] for record in keys.records.changes(5, 5)] == [b"c", b"d", b"a", b"b"]
    for nothing in ([], [range_(b"a")], [delete_range(b"x")], [txn((), [])]):
        assert keys.txn(txn((), nothing))[1] == 5
    assert keys.revision == 5


def test_a_read_of_an_older_revision_does_not_see_the_transaction(keys: KeySpace) -> None:
    steps = [put(b"a", b"new"), range_(b"a", revision=4), range_(b"a")]
    _, before, after = keys.txn(txn((), steps))[3]
    assert [before[2][0][1], after[2][0][1]] == [b"1", b"new"]


def test_a_nested_transaction_has_no_revision_of_its_own(keys: KeySpace) -> None:
    nested = txn([compare(VERSION, EQUAL, b"a", 7)], (), [put(b"c", b"")])
    assert keys.txn(txn((), [nested])) == (
        *(Code.OK, 5, True),
        [(Code.OK, 0, False, [(Code.OK, 5, None)])],
    )


def test_nested_comparisons_see_the_state_from_before(keys: KeySpace) -> None:
    is_there = compare(VERSION, GREATER, b"c", 0)
    nested = txn([is_there], [put(b"yes", b"")], [put(b"no", b"")])
    keys.txn(txn((), [put(b"c", b""), nested]))
    assert b"no" in content(keys)


def test_a_transaction_moves_keys_between_leases() -> None:
    leases = LeaseTable(LEASE, 6)
    keys = empty_keys(leases)
    keys.put(put(b"a", b"", lease=LEASE))
    keys.txn(txn((), [put(b"a", b"", lease=6), put(b"b", b"", lease=LEASE)]))
    assert leases.keys == {LEASE: {b"b"}, 6: {b"a"}}


# What is refused for the state: before anything is done, and on the branch that is taken only


def refused(keys: KeySpace, operation: Operation) -> object:
    before = keys.revision, content(keys)
    result = keys.txn(operation)
    assert (keys.revision, content(keys)) == before
    return result


BAD_STEPS = [
    (put(b"c", b"", lease=9), (Code.NOT_FOUND, LEASE_NOT_FOUND)),
    (put(b"c", b"", ignore_value=True), invalid(KEY_NOT_FOUND)),
    (put(b"c", b"", ignore_lease=True), invalid(KEY_NOT_FOUND)),
    (put(b"c", b"", lease=9, ignore_value=True), invalid(KEY_NOT_FOUND)),
    (range_(b"a", revision=5), out_of_range(FUTURE_REVISION)),
    (range_(b"a", revision=2), out_of_range(COMPACTED)),
    (range_(b"a", revision=-1), out_of_range(COMPACTED)),
]


@pytest.mark.parametrize(("step", "error"), BAD_STEPS)
def test_one_bad_step_refuses_all(keys: KeySpace, step: Operation, error: object) -> None:
    keys.compact((6, 3, False))
    assert refused(keys, txn((), [put(b"first", b""), step])) == error
    assert refused(keys, txn((), [put(b"first", b""), txn((), [step])])) == error
    assert keys.txn(txn((), [put(b"first", b"")], [step]))[0] == Code.OK


def test_puts_are_checked_before_ranges(keys: KeySpace) -> None:
    steps = [range_(b"a", revision=99), put(b"c", b"", lease=9)]
    assert refused(keys, txn((), steps)) == (Code.NOT_FOUND, LEASE_NOT_FOUND)


# What is refused whatever the state: on either branch


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (put(b"", b""), KEY_NOT_PROVIDED),
        (delete_range(b"", b"z"), KEY_NOT_PROVIDED),
        (range_(b""), KEY_NOT_PROVIDED),
        (put(b"a", b"v", ignore_value=True), VALUE_PROVIDED),
        (put(b"a", b"v", lease=LEASE, ignore_lease=True), LEASE_PROVIDED),
        (txn([compare(VERSION, EQUAL, b"", 0)]), KEY_NOT_PROVIDED),
    ],
)
def test_an_ill_made_step_is_refused_on_either_branch(
    keys: KeySpace, step: Operation, message: str
) -> None:
    twice = [put(b"x", b""), put(b"x", b"")]
    for operation in (txn((), [step]), txn((), [], [txn((), [step])]), txn((), twice, [step])):
        assert refused(keys, operation) == invalid(message)


def test_an_empty_key_cannot_be_compared(keys: KeySpace) -> None:
    empty = compare(VERSION, EQUAL, b"", 0, b"\x00")
    assert refused(keys, txn([empty])) == invalid(KEY_NOT_PROVIDED)


def puts(count: int, prefix: bytes = b"k") -> list[Operation]:
    return [put(b"%s%d" % (prefix, place), b"") for place in range(count)]


def test_128_operations_are_allowed_in_each_list(keys: KeySpace) -> None:
    yes = compare(VERSION, EQUAL, b"a", 2)
    assert keys.txn(txn([yes] * 128, puts(128), puts(128)))[0] == Code.OK
    for too_many in (
        txn([yes] * 129),
        txn((), puts(129)),
        txn((), (), [put(b"", b""), *puts(128)]),
    ):
        assert refused(keys, too_many) == invalid(TOO_MANY_OPERATIONS)


def test_a_nested_transaction_gets_what_the_outer_one_leaves(keys: KeySpace) -> None:
    def nested(outer: int, inner: int) -> Operation:
        return txn((), [*puts(outer - 1), txn((), puts(inner, b"n"))])

    assert keys.txn(nested(64, 64))[0] == Code.OK
    assert refused(keys, nested(64, 65)) == invalid(TOO_MANY_OPERATIONS)
    assert refused(keys, nested(128, 1)) == invalid(TOO_MANY_OPERATIONS)


A, DELETE_A, DELETE_ALL = put(b"a", b""), delete_range(b"a"), delete_range(b"\x00", b"\x00")


@pytest.mark.parametrize(
    "steps",
    [
        [A, A],
        [A, DELETE_A],
        [A, A, delete_range(b"x")],
        [DELETE_A, A],
        [A, delete_range(b"0", b"b")],
        [DELETE_ALL, A],
        [A, txn((), [A])],
        [txn((), [A]), txn((), (), [A])],
        [DELETE_A, txn((), [A])],
        [txn((), [DELETE_A]), A],
        [txn((), [A]), txn((), [DELETE_A])],
        [txn((), [txn((), [], [A])]), put(b"b", b""), DELETE_A],
        [txn((), [A, A])],
        [delete_range(b"0", b"z"), delete_range(b"b", b"c"), A],
    ],
)
def test_no_key_is_written_twice_on_a_branch(keys: KeySpace, steps: list[Operation]) -> None:
    assert refused(keys, txn((), steps)) == invalid(DUPLICATE_KEY)
    assert refused(keys, txn((), (), steps)) == invalid(DUPLICATE_KEY)


@pytest.mark.parametrize(
    "steps",
    [
        [DELETE_A, DELETE_A],
        [txn((), [A], [A])],
        [txn((), [A], [DELETE_A])],
        [A, delete_range(b"b", b"c"), delete_range(b"0", b"a")],
        [A, delete_range(b"a\x00", b"\x00")],
        [A, delete_range(b"b", b"0")],
        [txn((), [DELETE_ALL], [A]), range_(b"a")],
        [A, put(b"a\x00", b""), delete_range(b"b")],
    ],
)
def test_keys_that_can_only_be_written_once_are_accepted(
    keys: KeySpace, steps: list[Operation]
) -> None:
    assert keys.txn(txn((), steps))[0] == Code.OK


def test_both_branches_may_write_one_key(keys: KeySpace) -> None:
    assert keys.txn(txn((), [A], [DELETE_A]))[0] == Code.OK
