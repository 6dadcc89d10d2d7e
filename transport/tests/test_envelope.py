"""Frames between clients and nodes: what was encoded comes back, all else is Malformed."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastore.transport import envelope
from metastore.transport.envelope import (
    Error,
    ErrorCode,
    Hello,
    MemberAddresses,
    ReadLevel,
    Request,
    Results,
    Welcome,
    decode_client_frame,
    decode_node_frame,
)
from metastore.transport.errors import Malformed
from metastore.transport.limits import CLIENT_FRAME_BYTES_MAX
from metastore.transport.schema import REQUEST_BYTES_MAX

LARGEST_ID = (1 << 64) - 1


def pack(*fields: Any) -> bytes:
    return bytes(msgpack.packb(fields))


@given(st.integers(0, LARGEST_ID), st.sampled_from(ReadLevel), st.binary(max_size=300))
def test_a_request_and_its_results_come_back_as_they_were(
    request_id: int, level: ReadLevel, data: bytes
) -> None:
    frame = envelope.encode_request_frame(request_id, level, data)
    assert decode_client_frame(frame) == Request(request_id, level, data)
    assert msgpack.unpackb(frame) == [1, 2, request_id, level, data]
    frame = envelope.encode_results_frame(request_id, data, term=LARGEST_ID)
    assert decode_node_frame(frame) == Results(request_id, data, LARGEST_ID)
    assert msgpack.unpackb(frame) == [1, 2, request_id, LARGEST_ID, data]


def test_hello_welcome_and_error_come_back_as_they_were() -> None:
    assert decode_client_frame(envelope.encode_hello(7, 99)) == Hello(7, 99)
    members = [(1, "tcp://a:1", "tcp://a:2"), (2, "tcp://b:1", "tcp://b:2")]
    welcome = decode_node_frame(envelope.encode_welcome(7, 99, 1, 2, members))
    assert welcome == Welcome(7, 99, 1, 2, tuple(MemberAddresses(*m) for m in members))
    error = envelope.encode_error(7, ErrorCode.NOT_LEADER, "go there", 3)
    assert decode_node_frame(error) == Error(7, "not_leader", "go there", 3)


def test_the_largest_request_fits_a_frame() -> None:
    frame = envelope.encode_request_frame(LARGEST_ID, 0, bytes(REQUEST_BYTES_MAX))
    assert len(frame) <= CLIENT_FRAME_BYTES_MAX
    decode_client_frame(frame)


def test_a_request_over_the_limit_is_malformed() -> None:
    frame = envelope.encode_request_frame(5, 0, bytes(REQUEST_BYTES_MAX + 1))
    with pytest.raises(Malformed, match="request over") as caught:
        decode_client_frame(frame)
    assert caught.value.request_id == 5


def test_a_frame_over_the_limit_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(Malformed, match="frame over"):
        decode_client_frame(b"\xc1" * (CLIENT_FRAME_BYTES_MAX + 1))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million
        b"\xc6\x3f\xff\xff\xff",  # a gigabyte that is not there
        b"\x91" * 5000,
        pack(1, 2, 3, 0, b"x") + b"more",
        pack(),
        pack(1),
        pack("1", 2, 3, 0, b"x"),
        pack(True, 2, 3, 0, b"x"),
        pack(1, "2", 3, 0, b"x"),
        pack(1, 2, "3", 0, b"x"),
        pack(1, 2, True, 0, b"x"),
        pack(1, 2, -3, 0, b"x"),
        pack(1, 2, 3, "0", b"x"),
        pack(1, 2, 3, False, b"x"),
        pack(1, 2, 3, 3, b"x"),
        pack(1, 2, 3, -1, b"x"),
        pack(1, 2, 3, 0, "x"),
        pack(1, 2, 3, 0),
        pack(1, 2, 3, 0, b"x", 0),
        pack(1, 1, 3, b""),
        pack(1, 9, 3, "code", "message", 0),
        pack(1, 8, 3),
        msgpack.packb({1: 2}),
        msgpack.packb(msgpack.ExtType(4, b"x")),
    ],
)
def test_everything_else_from_a_client_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        decode_client_frame(frame)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_malformed(frame: bytes) -> None:
    for decode in (decode_client_frame, decode_node_frame):
        try:
            decode(frame)
        except Malformed:
            continue


def test_another_version_is_told_apart_and_keeps_the_request_id() -> None:
    with pytest.raises(Malformed) as caught:
        decode_client_frame(pack(2, 2, 77, "whatever version 2 has"))
    assert (caught.value.request_id, caught.value.code) == (77, ErrorCode.WRONG_VERSION)


@pytest.mark.parametrize(
    "frame",
    [
        pack(1, 2, 3, 1, "results"),
        pack(1, 2, 3, b"results"),
        pack(1, 2, 3, -1, b"results"),
        pack(1, 9, 3, 5, "m", 0),
        pack(1, 1, 3, 9, 1, 0, [[1, "a"]]),
        pack(1, 1, 3, 9, 1, 0, [[1, b"a", "b"]]),
        pack(1, 1, 3, 9, 1, 0, "members"),
        pack(1, 7, 3),
    ],
)
def test_everything_else_from_a_node_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        decode_node_frame(frame)
