"""The protobuf messages inside of etcd's database, encoded and decoded by hand.

Reading order 4 of etcd's files. Only what is there: a key with its value, a lease, and the records
of users and roles. Restoring needs no package for that. Field numbers are those of etcd's public
.proto files. Fields that are not known are passed over, as protobuf wants it; what is no message
raises BadMessage, whatever the bytes.

    KeyValue    1 key, 2 create_revision, 3 mod_revision, 4 version, 5 value, 6 lease
    Lease       1 ID, 2 TTL, 3 RemainingTTL
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Value: TypeAlias = int | bytes

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED_64: 8, _FIXED_32: 4}
_VARINT_BYTES_MAX = 10
_U64 = (1 << 64) - 1
_I64_MAX = (1 << 63) - 1


class BadMessage(ValueError):
    """Bytes that are no message of this kind; the sentence says why."""


def encode(*fields: tuple[int, Value]) -> bytes:
    """(number, value) in order; like proto3, leaves out zeros and empty bytes."""
    parts = []
    for number, value in fields:
        if not value:
            continue
        if isinstance(value, int):
            parts.append(_varint(number << 3) + _varint(value & _U64))
        else:
            parts.append(_varint(number << 3 | _BYTES) + _varint(len(value)) + value)
    return b"".join(parts)


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """(number, value) as they stand: numbers unsigned. Raises BadMessage."""
    place, end = 0, len(data)
    while place < end:
        tag, place = _read_varint(data, place)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise BadMessage("a field with the number 0")
        if kind == _VARINT:
            value, place = _read_varint(data, place)
            yield number, value
            continue
        if kind == _BYTES:
            length, place = _read_varint(data, place)
        elif kind in _FIXED_BYTES:
            length = _FIXED_BYTES[kind]
        else:
            raise BadMessage(f"field {number} is of the unknown kind {kind}")
        if length > end - place:
            raise BadMessage(f"field {number} ends beyond the message")
        if kind == _BYTES:
            yield number, data[place : place + length]
        place += length


def decode(data: bytes, kinds: Mapping[int, type]) -> dict[int, Any]:
    """By number, the last value of each field in `kinds`; int as a signed 64-bit number, and 0 or
    b"" for one that is absent. Raises BadMessage."""
    found: dict[int, Any] = {number: kind() for number, kind in kinds.items()}
    for number, value in fields(data):
        kind = kinds.get(number)
        if kind is None:
            continue
        if type(value) is not kind:
            raise BadMessage(f"field {number} is of another kind")
        found[number] = _signed(value) if isinstance(value, int) else value
    return found


_KEY_VALUE = {1: bytes, 2: int, 3: int, 4: int, 5: bytes, 6: int}
_LEASE = {1: int, 2: int, 3: int}


def encode_key_value(record: tuple[bytes, bytes, int, int, int, int]) -> bytes:
    """Of (key, value, create_revision, mod_revision, version, lease), as the engines have it."""
    key, value, create, mod, version, lease = record
    return encode((1, key), (2, create), (3, mod), (4, version), (5, value), (6, lease))


def decode_key_value(data: bytes) -> tuple[bytes, bytes, int, int, int, int]:
    """Raises BadMessage, also for numbers that no etcd gives."""
    found = decode(data, _KEY_VALUE)
    if not found[1]:
        raise BadMessage("an empty key")
    if min(found[2], found[3], found[4]) < 0:
        raise BadMessage("a negative revision")
    return (found[1], found[5], found[2], found[3], found[4], found[6])


def encode_lease(lease: int, ttl_s: int, remaining_s: int) -> bytes:
    return encode((1, lease), (2, ttl_s), (3, remaining_s))


def decode_lease(data: bytes) -> tuple[int, int]:
    """(lease, ttl_s). Raises BadMessage."""
    found = decode(data, _LEASE)
    return found[1], found[2]


def _signed(value: int) -> int:
    return value - (1 << 64) if value > _I64_MAX else value


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    for at in range(place, min(place + _VARINT_BYTES_MAX, len(data))):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _U64, at + 1
        shift += 7
    raise BadMessage("a number that does not end")
