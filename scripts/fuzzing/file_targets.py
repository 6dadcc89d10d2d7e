"""Readers of files: logs, snapshots, keys, settings, what says whose a directory is.

Where a file has checksums, one target gets its bytes and another what stands under the checksums:
chance never gets past one, but another version of the program does.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgpack
from fuzzing.client_targets import KV, REQUESTS, public_key
from fuzzing.mutation import Parts
from fuzzing.targets import Target, each, of_one

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.files import Files
from metastore.engines.memory import segments
from metastore.engines.memory.loading import load_state
from metastore.engines.memory.recovery import read_segments
from metastore.engines.memory.segments import Kind, SegmentStart
from metastore.engines.rocksdb import encoding, wal_check
from metastore.engines.rocksdb.log import (
    HARD_STATE_KEY,
    LOG_FAMILY,
    META_FAMILY,
    SNAPSHOT_KEY,
    RocksLog,
)
from metastore.engines.snapshot_blocks import FORMAT_VERSION
from metastore.engines.snapshot_format import verify
from metastore.engines.state import SCALARS_FACT
from metastore.node.access.file import AccessInvalid, read_access_file
from metastore.node.identity import DataDirectoryForeign, read_identity
from metastore.node.settings import SettingsInvalid
from metastore.node.settings_sources import load
from metastore.transport import schema, security
from metastore.transport.errors import KeyFileInvalid

_PATH = Path("file")
_SEGMENT = Path("log-0000000000000001.segment")
_CONFIGURATION = b"who"


class _InMemory(Files):
    """One file of these bytes; what is done to it is forgotten."""

    def __init__(self, name: str, data: bytes) -> None:
        self._name, self._data = name, data

    def names(self, directory: Path) -> list[str]:
        return [self._name]

    def make_directory(self, directory: Path) -> None: ...

    def open_read(self, path: Path) -> BinaryIO:
        return io.BytesIO(self._data)

    def open_append(self, path: Path) -> int:
        return -1

    def sync(self, descriptor: int) -> None: ...

    def truncate(self, descriptor: int, size_bytes: int) -> None: ...

    def close(self, descriptor: int) -> None: ...

    def sync_directory(self, directory: Path) -> None: ...


# --- snapshots: a part is the kind of a block and its content


def _blocks(*contents: tuple[int, Any]) -> Parts:
    return tuple(bytes((kind,)) + msgpack.packb(content) for kind, content in contents)


_SNAPSHOT = _blocks(
    (1, (9, 2, _CONFIGURATION, 4, 1)),
    (2, (KV, (b"b", b"2", 4, 4, 1, 7))),
    (3, ((4, b"b", b"a"),)),
    (
        4,
        (
            (b"lease/" + struct.pack(">q", 7), struct.pack(">qqq", 60, 30, 1)),
            (b"leased/" + struct.pack(">q", 7) + b"b", b""),
            (SCALARS_FACT, msgpack.packb((4, 1, 300, ()))),
        ),
    ),
    (5, (2, 2, 200)),
)
_SMALL_SNAPSHOT = _blocks(
    (1, (9, 2, _CONFIGURATION, 4, 1)),
    (2, (KV,)),
    (4, ((SCALARS_FACT, msgpack.packb((4, 1, 300, ()))),)),
    (5, (1, 1, 200)),
)


def _snapshot_bytes(parts: Parts) -> bytes:
    pieces, crc = [struct.pack("<8sH", b"MSTSNAP\xb5", FORMAT_VERSION)], 0
    for part in parts:
        kind, payload = part[:1].ljust(1, b"\0"), part[1:]
        crc = zlib.crc32(payload, zlib.crc32(kind, crc))
        pieces.append(struct.pack("<IIB", len(payload), crc, kind[0]) + payload)
    return b"".join(pieces)


def _snapshot(data: bytes) -> None:
    files = _InMemory(_PATH.name, data)
    load_state(_PATH, files)
    verify(_PATH, files)  # what made a state is whole, too


# --- logs: a part is the kind of a record and its payload


def _records(*payloads: tuple[int, bytes]) -> Parts:
    return tuple(bytes((kind,)) + payload for kind, payload in payloads)


_META = SnapshotMeta(4, 2, _CONFIGURATION)
_START = segments.encode_segment_start(SegmentStart(1, (2, 1, 4), _META, 4, 2))
_LOG = _records(
    (Kind.SEGMENT, _START),
    (Kind.ENTRY, segments.encode_entry(2, 5, 0, schema.encode_batch(REQUESTS[:1]))),
    (Kind.ENTRY, segments.encode_entry(3, 6, 0, b"")),
    (Kind.HARD_STATE, segments.encode_hard_state((3, 2, 5))),
    (Kind.ENTRY, segments.encode_entry(3, 6, 1, b"another")),
    (Kind.SNAPSHOT, segments.encode_snapshot(SnapshotMeta(5, 2), keeps_suffix=True)),
)


def _segment_bytes(parts: Parts) -> bytes:
    data = b""
    for part in parts:
        kind, payload = (part[0], part[1:]) if part else (0, b"")
        data += segments.encode_record(
            kind, payload, sequence=1, start=len(data), synced=len(data) // 2
        )
    return data


def _segment(data: bytes) -> Any:
    return read_segments(Path("log"), _InMemory(_SEGMENT.name, data)).log


class _Rows:
    """As much of a driver as a log needs that is only read: (family, key): value."""

    def __init__(self, rows: dict[tuple[str, bytes], bytes]) -> None:
        self._rows = rows

    def families(self) -> Sequence[str]:
        return (LOG_FAMILY, META_FAMILY)

    def get(self, family: str, key: bytes) -> bytes | None:
        return self._rows.get((family, key))

    def iterate(self, family: str, start: bytes, end: bytes | None) -> Iterator[Any]:
        for (its_family, key), value in sorted(self._rows.items()):
            if its_family == family and start <= key and (end is None or key < end):
                yield key, value

    def delete_range(self, family: str, start: bytes, end: bytes) -> None:
        for key, _ in list(self.iterate(family, start, end)):
            del self._rows[family, key]

    def sync(self) -> None: ...


def _rocks_log(parts: Parts) -> Any:
    """Hard state, snapshot, and entries with their index in front, each under its checksum."""
    hard_state, snapshot, *entries = (*parts, b"", b"")[: max(2, len(parts))]
    rows = {(META_FAMILY, HARD_STATE_KEY): hard_state, (META_FAMILY, SNAPSHOT_KEY): snapshot}
    rows |= {(LOG_FAMILY, entry[:8].rjust(8, b"\0")): entry[8:] for entry in entries}
    for (family, key), payload in rows.items():
        crc = struct.pack(">I", zlib.crc32(payload, zlib.crc32(key)))
        rows[family, key] = crc + payload
    return RocksLog(cast("Any", _Rows(rows))).recover()


_ROCKS_LOG = (
    struct.pack(">QQQ", 3, 2, 5),
    struct.pack(">QQ", 4, 2) + _CONFIGURATION,
    struct.pack(">QQI", 4, 2, 0),
    struct.pack(">QQI", 5, 2, 0) + b"data",
    struct.pack(">QQI", 6, 3, 1) + b"data",
)

# --- files with a path of their own


def _from_file(read: Callable[[Path], Any]) -> Callable[[Parts], Any]:
    """Of a real file, in memory: these readers look at its mode and its size as well."""
    descriptor = os.memfd_create("file")
    os.fchmod(descriptor, 0o600)
    path = Path(f"/proc/self/fd/{descriptor}")

    def decode(parts: Parts) -> Any:
        data = b"".join(parts)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)
        return read(path)

    return decode


def _flags(parts: Parts) -> Any:
    """As the system gives them: any bytes but a zero."""
    flags = [os.fsdecode(part.replace(b"\0", b"")) for part in parts]
    try:
        return load(flags, {})
    except SystemExit:  # --help
        return None


_KEY = security.new_keys()
_IDENTITY = (
    b'{"format": 2, "cluster_id": 7, "node_id": 1, "engine": "memory", "incarnation": 3, '
    b'"has_log": true, "directory_id": 99, "joined": false}'
)
_ACCESS = f"""[nodes]
keys = ["{_KEY.public}"]
[clients.web]
keys = ["{public_key()}"]
role = "read"
prefixes = ["app/", "é"]
""".encode()
_SETTINGS = b"""node_id = 1
data_dir = "/tmp/n"
cluster_id = "name"
members = ["1=tcp://127.0.0.1:1,tcp://127.0.0.1:2,tcp://127.0.0.1:3,tcp://127.0.0.1:4"]
join = ["tcp://h:1,tcp://h:2"]
engine = "memory"
"""
_FLAGS = (
    *(b"--node-id", b"1", b"--data-dir", b"/tmp/n", b"--join", b"tcp://[::1]:5,tcp://h:6"),
    b"--dial=2=tcp://h:7",
)


def _settings_file(path: Path) -> Any:
    return load(["--config", str(path)], {})


def _key_text(keys: security.Keys) -> Parts:
    return (f'public = "{keys.public}"\nsecret = "{keys.secret}"\n'.encode(),)


def targets() -> Sequence[Target]:
    damaged = (StorageDamaged,)
    snapshots, logs = (_SNAPSHOT, _SMALL_SNAPSHOT), (_LOG,)
    raw_snapshots, raw_logs = map(
        tuple, (map(_snapshot_bytes, snapshots), map(_segment_bytes, logs))
    )
    meta = encoding.encode_store_meta(encoding.StoreMeta(_META, 3))
    return (
        Target("snapshot file", each(*raw_snapshots), of_one(_snapshot), damaged),
        Target("snapshot blocks", snapshots, lambda p: _snapshot(_snapshot_bytes(p)), damaged),
        Target("log segment", each(*raw_logs), of_one(_segment), damaged),
        Target("log records", logs, lambda parts: _segment(_segment_bytes(parts)), damaged),
        Target("rocksdb log", (_ROCKS_LOG,), _rocks_log, damaged),
        Target(
            *("rocksdb record", each(encoding.encode_record(KV)), of_one(encoding.decode_record)),
            *(damaged, lambda record: (encoding.encode_record(record),)),
        ),
        Target(
            *("rocksdb meta", each(meta), of_one(encoding.decode_store_meta), damaged),
            lambda found: (encoding.encode_store_meta(found),),
        ),
        Target(
            *("rocksdb wal", each(b"", bytes(range(256)) * 200)),
            _from_file(wal_check.find_lost_record_or_none),
        ),
        Target("identity", each(_IDENTITY), _from_file(read_identity), (DataDirectoryForeign,)),
        Target(
            *("key file", (_key_text(_KEY),), _from_file(security.read_key_file)),
            *((KeyFileInvalid,), _key_text),
        ),
        Target("access file", each(_ACCESS), _from_file(read_access_file), (AccessInvalid,)),
        Target("settings file", each(_SETTINGS), _from_file(_settings_file), (SettingsInvalid,)),
        Target("settings flags", (_FLAGS,), _flags, (SettingsInvalid,)),
    )
