"""Operations drawn by hypothesis, for test_same_as_etcd.py: few keys, so that they meet often.

Revisions are drawn relative to the newest one; `place` makes them absolute.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from metastore.transport import schema

KEYS = (b"a", b"ab", b"abc", b"b", b"b\x00", b"c", b"\xfe", b"\xff")
NEVER_PUT_IN_TXN = b"bb"
EVERYTHING = (b"\x00", b"\x00")
NEWEST = 0  # as a relative revision: not given at all

keys = st.sampled_from(KEYS)
keys_outside_txn = st.sampled_from((*KEYS, *KEYS, NEVER_PUT_IN_TXN, b""))
maybe_empty_keys = st.sampled_from((*KEYS, *KEYS, b""))
range_ends = st.sampled_from((b"", b"\x00", *KEYS))
bounded_ends = st.sampled_from((b"", *KEYS))
values = st.sampled_from((b"", b"0", b"1", b"x", b"\x00\xff"))
lease_numbers = st.sampled_from((0, 0, 0, 1, 2, 3, 9))
relative_revisions = st.sampled_from((NEWEST,) * 6 + (-1, -2, -3, -5, -9, -20, 1, 3))
bounds = st.sampled_from((None, None, None, -8, -4, -2, -1, 1))
flags = st.sampled_from((0, 0, 0, 8, 16))

Drawn = tuple[Any, ...]


@st.composite
def puts(draw: Callable[..., Any], drawn_keys: Any = maybe_empty_keys) -> Drawn:
    put_flags = draw(st.sampled_from((0, 0, 0, 1, 1, 2, 3, 4, 5, 6)))
    # With "ignore", a value or a lease is an error: let it be one now and then only.
    value = draw(values) if not put_flags & 2 or draw(st.integers(0, 3)) == 0 else b""
    lease = draw(lease_numbers) if not put_flags & 4 or draw(st.integers(0, 3)) == 0 else 0
    return ("put", draw(drawn_keys), value, lease, put_flags)


@st.composite
def deletes(draw: Callable[..., Any], ends: Any = range_ends) -> Drawn:
    return ("delete", draw(maybe_empty_keys), draw(ends), draw(st.integers(0, 1)))


@st.composite
def ranges(draw: Callable[..., Any]) -> Drawn:
    key, range_end = draw(st.one_of(st.tuples(maybe_empty_keys, range_ends), st.just(EVERYTHING)))
    limit = draw(st.sampled_from((0, 0, 1, 2, 5)))
    plain = ("range", key, range_end, limit, draw(relative_revisions), draw(flags))
    if draw(st.booleans()):
        return (*plain, None, None, ())
    chosen = tuple(draw(bounds) for _ in range(4))
    return (*plain, draw(st.integers(0, 2)), draw(st.integers(0, 4)), chosen)


@st.composite
def compares(draw: Callable[..., Any]) -> Drawn:
    target = draw(st.integers(0, 4))
    operand: Any = draw(st.integers(0, 3))
    if target == schema.CompareTarget.VALUE:
        operand = draw(values)
    range_end = draw(st.sampled_from((b"", b"", b"", b"\x00", b"b", b"c")))
    return (target, draw(st.integers(0, 3)), draw(keys), operand, range_end)


def branches(depth: int) -> Any:
    # etcd overlooks some deletes that meet a put of the same transaction: those without an end, and
    # those in a nested transaction after a put in another one. We refuse them all.
    if depth:
        unmet = st.tuples(st.just("delete"), st.just(NEVER_PUT_IN_TXN), st.just(b""), st.just(1))
        parts = [puts(), puts(), unmet, ranges()]
    else:
        parts = [puts(), puts(), deletes(bounded_ends), ranges()]
    return st.lists(st.one_of(*parts, *([txns(depth + 1)] if depth < 2 else [])), max_size=4)


def txns(depth: int = 0) -> Any:
    return st.tuples(
        st.just("txn"), st.lists(compares(), max_size=3), branches(depth), branches(depth)
    )


class Placing:
    """Makes drawn operations real for a system whose newest revision is `revision`. Leases get
    numbers above `lease_base`."""

    def __init__(self, revision: int, lease_base: int) -> None:
        self.newest = revision
        self._lease_base = lease_base

    def lease(self, number: int) -> int:
        return self._lease_base + number if number else 0

    def place(self, drawn: Drawn) -> schema.Operation:
        kind, *fields = drawn
        if kind == "put":
            key, value, lease, put_flags = fields
            return (schema.Op.PUT, key, value, self.lease(lease), put_flags)
        if kind == "delete":
            return (schema.Op.DELETE_RANGE, *fields)
        if kind == "range":
            return self._range(*fields)
        compared = [self._compare(*fields_of_one) for fields_of_one in fields[0]]
        success, failure = ([self.place(part) for part in branch] for branch in fields[1:])
        return schema.txn(compared, success, failure)

    def revision(self, relative: int | None) -> int:
        return max(0, self.newest + relative) if relative else 0

    def _range(
        self,
        key: bytes,
        range_end: bytes,
        limit: int,
        relative: int,
        range_flags: int,
        order: int | None,
        target: int | None,
        chosen: tuple[int | None, ...],
    ) -> schema.Operation:
        plain = (key, range_end, limit, self.revision(relative), range_flags)
        if order is None:
            return (schema.Op.RANGE, *plain)
        return (schema.Op.FILTERED_RANGE, *plain, order, target, *map(self.revision, chosen))

    def _compare(
        self, target: int, result: int, key: bytes, operand: Any, range_end: bytes
    ) -> schema.Operation:
        if target in (schema.CompareTarget.CREATE, schema.CompareTarget.MOD) and operand:
            operand = self.revision(-operand)
        elif target == schema.CompareTarget.LEASE:
            operand = self.lease(operand)
        return schema.compare(target, result, key, operand, range_end)
