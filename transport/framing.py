"""What every frame between clients and nodes has in common: its version, kind and request id.

Reading order 8. Below envelope.py, watch_frames.py and backup_frames.py, which know the frames
themselves; whoever uses frames imports those. Decoding raises Malformed, never anything else.
"""

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Any

import msgpack

from metastore.transport.errors import Malformed

PROTOCOL_VERSION = 1
REQUEST_ID_MAX = (1 << 64) - 1


class Kind(IntEnum):
    HELLO = 1  # and WELCOME, its answer
    REQUEST = 2  # and RESULTS, its answer
    WATCH = 3  # and WATCHED, its answer
    CREDIT = 4  # and EVENTS, what is paid for with it
    CANCEL = 5  # and CANCELED, from a node
    PROGRESS = 6
    BACKUP = 7
    FETCH = 8
    ERROR = 9


class ErrorCode(StrEnum):
    NOT_LEADER = "not_leader"
    UNAVAILABLE = "unavailable"
    OUTCOME_UNKNOWN = "outcome_unknown"
    INVALID = "invalid"
    WRONG_CLUSTER = "wrong_cluster"
    WRONG_VERSION = "wrong_version"
    PERMISSION_DENIED = "permission_denied"  # never happened; repeating it is of no use


pack: Callable[[object], bytes] = msgpack.packb


def decode_array(data: bytes, bytes_max: int) -> tuple[Any, ...]:
    """At least (version, kind, request_id), these three checked."""
    if len(data) > bytes_max:
        raise Malformed(f"frame over {bytes_max} bytes")
    try:
        fields = msgpack.unpackb(data, use_list=False)
    except Exception as error:  # the decoder's own errors have no common base
        raise Malformed(f"not msgpack: {type(error).__name__}") from None
    if type(fields) is not tuple or not fields or type(fields[0]) is not int:
        raise Malformed("a frame is an array that starts with the protocol version")
    request_id = fields[2] if len(fields) > 2 and type(fields[2]) is int else 0
    if not 0 <= request_id <= REQUEST_ID_MAX:
        raise Malformed("a request id is not negative")
    if fields[0] != PROTOCOL_VERSION:
        raise Malformed(
            f"protocol version {fields[0]}, this node speaks {PROTOCOL_VERSION}",
            request_id,
            ErrorCode.WRONG_VERSION,
        )
    if len(fields) < 3 or type(fields[1]) is not int or type(fields[2]) is not int:
        raise Malformed("a frame is an array [version, kind, request id, ...]", request_id)
    return fields


def check_shape(fields: tuple[Any, ...], shape: tuple[type, ...]) -> None:
    """Of the fields after the request id."""
    if len(fields) != 3 + len(shape):
        raise Malformed(f"kind {fields[1]} has {3 + len(shape)} fields", fields[2])
    for value, expected in zip(fields[3:], shape, strict=True):
        # `type`, not isinstance: a bool is no number here.
        if type(value) is not expected:
            found = type(value).__name__
            raise Malformed(f"{found} where {expected.__name__} belongs", fields[2])
