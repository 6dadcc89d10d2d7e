"""The messages inside of an etcd database: as protobuf has them, byte for byte."""

from random import Random
from typing import Any

import pytest

from metastore.node.offline.etcd.messages import (
    BadMessage,
    decode_key_value,
    decode_lease,
    encode,
    encode_key_value,
    encode_lease,
)

NUMBERS = (0, 1, 127, 128, 300, 1 << 31, (1 << 63) - 1)


def mvcc() -> Any:
    pytest.importorskip("google.protobuf")
    from metastore.api.protocol.messages import mvcc

    return mvcc


def test_a_key_and_value_are_protobufs() -> None:
    draw = Random(3)
    for _ in range(300):
        record = (
            draw.randbytes(draw.randrange(1, 300)),
            draw.randbytes(draw.choice((0, 1, 127, 128, 20_000))),
            *(draw.choice(NUMBERS) for _ in range(4)),
        )
        key, value, create, mod, version, lease = record
        fields = {"create_revision": create, "mod_revision": mod, "version": version}
        real = mvcc().KeyValue(key=key, value=value, lease=lease, **fields)
        assert encode_key_value(record) == real.SerializeToString(deterministic=True)
        assert decode_key_value(real.SerializeToString()) == record


@pytest.mark.parametrize("lease", [1, -1, (1 << 63) - 1, -(1 << 63)])
def test_leases_come_back_also_those_with_negative_ids(lease: int) -> None:
    assert decode_lease(encode_lease(lease, 3600, 5)) == (lease, 3600)
    assert encode_lease(5, 0, 0) == b"\x08\x05"


def test_fields_of_later_versions_are_passed_over() -> None:
    later = b"\x5d" + bytes(4) + b"\x59" + bytes(8) + encode((15, b"later"), (99, 5))
    assert decode_lease(later + encode((1, 7), (2, 8)) + later) == (7, 8)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x0a\x05abc", "ends beyond"),
        (b"\x08\xff", "does not end"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "does not end"),
        (b"\x0b", "unknown kind"),
        (b"\x02\x00", "number 0"),
        (b"\x08\x01", "another kind"),
        (b"", "empty key"),
        (b"\x0a\x01k\x10" + b"\xff" * 9 + b"\x01", "negative revision"),
    ],
)
def test_what_is_no_key_and_value_is_told(data: bytes, problem: str) -> None:
    with pytest.raises(BadMessage, match=problem):
        decode_key_value(data)


def test_any_bytes_are_a_message_or_told_to_be_none() -> None:
    draw = Random(5)
    good = encode_key_value((b"key", b"value", 2, 3, 2, 7))
    for _ in range(2000):
        data = bytearray(good)
        data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            decode_key_value(bytes(data[: draw.randrange(len(data) + 1)]))
        except BadMessage:
            continue
