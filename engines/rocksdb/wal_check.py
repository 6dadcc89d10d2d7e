"""Whether RocksDB's write-ahead log ends where its writer ended, or where damage made it look so.

Reading order 14 of the engines. RocksDB's recovery takes a record that says it is longer than the
rest of the file, and a header of zeros, for the end of the log, and forgets what follows without a
word. After a true end nothing follows: a sound record there means that one before it was damaged.
Looks at headers only, and at contents only behind such an end.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 32 << 10  # no record crosses the end of a block; longer ones are in fragments

_HEADER = struct.Struct("<IHB")  # masked CRC32C of kind and payload, length, kind
_FRAGMENT_KINDS = range(1, 5)  # whole, first, middle, last
_POLYNOMIAL = 0x82F63B78
_CRC_MASK = 0xA282EAD8


def find_lost_record_or_none(path: Path) -> tuple[int, int] | None:
    """(where the log seems to end, where a sound record follows), in bytes from the start of the
    file. None: it ends where it should. Raises OSError."""
    end: int | None = None
    for start, block in _blocks(path):
        if end is None:
            place = _end_of_records(block)
            if place is None:
                continue
            end = start + place
            found = _find_record_or_none(block, range(place + 1, len(block)))
        else:
            found = _find_record_or_none(block, range(1))
        if found is not None:
            return end, start + found
    return None


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        start = 0
        while block := file.read(BLOCK_BYTES):
            yield start, block
            start += len(block)


def _end_of_records(block: bytes) -> int | None:
    """Where the walk from header to header comes to none; None: it gets to the end."""
    place, size = 0, len(block)
    unpack = _HEADER.unpack_from
    while place + _HEADER.size <= size:
        _, length, kind = unpack(block, place)
        after = place + _HEADER.size + length
        if after > size or kind == 0:
            return place
        place = after
    # Fewer bytes than a header are left: padding, or, in a short block, a torn header.
    return None


def _find_record_or_none(block: bytes, places: range) -> int | None:
    for place in places:
        if place + _HEADER.size > len(block):
            return None
        crc, length, kind = _HEADER.unpack_from(block, place)
        payload_start = place + _HEADER.size
        if kind not in _FRAGMENT_KINDS or payload_start + length > len(block):
            continue
        if crc == _masked_crc32c(block[payload_start - 1 : payload_start + length]):
            return place
    return None


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


def _masked_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _CRC_MASK) & 0xFFFFFFFF
