"""The frames of backups: a client has a node make one, and fetches it piece by piece.

Reading order 9, beside envelope.py, which finds the kind and calls here. Decoding is strict and
raises Malformed, never anything else, whatever the bytes.

    BACKUP client [v, 7, id]
    FETCH  client [v, 8, id, backup_id, at, length]
    BACKUP node   [v, 7, id, size_bytes, revision, index, sha256]   it is ready to be fetched
    FETCH  node   [v, 8, id, data]                                  shorter only at its end

`backup_id` is the request id of the BACKUP; it names the backup on its connection until the node
drops it: after a FETCH at its end, or when nobody fetched for a while. What cannot be done is
answered with an ERROR.
"""

from typing import Any, NamedTuple, TypeAlias

from metastore.transport.errors import Malformed
from metastore.transport.framing import PROTOCOL_VERSION, Kind, check_shape, pack
from metastore.transport.limits import BACKUP_PIECE_BYTES_MAX

SHA256_BYTES = 32
_INT_64_MAX = (1 << 63) - 1


class BackupRequest(NamedTuple):
    request_id: int


class Fetch(NamedTuple):
    request_id: int
    backup_id: int
    at: int  # byte of the backup
    length: int


class BackupReady(NamedTuple):
    """The state of the node as of the entry `snapshot_index`, with the store's `revision` there."""

    request_id: int
    size_bytes: int
    revision: int
    snapshot_index: int
    sha256: bytes


class Fetched(NamedTuple):
    request_id: int
    data: bytes


ClientBackupFrame: TypeAlias = BackupRequest | Fetch
NodeBackupFrame: TypeAlias = BackupReady | Fetched


def encode_backup_request(request_id: int) -> bytes:
    return pack((PROTOCOL_VERSION, Kind.BACKUP, request_id))


def encode_fetch(request_id: int, backup_id: int, at: int, length: int) -> bytes:
    return pack((PROTOCOL_VERSION, Kind.FETCH, request_id, backup_id, at, length))


def encode_backup_ready(
    request_id: int, size_bytes: int, revision: int, index: int, sha256: bytes
) -> bytes:
    fields = (request_id, size_bytes, revision, index, sha256)
    return pack((PROTOCOL_VERSION, Kind.BACKUP, *fields))


def encode_fetched(request_id: int, data: bytes) -> bytes:
    return pack((PROTOCOL_VERSION, Kind.FETCH, request_id, data))


def decode_client_backup_frame(fields: tuple[Any, ...]) -> ClientBackupFrame | None:
    """From framing.decode_array; None for a kind that is not of backups. Raises Malformed."""
    kind, request_id = fields[1], fields[2]
    if kind == Kind.BACKUP:
        check_shape(fields, ())
        return BackupRequest(request_id)
    if kind == Kind.FETCH:
        check_shape(fields, (int, int, int))
        fetch = Fetch(*fields[2:])
        if not 0 <= fetch.at <= _INT_64_MAX:
            raise Malformed(f"{fetch.at} is no place in a backup", request_id)
        if not 0 < fetch.length <= BACKUP_PIECE_BYTES_MAX:
            raise Malformed(f"a piece has 1 to {BACKUP_PIECE_BYTES_MAX} bytes", request_id)
        return fetch
    return None


def decode_node_backup_frame(fields: tuple[Any, ...]) -> NodeBackupFrame | None:
    """From framing.decode_array; None for a kind that is not of backups. Raises Malformed."""
    kind, request_id = fields[1], fields[2]
    if kind == Kind.BACKUP:
        check_shape(fields, (int, int, int, bytes))
        if min(fields[3:6]) < 0 or len(fields[6]) != SHA256_BYTES:
            raise Malformed("a backup has a size, a revision, an index and a SHA-256", request_id)
        return BackupReady(*fields[2:])
    if kind == Kind.FETCH:
        check_shape(fields, (bytes,))
        return Fetched(*fields[2:])
    return None
