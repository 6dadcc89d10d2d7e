"""Snapshot files of the memory engine: the whole state at one index, checksummed block by block.

Reading order 9 of the engines. A file has its name only when it is whole and durable; whatever is
read is verified before a byte of it is used. Knows no store; one directory, several files.

    magic 8 | version 2 | block... ; block = length 4 | crc32 4 | kind 1 | msgpack

One HEADER block, CHUNK blocks of records in key order, one FOOTER block, and nothing after it. Each
checksum covers the one before it, so blocks cannot be lost, repeated or exchanged unnoticed.
"""

import os
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.files import Files
from metastore.engines.mvcc import KeyValue

SNAPSHOTS_KEPT = 2  # the newest, and the one before it that a peer may still be reading
CHUNK_RECORDS = 256  # packed without letting another thread run: well under a millisecond
FORMAT_VERSION = 1

_MAGIC = b"MSTSNAP\xb5"
_START = struct.Struct("<8sH")
_BLOCK = struct.Struct("<IIB")
_HEADER, _CHUNK, _FOOTER = 1, 2, 3
_NAME = re.compile(r"snapshot-([0-9a-f]{16})-([0-9a-f]{16})\.state")
_UNFINISHED = ".unfinished"


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    meta: SnapshotMeta
    revision: int
    key_count: int


class WritingStopped(Exception):
    """The store was closed while its snapshot was being written; there is no new file."""


def snapshot_name(meta: SnapshotMeta) -> str:
    return f"snapshot-{meta.index:016x}-{meta.term:016x}.state"


def write_snapshot(
    directory: Path,
    files: Files,
    header: SnapshotHeader,
    records: Iterable[KeyValue],
    stopped: Callable[[], bool] = lambda: False,
) -> Path:
    """Writes aside, syncs, renames, syncs the directory. Raises OSError, WritingStopped; then
    nothing is left behind. Lets other threads run between chunks: a heartbeat must not wait for a
    snapshot."""
    path = directory / snapshot_name(header.meta)
    aside = path.with_name(path.name + _UNFINISHED)
    try:
        descriptor = files.create(aside)
        try:
            for block in _blocks(header, records):
                if stopped():
                    raise WritingStopped(f"writing {path.name} was stopped")
                files.write(descriptor, block)
                time.sleep(0)
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        files.rename(aside, path)
    except BaseException:
        with suppress(OSError):
            files.remove(aside)
        raise
    files.sync_directory(directory)
    return path


def read_snapshot(path: Path, files: Files) -> tuple[SnapshotHeader, list[KeyValue]]:
    """Everything in a verified file, in key order. Raises StorageDamaged naming file and byte,
    OSError."""
    with files.open_read(path) as stream:
        reader = _Reader(path, stream)
        header = reader.header()
        records = reader.records(header.key_count)
    return header, records


def find_snapshots(directory: Path, files: Files) -> list[Path]:
    """Whole snapshot files, oldest first."""
    return [directory / name for name in files.names(directory) if _NAME.fullmatch(name)]


def remove_unfinished_snapshots(directory: Path, files: Files) -> None:
    """What a crash left behind; only while nothing is being written."""
    for name in files.names(directory):
        if name.endswith(_UNFINISHED) and _NAME.match(name):
            files.remove(directory / name)


def remove_old_snapshots(directory: Path, files: Files) -> None:
    """Keeps the newest SNAPSHOTS_KEPT. The newest has to be durable before."""
    for path in find_snapshots(directory, files)[:-SNAPSHOTS_KEPT]:
        files.remove(path)


def adopt_snapshot(directory: Path, files: Files, meta: SnapshotMeta, received: Path) -> Path:
    """Moves a verified file of the same file system into place, durably. Raises OSError."""
    path = directory / snapshot_name(meta)
    descriptor = files.open_append(received)
    try:
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    files.rename(received, path)
    files.sync_directory(directory)
    return path


def _blocks(header: SnapshotHeader, records: Iterable[KeyValue]) -> Iterator[bytes]:
    yield _START.pack(_MAGIC, FORMAT_VERSION)
    meta, crc = header.meta, 0
    fields = [meta.index, meta.term, meta.configuration, header.revision, header.key_count]
    crc, block = _encode_block(_HEADER, fields, crc)
    yield block
    remaining = iter(records)
    while chunk := list(islice(remaining, CHUNK_RECORDS)):
        crc, block = _encode_block(_CHUNK, chunk, crc)
        yield block
    _, block = _encode_block(_FOOTER, [], crc)
    yield block


def _encode_block(kind: int, content: object, previous_crc: int) -> tuple[int, bytes]:
    payload: bytes = msgpack.packb(content)
    crc = _checksum(kind, payload, previous_crc)
    return crc, _BLOCK.pack(len(payload), crc, kind) + payload


def _checksum(kind: int, payload: bytes, previous_crc: int) -> int:
    return zlib.crc32(payload, zlib.crc32(bytes((kind,)), previous_crc))


class _Reader:
    """Blocks of one file, each verified against the one before it."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self._size_bytes = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        self._place = 0
        self._crc = 0

    def header(self) -> SnapshotHeader:
        start = self._read(_START.size)
        magic, version = _START.unpack(start)
        if magic != _MAGIC:
            raise self._damaged("not a snapshot file")
        if version != FORMAT_VERSION:
            raise self._damaged(f"format {version}, this program reads {FORMAT_VERSION}")
        kind, content = self._block()
        if kind != _HEADER:
            raise self._damaged("the header is missing")
        index, term, configuration, revision, key_count = content
        return SnapshotHeader(SnapshotMeta(index, term, configuration), revision, key_count)

    def records(self, key_count: int) -> list[KeyValue]:
        records: list[KeyValue] = []
        last_key = b""
        while True:
            kind, content = self._block()
            if kind != _CHUNK:
                break
            for record in content:
                if record[0] <= last_key:
                    raise self._damaged("keys are not in order")
                last_key = record[0]
            records.extend(content)
        if kind != _FOOTER or key_count != len(records):
            raise self._damaged(f"{key_count} keys promised, {len(records)} found")
        if self._stream.read(1):
            raise self._damaged("something follows the footer")
        return records

    def _block(self) -> tuple[int, Any]:
        length, crc, kind = _BLOCK.unpack(self._read(_BLOCK.size))
        payload = self._read(length)
        self._crc = _checksum(kind, payload, self._crc)
        if self._crc != crc:
            raise self._damaged("checksum mismatch")
        # The sender of a received file may be another version of us: sound bytes, other content.
        try:
            return kind, msgpack.unpackb(payload, use_list=False)
        except Exception as error:
            raise self._damaged(f"unreadable block: {error}") from None

    def _read(self, length: int) -> bytes:
        # A damaged length must not make us ask for the memory it names.
        if length > self._size_bytes - self._place:
            raise self._damaged("the file ends too early")
        data = self._stream.read(length)
        self._place += length
        return data

    def _damaged(self, problem: str) -> StorageDamaged:
        return StorageDamaged(f"{self._path}: before byte {self._place}: {problem}")
