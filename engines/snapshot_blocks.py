"""The bytes of a snapshot file: typed blocks in a chain of checksums.

Reading order 10 of the engines. Knows no meaning of a block but its kind, a number, and that kinds
ascend within a file.

    magic 8 | version 2 | block... ; block = length 4 | crc32 4 | kind 1 | msgpack

Each checksum covers the one before it, so blocks cannot be lost, repeated or exchanged unnoticed.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from metastore.engines.contract import StorageDamaged

FORMAT_VERSION = 2  # 1 held no history

_MAGIC = b"MSTSNAP\xb5"
_START = struct.Struct("<8sH")
_BLOCK = struct.Struct("<IIB")


def encode_blocks(contents: Iterable[tuple[int, object]]) -> Iterator[bytes]:
    """The bytes of a file with these (kind, content), piece by piece."""
    yield _START.pack(_MAGIC, FORMAT_VERSION)
    crc = 0
    for kind, content in contents:
        payload: bytes = msgpack.packb(content)
        crc = _checksum(kind, payload, crc)
        yield _BLOCK.pack(len(payload), crc, kind) + payload


def _checksum(kind: int, payload: bytes, previous_crc: int) -> int:
    return zlib.crc32(payload, zlib.crc32(bytes((kind,)), previous_crc))


class BlockReader:
    """Blocks of one file from front to back, each verified against the one before it. Every method
    raises StorageDamaged naming file and byte, OSError. Owns the stream."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self._size_bytes = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        self._place = 0
        self._crc = 0
        self._next: tuple[int, Any] | None = None

    def close(self) -> None:
        self._stream.close()

    def start(self) -> None:
        """What stands before the first block."""
        magic, version = _START.unpack(self._read(_START.size))
        if magic != _MAGIC:
            raise self.damaged("not a snapshot file")
        if version != FORMAT_VERSION:
            raise self.damaged(f"format {version}, this program reads {FORMAT_VERSION}")
        self._next = self._block()

    def of_kind(self, kind: int) -> Iterator[Sequence[Any]]:
        """The contents of the blocks of this kind that come next."""
        while self._next is not None and self._next[0] == kind:
            content = self._next[1]
            if set(map(type, content)) != {tuple} or not all(content):
                raise self.damaged(f"a block of kind {kind} that is no list of arrays")
            self._next = None
            yield content
            self._next = self._block()

    def one(self, kind: int, types: Sequence[type]) -> Sequence[Any]:
        """The content of the next block, which must be this: an array of these types."""
        if self._next is None or self._next[0] != kind:
            raise self.damaged(f"no block of kind {kind} where it belongs")
        content: Sequence[Any] = self._next[1]
        if tuple(map(type, content)) != tuple(types):
            raise self.damaged(f"a block of kind {kind} with other fields")
        self._next = None
        return content

    def another(self) -> None:
        """After `one`: goes on to the next block."""
        self._next = self._block()

    def end(self) -> None:
        """After `one`: nothing may follow."""
        if self._stream.read(1):
            raise self.damaged("something follows the footer")

    def damaged(self, problem: str) -> StorageDamaged:
        return StorageDamaged(f"{self._path}: before byte {self._place}: {problem}")

    def _block(self) -> tuple[int, Any]:
        length, crc, kind = _BLOCK.unpack(self._read(_BLOCK.size))
        payload = self._read(length)
        self._crc = _checksum(kind, payload, self._crc)
        if self._crc != crc:
            raise self.damaged("checksum mismatch")
        # The sender of a received file may be another version of us: sound bytes, other content.
        try:
            content = msgpack.unpackb(payload, use_list=False)
        except Exception as error:
            raise self.damaged(f"unreadable block: {error}") from None
        if type(content) is not tuple:
            raise self.damaged("a block that is no array")
        return kind, content

    def _read(self, length: int) -> bytes:
        # A damaged length must not make us ask for the memory it names.
        if length > self._size_bytes - self._place:
            raise self.damaged("the file ends too early")
        data = self._stream.read(length)
        self._place += length
        return data
