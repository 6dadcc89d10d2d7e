"""The request schema: what is no request is refused with a sentence, never with another error."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metastore.transport.schema import (
    OPERATIONS_MAX,
    MalformedRequest,
    decode_request,
    delete_range,
    encode_request,
    encode_results,
    put,
    range_,
)

REQUEST = [put(b"k", b"v"), delete_range(b"a", b"b", prev_kv=True), range_(b"k", limit=3)]


def test_a_request_reads_back_as_it_was_made() -> None:
    assert list(decode_request(encode_request(REQUEST))) == REQUEST


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
        ([[1, b"k", b"v"]], "operation 1 takes 3 fields"),
        ([[1, b"k", b"v", False, 0]], "operation 1 takes 3 fields"),
        ([[1, "k", b"v", False]], "operation 1: str where bytes belongs"),
        ([[1, b"k", b"v", 0]], "operation 1: int where bool belongs"),
        ([[3, b"k", b"", True, 0, False, False]], "operation 3: bool where int belongs"),
        ([put(b"k", b"v"), [1, None, b"v", False]], "NoneType where bytes belongs"),
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
