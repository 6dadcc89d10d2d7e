"""What a set of permissions covers, against a model that knows every key there can be.

Endpoints are drawn from few keys. Between two neighbours of these, and of the keys right after
them, no range begins or ends; so what holds for each of them holds for all that lie between.
"""

import itertools
from collections.abc import Sequence

import pytest
from auth_machine import add_user, guarded, one_named
from hypothesis import given, settings
from hypothesis import strategies as st

from metastore.engines.auth.guard import DENIED
from metastore.engines.auth.ranges import KeySet
from metastore.transport.auth_ops import Permission
from metastore.transport.schema import Code, Operation, compare, delete_range, put, range_, txn

ENDS = (b"", b"\x00", b"a", b"a\x00", b"a\x00\x00", b"aa", b"ab", b"b", b"\xff", b"\xff\xff")
POINTS = sorted({*ENDS, *(end + b"\x00" for end in ENDS)})
Range = tuple[bytes, bytes]

ranges = st.tuples(st.sampled_from(ENDS), st.sampled_from(ENDS))
grants = st.lists(st.tuples(st.sampled_from(list(Permission)), *[st.sampled_from(ENDS)] * 2))


def points(span: Range) -> set[bytes]:
    key, range_end = span
    if not range_end:
        return {key}
    if range_end == b"\x00":
        return {point for point in POINTS if point >= key}
    return {point for point in POINTS if key <= point < range_end}


def covers(granted: Sequence[Range], asked: Range) -> bool:
    """Of an empty range, its key is what is asked for."""
    there: set[bytes] = set().union(*map(points, granted))
    return (points(asked) or {asked[0]}) <= there


@settings(derandomize=True, deadline=None, max_examples=1500)
@given(granted=st.lists(ranges, max_size=6), asked=ranges)
def test_a_range_is_covered_if_every_key_of_it_is(granted: list[Range], asked: Range) -> None:
    assert KeySet(granted).covers(*asked) is covers(granted, asked)


def is_allowed(granted: Sequence[tuple[Permission, bytes, bytes]], operation: Operation) -> bool:
    """By sets of keys."""
    reads = [grant[1:] for grant in granted if grant[0] != Permission.WRITE]
    writes = [grant[1:] for grant in granted if grant[0] != Permission.READ]
    code, key = operation[0], operation[1]
    if code == PUT:
        return covers(writes, (key, b"")) and (not operation[4] or covers(reads, (key, b"")))
    if code == RANGE:
        return covers(reads, (key, operation[2]))
    if code == DELETE:
        span = (key, operation[2])
        return covers(writes, span) and (not operation[3] or covers(reads, span))
    compares, *branches = operation[1:]
    return all(covers(reads, (one[2], one[3])) for one in compares) and all(
        is_allowed(granted, nested) for branch in branches for nested in branch
    )


PUT, DELETE, RANGE = put(b"", b"")[0], delete_range(b"")[0], range_(b"")[0]
KEYS = st.sampled_from(ENDS[1:])
simple = st.one_of(
    st.builds(lambda key, prev: put(key, b"", prev_kv=prev), KEYS, st.booleans()),
    st.builds(range_, KEYS, st.sampled_from(ENDS)),
    st.builds(
        lambda key, end, prev: delete_range(key, end, prev_kv=prev),
        KEYS,
        st.sampled_from(ENDS),
        st.booleans(),
    ),
)
compares = st.builds(lambda key, end: compare(0, 0, key, 1, end), KEYS, st.sampled_from(ENDS))
reads_only = st.builds(range_, KEYS, st.sampled_from(ENDS))


def transactions(branch: st.SearchStrategy[Operation]) -> st.SearchStrategy[Operation]:
    branches = st.lists(branch, max_size=2)
    return st.builds(txn, st.lists(compares, max_size=2), branches, branches)


# One write in each branch at most, or it would be refused for writing a key twice.
operations = st.one_of(
    simple,
    st.builds(lambda a, b: txn([], [a], [b]), simple, simple),
    transactions(st.one_of(reads_only, transactions(reads_only))),
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(first=grants, second=grants, operation=operations)
def test_a_request_is_carried_out_exactly_if_all_its_keys_are_permitted(
    first: list[tuple[Permission, bytes, bytes]],
    second: list[tuple[Permission, bytes, bytes]],
    operation: Operation,
) -> None:
    machine = guarded()
    add_user(machine, "other", *second)
    add_user(machine, "u", *first)
    machine.run((18, 7, "u", "other"))
    # A grant of the same range takes the place of an earlier one, within a role.
    granted = [
        (permission, *span)
        for role in (first, second)
        for span, permission in {grant[1:]: grant[0] for grant in role}.items()
    ]
    result = one_named(machine, "u", operation)
    assert (result == DENIED) is not is_allowed(granted, operation)
    assert result[0] in (Code.OK, Code.PERMISSION_DENIED)


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_permissions_are_joined_where_they_meet(count: int) -> None:
    keys = [b"%04d" % number for number in range(count + 1)]
    joined = KeySet(itertools.pairwise(keys))
    assert joined.covers(keys[0], keys[-1])
    assert not joined.covers(keys[0], keys[-1] + b"\x00")
    assert len(joined._starts) == 1
