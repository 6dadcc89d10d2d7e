"""Bytes of a request to its message, and in etcd's words what is wrong with bytes that are none.

The texts are those of etcd's generated decoders, as far as a client can tell causes apart by them.
"""

from typing import Any

from google.protobuf.message import DecodeError

from metastore.api.calls import ApiError, Method, Status
from metastore.api.grpc.limits import MESSAGE_BYTES_MAX

TRUNCATED = "unexpected EOF"
INVALID = "proto: cannot parse invalid wire-format data"
# etcd says it differently for a request of its own (unary) and one of a stream.
OF_UNARY = "grpc: error unmarshalling request: "
OF_STREAM = "grpc: failed to unmarshal the received message "

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES_MAX = 10


def decoded(method: Method, data: bytes) -> Any:
    """The request. Raises ApiError: RESOURCE_EXHAUSTED for one that is too large, INTERNAL for
    bytes that are not one."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise ApiError(
            Status.RESOURCE_EXHAUSTED,
            f"grpc: received message larger than max ({len(data)} vs. {MESSAGE_BYTES_MAX})",
        )
    try:
        return method.request_class.FromString(data)
    except DecodeError:
        is_unary = not (method.takes_stream or method.sends_stream)
        prefix = OF_UNARY if is_unary else OF_STREAM
        reason = _reason(data, method.request_class.DESCRIPTOR.name)
        raise ApiError(Status.INTERNAL, prefix + reason) from None


class _Malformed(Exception):
    pass


def _reason(data: bytes, name: str) -> str:
    """What is wrong with the outermost message; INVALID for what lies deeper."""
    position = 0
    try:
        while position < len(data):
            tag, position = _varint(data, position)
            field, wire_type = tag >> 3, tag & 7
            if field == 0:
                return f"proto: {name}: illegal tag 0 (wire type {wire_type})"
            if wire_type == _VARINT:
                _, position = _varint(data, position)
            elif wire_type == _BYTES:
                length, position = _varint(data, position)
                position += length
            elif wire_type in _FIXED_BYTES:
                position += _FIXED_BYTES[wire_type]
            else:
                return f"proto: illegal wireType {wire_type}"
    except _Malformed as error:
        return str(error)
    return TRUNCATED if position > len(data) else INVALID


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """(value, where the next byte is)"""
    value = 0
    for count in range(_VARINT_BYTES_MAX):
        if position + count >= len(data):
            raise _Malformed(TRUNCATED)
        byte = data[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    raise _Malformed("proto: integer overflow")
