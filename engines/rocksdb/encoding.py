"""How records, changes and what the store knows of itself become keys and values of RocksDB.

Reading order 12 of the engines. Pure functions. RocksDB orders keys by their bytes, so every key
here is made such that this order is the wanted one:

    current   key                                     -> record
    past      escaped key | 0x00 | revision 8         -> record     big-endian, as below
    changes   revision 8 | place in the revision 4    -> key

A record is the msgpack of the whole tuple, key and all: reading it back needs no other step.
"""

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.records import KeyValue

_REVISION = struct.Struct(">Q")
_CHANGE = struct.Struct(">QI")
# One packer for all, as in schema.py: a call never lets another thread in between.
_pack: Callable[[object], bytes] = msgpack.Packer().pack


class StoreMeta(NamedTuple):
    """What the store knows of itself as of the last batch."""

    applied: SnapshotMeta
    live_keys: int


def past_key(key: bytes, revision: int) -> bytes:
    """Ordered by key, then by revision. The escape keeps a key that continues another one with a
    zero byte behind all versions of the shorter one: a revision never starts with 0xff."""
    return key.replace(b"\x00", b"\x00\xff") + b"\x00" + _REVISION.pack(revision)


def past_start(key: bytes) -> bytes:
    """Before every version of `key`, after every one of the keys before it."""
    return key.replace(b"\x00", b"\x00\xff") + b"\x00"


def split_past_key(stored: bytes) -> tuple[bytes, int]:
    """(key, revision)."""
    (revision,) = _REVISION.unpack_from(stored, len(stored) - 8)
    return stored[:-9].replace(b"\x00\xff", b"\x00"), revision


def change_key(revision: int, place: int = 0) -> bytes:
    return _CHANGE.pack(revision, place)


def change_revision(stored: bytes) -> int:
    (revision,) = _REVISION.unpack_from(stored)
    return int(revision)


def encode_record(record: KeyValue) -> bytes:
    return _pack(record)


def decode_record(data: bytes) -> KeyValue:
    """Raises StorageDamaged."""
    record: KeyValue = _unpack(data)
    if type(record) is not tuple or len(record) != 6:
        raise StorageDamaged(f"the database holds no record where one belongs: {data[:64]!r}")
    return record


def encode_store_meta(meta: StoreMeta) -> bytes:
    applied = meta.applied
    return _pack((applied.index, applied.term, applied.configuration, meta.live_keys))


def decode_store_meta(data: bytes) -> StoreMeta:
    """Raises StorageDamaged."""
    fields = _unpack(data)
    if type(fields) is not tuple or tuple(map(type, fields)) != (int, int, bytes, int):
        raise StorageDamaged(f"the database does not tell what was applied to it: {data[:64]!r}")
    index, term, configuration, live_keys = fields
    return StoreMeta(SnapshotMeta(index, term, configuration), live_keys)


def _unpack(data: bytes) -> Any:
    # The database checks what it reads; this is for what was written by something else.
    try:
        return msgpack.unpackb(data, use_list=False)
    except Exception as error:
        raise StorageDamaged(f"the database holds {data[:64]!r}: {error}") from None
