"""What lies within a prefix, against a model that lists keys.

The alphabet ends with the last byte there is, so that the first key after each prefix is in it, or
there is none.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from metastore.node.access.permissions import AccessRole, Grants, Reason, why_not, why_not_range
from metastore.transport import schema
from metastore.transport.envelope import Request
from metastore.transport.schema import Op, Operation

_BYTES = (b"\xfd", b"\xfe", b"\xff")
_KEYS = [
    b"".join(letters) for size in range(5) for letters in itertools.product(_BYTES, repeat=size)
]
_SHORT = st.lists(st.sampled_from(_BYTES), min_size=1, max_size=3).map(b"".join)


def keys_in(key: bytes, range_end: bytes) -> set[bytes]:
    if not range_end:
        return {key}
    return {k for k in _KEYS if key <= k and (range_end == b"\x00" or k < range_end)}


@given(
    st.lists(_SHORT, min_size=1, max_size=3),
    _SHORT,
    st.one_of(st.just(b""), st.just(b"\0"), _SHORT),
)
@example([b"\xff"], b"\xff\xfd", b"\x00")
@example([b"\xfd\xff"], b"\xfd\xff", b"\xfe")
@example([b"\xfd"], b"\xfd\xff", b"\xfe\xfd")
def test_a_range_is_inside_if_one_prefix_begins_all_of_its_keys(
    prefixes: Sequence[bytes], key: bytes, range_end: bytes
) -> None:
    grants = Grants("web", AccessRole.READ, tuple(prefixes))
    touched = keys_in(key, range_end) or {key}  # an empty range stands where it starts
    expected = any(all(k.startswith(prefix) for k in touched) for prefix in prefixes)
    denial = why_not_range(grants, key, range_end)
    assert (denial is None) is expected
    assert denial is None or denial.reason is Reason.PREFIX


def _ranges() -> st.SearchStrategy[Operation]:
    return st.builds(schema.range_, _SHORT, st.one_of(st.just(b""), st.just(b"\0"), _SHORT))


def _operations() -> st.SearchStrategy[Operation]:
    ends = st.one_of(st.just(b""), st.just(b"\0"), _SHORT)
    simple = st.one_of(
        _ranges(),
        st.builds(schema.put, _SHORT, st.just(b"v")),
        st.builds(schema.delete_range, _SHORT, ends),
    )
    compares = st.lists(
        st.builds(lambda key, end: schema.compare(0, 0, key, 1, end), _SHORT, ends), max_size=2
    )
    return st.recursive(
        simple,
        lambda inner: st.builds(
            schema.txn, compares, st.lists(inner, max_size=2), st.lists(inner, max_size=2)
        ),
        max_leaves=5,
    )


def _touched(operation: Any) -> set[bytes]:
    if operation[0] == Op.PUT:
        return {operation[1]}
    if operation[0] != Op.TXN:
        return keys_in(operation[1], operation[2]) or {operation[1]}
    inner = [_touched(nested) for nested in (*operation[2], *operation[3])]
    inner += [keys_in(compare[2], compare[3]) or {compare[2]} for compare in operation[1]]
    return set().union(*inner)


def _writes(operation: Any) -> bool:
    if operation[0] == Op.TXN:
        return any(map(_writes, (*operation[2], *operation[3])))
    return bool(operation[0] != Op.RANGE)


@given(st.lists(_operations(), min_size=1, max_size=3), _SHORT, st.booleans())
def test_a_request_is_allowed_if_all_it_does_is(
    operations: Sequence[Operation], prefix: bytes, may_write: bool
) -> None:
    role = AccessRole.WRITE if may_write else AccessRole.READ
    grants = Grants("web", role, (prefix,))
    request = Request(1, 0, schema.encode_request(operations))
    allowed = why_not(grants, request, lambda lease: ()) is None
    stays = all(key.startswith(prefix) for key in set().union(*map(_touched, operations)))
    assert allowed is (stays and (may_write or not any(map(_writes, operations))))
