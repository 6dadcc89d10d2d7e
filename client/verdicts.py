"""From what a node answered, or failed to, to the error that the caller gets.

Reading order 7 of the client, read with routing.py. Pure.
"""

import msgpack

from metastore.client.calls import Call
from metastore.client.errors import (
    AnswerTooLarge,
    InvalidRequest,
    OutcomeUnknown,
    PermissionDenied,
    WrongCluster,
    WrongVersion,
)
from metastore.transport.envelope import ErrorCode
from metastore.transport.member_ops import MEMBER_OPERATIONS

FRAME_HEAD_BYTES = 64  # hold the version, the kind and the request id of any frame

_REFUSALS: dict[str, type[InvalidRequest]] = {
    ErrorCode.INVALID: InvalidRequest,
    ErrorCode.PERMISSION_DENIED: PermissionDenied,
    ErrorCode.WRONG_CLUSTER: WrongCluster,
    ErrorCode.WRONG_VERSION: WrongVersion,
}


def unknown_of(call: Call, why: str) -> OutcomeUnknown:
    """What became of the call is not known."""
    if call.operations[0][0] not in MEMBER_OPERATIONS:
        return unknown(why)
    return OutcomeUnknown(
        f"{why}; the members or the leader may have changed or may yet: look at the list of the "
        "members before going on"
    )


def unknown(why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"{why}; the write may have been applied or may still be: read the keys before repeating it"
    )


def refusal(code: str, text: str) -> InvalidRequest:
    """The error of a node's refusal; a code not known here is a refusal all the same."""
    return _REFUSALS.get(code, InvalidRequest)(text)


def too_large(size_bytes: int) -> AnswerTooLarge:
    return AnswerTooLarge(
        f"the answer has {size_bytes} bytes, too many for one; read with a limit, or scan"
    )


def peek_request_id(frame: bytes) -> int:
    """The request id of a frame too large to be decoded; 0 if it has none."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(frame[:FRAME_HEAD_BYTES])
    try:
        unpacker.read_array_header()
        _, _, request_id = (unpacker.unpack() for _ in range(3))
    except Exception:  # the decoder's own errors have no common base
        return 0
    return request_id if isinstance(request_id, int) else 0
