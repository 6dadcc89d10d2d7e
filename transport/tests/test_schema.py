"""The request schema: what is no request is refused with a sentence, never with another error."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metastore.transport import shapes
from metastore.transport.schema import (
    OPERATIONS_MAX,
    Flag,
    MalformedRequest,
    Operation,
    compare,
    decode_batch,
    decode_internal_or_none,
    decode_request,
    delete_range,
    encode_batch,
    encode_internal,
    encode_request,
    encode_results,
    filtered_range,
    is_read_only,
    put,
    range_,
    txn,
)

REQUEST = [
    put(b"k", b"v", lease=7, prev_kv=True),
    delete_range(b"a", b"b", prev_kv=True),
    range_(b"k", limit=3),
    filtered_range(range_(b"a", b"b"), sort_order=2, sort_target=4, min_mod_revision=3),
    txn([compare(3, 1, b"k", b"v")], [put(b"k", b"w")], [txn([], [range_(b"k")])]),
]
HEADERS = [(13, 5, 1, 1), (17, "user", 3)]


def range_with(key: bytes) -> list[object]:
    """A FILTERED_RANGE without its sort order and what follows."""
    return [4, *range_(key)[1:]]


def nested(depth: int) -> Operation:
    return txn([], [nested(depth - 1)] if depth else [])


def test_a_request_reads_back_as_it_was_made() -> None:
    for request in (REQUEST, [*HEADERS, *REQUEST], [HEADERS[1], REQUEST[0]]):
        assert list(decode_request(encode_request(request))) == request


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "non-empty array"),
        ({b"a": 1}, "non-empty array"),
        (7, "non-empty array"),
        ([7], "starts with its code"),
        ([[]], "starts with its code"),
        ([b"\x01abc"], "starts with its code"),
        ([[True, b"k", b"v", False]], "starts with its code"),
        ([[[1], b"k", b"v", False]], "starts with its code"),
        ([[{}, b"k", b"v", False]], "starts with its code"),
        ([[99, b"k"]], "unknown operation 99"),
        ([[1, b"k", b"v"]], "operation 1 takes 4 fields"),
        ([[1, b"k", b"v", 0, 0, 0]], "operation 1 takes 4 fields"),
        ([[1, "k", b"v", 0, 0]], "operation 1: str where bytes belongs"),
        ([[1, b"k", b"v", False, 0]], "operation 1: bool where int belongs"),
        ([[3, b"k", b"", 0, True, 0]], "operation 3: bool where int belongs"),
        ([put(b"k", b"v"), [1, None, b"v", 0, 0]], "NoneType where bytes belongs"),
        ([[6, 1 << 63, False]], "does not fit 64 bits"),
        ([[32, 5, 1]], "unknown operation 32"),
        ([put(b"k", b"v"), [13, 1, 1, 1]], "header comes first"),
        ([[13, 1, 1, 1]], "operations after it"),
        ([put(b"k", b"v"), [17, "u", 1], put(b"k", b"v")], "user's header comes right before"),
        ([[17, "u", 1]], "user's header comes right before"),
        ([[13, 1, 1, 1], [17, "u", 1]], "user's header comes right before"),
        ([[17, "u", 1], [17, "u", 1], put(b"k", b"v")], "user's header comes right before"),
        ([[13, 1, 1, 1], *[[17, "u", 1]] * 2, put(b"k", b"v")], "user's header comes right before"),
        ([[17, "u", 1], [13, 1, 1, 1], put(b"k", b"v")], "session's header comes first"),
        ([[99, "u", 1], put(b"k", b"v")], "unknown operation 99"),
        ([7, put(b"k", b"v")], "starts with its code"),
        ([[17, b"u", 1], put(b"k", b"v")], "bytes where str belongs"),
        ([[17, "u", 1 << 63], put(b"k", b"v")], "does not fit 64 bits"),
        ([[17, "u" * 1025, 1], put(b"k", b"v")], "a name of 1025 characters"),
        ([txn([], [[17, "u", 1]])], "operation 17 cannot be part"),
        ([txn([], [[18, 3]])], "operation 18 cannot be part"),
        ([[*range_with(b"k"), 3, 0, 0, 0, 0, 0]], "unknown sort order"),
        ([[*range_with(b"k"), 0, 5, 0, 0, 0, 0]], "unknown sort order"),
        ([txn([[0, 0, b"k", b""]])], "a comparison is"),
        ([txn([[0, 0, b"k", b"", b"v"]])], "bytes where int belongs"),
        ([txn([[0, 3, b"k", b"", 1]])], "int where bytes belongs"),
        ([txn([[4, 0, b"k", b"", 1]])], "unknown comparison"),
        ([txn([[0, 5, b"k", b"", 1]])], "unknown comparison"),
        ([txn([], [[8, 1]])], "operation 8 cannot be part"),
        ([txn([], [txn([], [], [[1, b"k"]])])], "operation 1 takes 4 fields"),
        ([nested(shapes.NESTING_MAX + 1)], "nested more than"),
        ([put(b"k", b"v")] * (OPERATIONS_MAX + 1), f"at most {OPERATIONS_MAX}"),
    ],
)
def test_what_is_no_request_is_refused_with_the_reason(content: object, sentence: str) -> None:
    with pytest.raises(MalformedRequest, match=sentence):
        decode_request(msgpack.packb(content))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.binary(max_size=40), place=st.integers(0, 60), byte=st.integers(0, 255))
def test_no_bytes_raise_anything_but_malformed(data: bytes, place: int, byte: int) -> None:
    damaged = bytearray(encode_request(REQUEST))
    damaged[place % len(damaged)] = byte
    for attempt in (data, bytes(damaged)):
        try:
            decode_request(attempt)
        except MalformedRequest:
            continue


def test_a_failed_encoding_leaves_nothing_for_the_next_one() -> None:
    with pytest.raises(TypeError):
        encode_results([(0, object())])
    assert encode_results([(0, 1)]) == msgpack.packb([[0, 1]])


def test_flags_are_what_the_engine_takes_them_for() -> None:
    put_flags = put(b"k", b"", prev_kv=True, ignore_value=True, ignore_lease=True)[4]
    assert put_flags == Flag.PREV_KV | Flag.IGNORE_VALUE | Flag.IGNORE_LEASE
    assert put(b"k", b"", ignore_value=True)[4] == Flag.IGNORE_VALUE
    range_flags = range_(b"k", keys_only=True, count_only=True, no_count=True)[5]
    assert range_flags == Flag.KEYS_ONLY | Flag.COUNT_ONLY | Flag.NO_COUNT
    assert range_(b"k", count_only=True)[5] == Flag.COUNT_ONLY
    assert delete_range(b"k", prev_kv=True)[3] == Flag.PREV_KV


def test_a_transaction_reads_only_if_both_branches_do() -> None:
    read, write = range_(b"k"), put(b"k", b"v")
    assert is_read_only([read, txn([], [read], [txn([], [read])])])
    assert not is_read_only([txn([], [read], [write])])
    assert not is_read_only([txn([], [txn([], [], [write])])])


def test_a_request_in_a_name_reads_if_the_rest_of_it_does() -> None:
    assert is_read_only([(17, "u", 1), range_(b"k")])
    assert not is_read_only([(17, "u", 1), put(b"k", b"v")])


def test_only_a_leader_can_make_an_internal_entry() -> None:
    expire = (int(shapes.LEASE_EXPIRE), 5, 1)
    assert decode_internal_or_none(decode_batch(encode_internal(3, [expire]))) == (3, (expire,))
    # What a client sends is bytes inside of the batch, whatever the bytes are.
    assert (
        decode_internal_or_none(decode_batch(encode_batch([encode_internal(3, [expire])]))) is None
    )
    with pytest.raises(MalformedRequest, match="unknown operation 1"):
        decode_internal_or_none(decode_batch(encode_internal(3, [put(b"k", b"v")])))
    with pytest.raises(MalformedRequest, match="internal entry"):
        decode_internal_or_none((None, b"3", b""))
