"""The frames between clients and nodes: msgpack arrays [version, kind, request_id, ...].

Reading order 9. One frame is one message; a ZeroMQ message may carry many. Decoding is strict and
raises Malformed, never anything else, whatever the bytes.

    HELLO    client  [v, 1, id, cluster_id]                 0: any cluster will do
    WELCOME  node    [v, 1, id, cluster_id, node_id, leader_id, [[node_id, client, status], ...]]
    REQUEST  client  [v, 2, id, read_level, request]
    RESULTS  node    [v, 2, id, term, results]              the term of the node that answers
    ERROR    node    [v, 9, id, code, message, leader_id]

The frames of watches are in watch_frames.py, those of backups in backup_frames.py. They are told
apart here, but for the answers to backups, which no client but a backup's waits for.
"""

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from metastore.transport.backup_frames import (
    ClientBackupFrame,
    decode_client_backup_frame,
)
from metastore.transport.errors import Malformed
from metastore.transport.framing import PROTOCOL_VERSION as PROTOCOL_VERSION
from metastore.transport.framing import REQUEST_ID_MAX as REQUEST_ID_MAX
from metastore.transport.framing import ErrorCode as ErrorCode
from metastore.transport.framing import Kind, check_shape, decode_array, pack
from metastore.transport.limits import ANSWER_FRAME_BYTES_MAX, CLIENT_FRAME_BYTES_MAX
from metastore.transport.schema import REQUEST_BYTES_MAX
from metastore.transport.watch_frames import (
    ClientWatchFrame,
    NodeWatchFrame,
    decode_client_watch_frame,
    decode_node_watch_frame,
)


class ReadLevel(IntEnum):
    LINEARIZABLE = 0
    LEASE = 1
    LOCAL = 2


class Hello(NamedTuple):
    request_id: int
    cluster_id: int


class Request(NamedTuple):
    request_id: int
    read_level: int  # a ReadLevel
    request: bytes  # schema.encode_request, not decoded here


class MemberAddresses(NamedTuple):
    node_id: int
    client: str
    status: str


class Welcome(NamedTuple):
    request_id: int
    cluster_id: int
    node_id: int
    leader_id: int  # 0: none known
    members: tuple[MemberAddresses, ...]


class Results(NamedTuple):
    request_id: int
    results: bytes  # schema.encode_results
    term: int = 0  # the node's when it answered


class Error(NamedTuple):
    request_id: int
    code: str
    message: str
    leader_id: int


ClientFrame: TypeAlias = Hello | Request | ClientWatchFrame | ClientBackupFrame
NodeFrame: TypeAlias = Welcome | Results | Error | NodeWatchFrame

# The two frames of the hot path are packed by hand, as the msgpack that they are: a fixed array,
# the id as uint 64, the bytes as bin 32. A packer per frame costs more than the rest of a reply.
_REQUEST = struct.Struct(">BBBBQBBI")
_RESULTS = struct.Struct(">BBBBQBQBI")
_ARRAY_5, _UINT_64, _BIN_32 = 0x95, 0xCF, 0xC6
_REQUEST_HEAD = bytes((_ARRAY_5, PROTOCOL_VERSION, Kind.REQUEST, _UINT_64))
_READ_LEVEL_MAX = int(ReadLevel.LOCAL)


def encode_request_frame(request_id: int, read_level: int, request: bytes) -> bytes:
    return (
        _REQUEST.pack(
            _ARRAY_5,
            PROTOCOL_VERSION,
            Kind.REQUEST,
            _UINT_64,
            request_id,
            read_level,
            _BIN_32,
            len(request),
        )
        + request
    )


def encode_results_frame(request_id: int, results: bytes, term: int = 0) -> bytes:
    return (
        _RESULTS.pack(
            _ARRAY_5,
            PROTOCOL_VERSION,
            Kind.REQUEST,
            _UINT_64,
            request_id,
            _UINT_64,
            term,
            _BIN_32,
            len(results),
        )
        + results
    )


def encode_hello(request_id: int, cluster_id: int = 0) -> bytes:
    return pack((PROTOCOL_VERSION, Kind.HELLO, request_id, cluster_id))


def encode_welcome(
    request_id: int,
    cluster_id: int,
    node_id: int,
    leader_id: int,
    members: Iterable[tuple[int, str, str]],
) -> bytes:
    """Members: (node_id, client address, status address)."""
    fields = (request_id, cluster_id, node_id, leader_id, [tuple(m) for m in members])
    return pack((PROTOCOL_VERSION, Kind.HELLO, *fields))


def encode_error(request_id: int, code: str, message: str, leader_id: int = 0) -> bytes:
    return pack((PROTOCOL_VERSION, Kind.ERROR, request_id, str(code), message, leader_id))


def decode_client_frame(data: bytes) -> ClientFrame:
    """What a node gets. Raises Malformed, with the request id where one could be read."""
    # The hot path: what encode_request_frame makes, taken apart without a general decoder.
    if len(data) > _REQUEST.size and data[:4] == _REQUEST_HEAD:
        _, _, _, _, request_id, read_level, bin_32, size = _REQUEST.unpack_from(data)
        if (
            bin_32 == _BIN_32
            and size == len(data) - _REQUEST.size
            and size <= REQUEST_BYTES_MAX
            and read_level <= _READ_LEVEL_MAX
        ):
            return Request(request_id, read_level, data[_REQUEST.size :])
    fields = decode_array(data, CLIENT_FRAME_BYTES_MAX)
    kind, request_id = fields[1], fields[2]
    if kind == Kind.REQUEST:
        check_shape(fields, (int, bytes))
        if not 0 <= fields[3] <= ReadLevel.LOCAL:
            raise Malformed(f"unknown read level {fields[3]}", request_id)
        if len(fields[4]) > REQUEST_BYTES_MAX:
            raise Malformed(f"request over {REQUEST_BYTES_MAX} bytes", request_id)
        return Request(request_id, fields[3], fields[4])
    if kind == Kind.HELLO:
        check_shape(fields, (int,))
        return Hello(request_id, fields[3])
    frame = decode_client_watch_frame(fields) or decode_client_backup_frame(fields)
    if frame is not None:
        return frame
    raise Malformed(f"unknown kind {kind}", request_id)


def decode_node_frame(data: bytes) -> NodeFrame:
    """What a client gets. Raises Malformed."""
    fields = decode_array(data, ANSWER_FRAME_BYTES_MAX)
    kind, request_id = fields[1], fields[2]
    if kind == Kind.REQUEST:
        check_shape(fields, (int, bytes))
        if fields[3] < 0:
            raise Malformed("a term is not negative", request_id)
        return Results(request_id, fields[4], fields[3])
    if kind == Kind.ERROR:
        check_shape(fields, (str, str, int))
        return Error(*fields[2:])
    if kind == Kind.HELLO:
        check_shape(fields, (int, int, int, tuple))
        members = tuple(_decode_member(member, request_id) for member in fields[6])
        return Welcome(request_id, fields[3], fields[4], fields[5], members)
    watch_frame = decode_node_watch_frame(fields)
    if watch_frame is not None:
        return watch_frame
    raise Malformed(f"unknown kind {kind}", request_id)


def _decode_member(member: Any, request_id: int) -> MemberAddresses:
    if type(member) is not tuple or [type(field) for field in member] != [int, str, str]:
        raise Malformed("a member is [node id, client address, status address]", request_id)
    return MemberAddresses(*member)
