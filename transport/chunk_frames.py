"""The frames of a snapshot transfer: [header, body] or, for a chunk, [header, body, data].

Reading order 13. Bodies are msgpack arrays that start with their kind; decoding raises Malformed
and nothing else. Offsets and sizes are bytes of the file.

    OFFER     sender    [1, transfer_id, size, sha256, meta]
    CHUNK     sender    [2, transfer_id, offset, crc32] + data
    PROGRESS  receiver  [3, transfer_id, received, rewind]  also the answer to an OFFER; with rewind
                                                            the sender goes on from `received`
    DECLINED  receiver  [4, transfer_id, reason]            the end
    DONE      receiver  [5, transfer_id]                    the file is whole and synced
"""

from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

import msgpack

from metastore.transport.errors import Malformed
from metastore.transport.limits import SNAPSHOT_CHUNK_BYTES, SNAPSHOT_META_BYTES_MAX

DIGEST_BYTES = 32
_REASON_CHARACTERS_MAX = 500


class FrameKind(IntEnum):
    OFFER = 1
    CHUNK = 2
    PROGRESS = 3
    DECLINED = 4
    DONE = 5


class Offer(NamedTuple):
    transfer_id: int
    size: int
    digest: bytes
    meta: dict[str, Any]


class Chunk(NamedTuple):
    transfer_id: int
    offset: int
    crc32: int
    data: bytes


class Progress(NamedTuple):
    transfer_id: int
    received: int
    rewind: bool


class Declined(NamedTuple):
    transfer_id: int
    reason: str


class Done(NamedTuple):
    transfer_id: int


SenderFrame: TypeAlias = Offer | Chunk
ReceiverFrame: TypeAlias = Progress | Declined | Done

_SHAPES: dict[int, tuple[type, ...]] = {
    FrameKind.OFFER: (int, int, bytes, bytes),
    FrameKind.CHUNK: (int, int, int),
    FrameKind.PROGRESS: (int, int, bool),
    FrameKind.DECLINED: (int, str),
    FrameKind.DONE: (int,),
}


def encode_offer(transfer_id: int, size: int, digest: bytes, meta: dict[str, Any]) -> bytes:
    """Raises ValueError when the meta is over SNAPSHOT_META_BYTES_MAX."""
    packed = msgpack.packb(meta)
    if len(packed) > SNAPSHOT_META_BYTES_MAX:
        raise ValueError(f"snapshot meta over {SNAPSHOT_META_BYTES_MAX} bytes")
    return bytes(msgpack.packb((FrameKind.OFFER, transfer_id, size, digest, packed)))


def encode_body(kind: FrameKind, *fields: Any) -> bytes:
    return bytes(msgpack.packb((kind, *fields)))


def decode_sender_frame(parts: list[bytes]) -> SenderFrame:
    """From the frames after the header."""
    kind, fields = _decode_body(parts)
    if kind == FrameKind.OFFER and len(parts) == 1:
        transfer_id, size, digest, packed = fields
        if size < 0 or len(digest) != DIGEST_BYTES:
            raise Malformed("an offer names a size and a sha256")
        return Offer(transfer_id, size, digest, _decode_meta(packed))
    if kind == FrameKind.CHUNK and len(parts) == 2:
        if not 0 < len(parts[1]) <= SNAPSHOT_CHUNK_BYTES:
            raise Malformed(f"a chunk has 1 to {SNAPSHOT_CHUNK_BYTES} bytes")
        transfer_id, offset, crc32 = fields
        return Chunk(transfer_id, offset, crc32, parts[1])
    raise Malformed(f"kind {kind} with {len(parts)} frames is not a sender's")


def decode_receiver_frame(parts: list[bytes]) -> ReceiverFrame:
    """From the frames after the header."""
    kind, fields = _decode_body(parts)
    if len(parts) == 1:
        if kind == FrameKind.PROGRESS:
            return Progress(*fields)
        if kind == FrameKind.DECLINED:
            return Declined(fields[0], fields[1][:_REASON_CHARACTERS_MAX])
        if kind == FrameKind.DONE:
            return Done(*fields)
    raise Malformed(f"kind {kind} with {len(parts)} frames is not a receiver's")


def _decode_body(parts: list[bytes]) -> tuple[int, tuple[Any, ...]]:
    if not parts:
        raise Malformed("no body")
    fields = _unpack(parts[0])
    if type(fields) is not tuple or not fields or type(fields[0]) is not int:
        raise Malformed("a body is an array that starts with its kind")
    shape = _SHAPES.get(fields[0])
    if shape is None or tuple(type(field) for field in fields[1:]) != shape:
        raise Malformed(f"kind {fields[0]} with other fields than its own")
    return fields[0], fields[1:]


def _decode_meta(packed: bytes) -> dict[str, Any]:
    if len(packed) > SNAPSHOT_META_BYTES_MAX:
        raise Malformed(f"snapshot meta over {SNAPSHOT_META_BYTES_MAX} bytes")
    meta = _unpack(packed)
    if not isinstance(meta, dict) or not all(type(key) is str for key in meta):
        raise Malformed("snapshot meta is a map with names")
    return meta


def _unpack(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, use_list=False)
    except Exception as error:  # the decoder's own errors have no common base
        raise Malformed(f"not msgpack: {type(error).__name__}") from None
