"""The bytes of a log segment: records, their checksums, and what a record that is not sound means.

Reading order 3 of the engines. Pure functions over bytes; opens no file and decides nothing about
Raft.

A segment is a sequence of records and begins with a SEGMENT record. One record:

    magic 4 | payload length 4 | kind 1 | synced 8 | crc32 4 | payload

The checksum covers the segment's sequence number and the record's own place beside its fields, so a
copy of a record inside somebody's value, or a block that a disk put elsewhere, is never taken for
one. `synced` is how many bytes of the segment were durable when the record was written: it is what
tells a write that power loss interrupted (nothing after it can call it durable) from damage to a
durable one.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from metastore.engines.contract import SnapshotMeta

FORMAT_VERSION = 1
RECORD_BYTES_MAX = 256 << 20  # payload of one record
MAGIC = b"\xa9MSL"
SEGMENT_MAGIC = b"metastore-log\x00"
SECTOR_BYTES = 512  # the unit that a disk writes whole

_HEADER = struct.Struct("<4sIBQI")
_CHECKED = struct.Struct("<QQIBQ")  # sequence, place, length, kind, synced
_ENTRY = struct.Struct("<QQB")
_HARD_STATE = struct.Struct("<QQQ")
_SNAPSHOT = struct.Struct("<QQB")
_SEGMENT = struct.Struct(f"<{len(SEGMENT_MAGIC)}sHQQQQQQQQ")
HEADER_BYTES = _HEADER.size


class Kind(IntEnum):
    SEGMENT = 1
    ENTRY = 2
    HARD_STATE = 3
    SNAPSHOT = 4


_KINDS = frozenset(int(kind) for kind in Kind)


@dataclass(frozen=True, slots=True)
class Record:
    """One sound record; `start` and `end` are byte places in the segment, half-open."""

    kind: int
    start: int
    end: int
    synced: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SegmentStart:
    """What holds before a segment's first record, so that the segments before it may be removed."""

    sequence: int
    hard_state: tuple[int, int, int]
    snapshot: SnapshotMeta
    last_index: int
    last_term: int


def encode_record(kind: int, payload: bytes, *, sequence: int, start: int, synced: int) -> bytes:
    length = len(payload)
    crc = zlib.crc32(payload, zlib.crc32(_CHECKED.pack(sequence, start, length, kind, synced)))
    return _HEADER.pack(MAGIC, length, kind, synced, crc) + payload


def encode_entry(term: int, index: int, type_: int, data: bytes) -> bytes:
    return _ENTRY.pack(term, index, type_) + data


def decode_entry(payload: bytes) -> tuple[int, int, int, bytes]:
    """(term, index, type, data); raises struct.error on a payload that is too short."""
    term, index, type_ = _ENTRY.unpack_from(payload)
    return term, index, type_, payload[_ENTRY.size :]


def encode_hard_state(hard_state: tuple[int, int, int]) -> bytes:
    """Term and vote (and commit) in one record: a crash leaves the old three or the new three."""
    return _HARD_STATE.pack(*hard_state)


def decode_hard_state(payload: bytes) -> tuple[int, int, int]:
    term, voted_for, commit = _HARD_STATE.unpack(payload)
    return term, voted_for, commit


def encode_snapshot(snapshot: SnapshotMeta, *, keeps_suffix: bool) -> bytes:
    """`keeps_suffix`: the entries after the snapshot still count. The writer decides it, because a
    later reader may no longer have the entry that the decision rests on."""
    fields = _SNAPSHOT.pack(snapshot.index, snapshot.term, keeps_suffix)
    return fields + snapshot.configuration


def decode_snapshot(payload: bytes) -> tuple[SnapshotMeta, bool]:
    index, term, keeps_suffix = _SNAPSHOT.unpack_from(payload)
    return SnapshotMeta(index, term, payload[_SNAPSHOT.size :]), bool(keeps_suffix)


def encode_segment_start(start: SegmentStart) -> bytes:
    snapshot = start.snapshot
    fields = (start.sequence, *start.hard_state, snapshot.index, snapshot.term)
    ends = (start.last_index, start.last_term)
    return _SEGMENT.pack(SEGMENT_MAGIC, FORMAT_VERSION, *fields, *ends) + snapshot.configuration


def decode_segment_start(payload: bytes) -> SegmentStart:
    """Raises ValueError on another magic or format version, struct.error on a short payload."""
    magic, version, sequence, term, voted_for, commit, index, snapshot_term, last, last_term = (
        _SEGMENT.unpack_from(payload)
    )
    if magic != SEGMENT_MAGIC:
        raise ValueError("not a log segment")
    if version != FORMAT_VERSION:
        raise ValueError(f"log format {version}, this program reads {FORMAT_VERSION}")
    snapshot = SnapshotMeta(index, snapshot_term, payload[_SEGMENT.size :])
    return SegmentStart(sequence, (term, voted_for, commit), snapshot, last, last_term)


def record_or_none(data: bytes, start: int, sequence: int) -> Record | None:
    """The sound record that begins at `start`, or None whatever else stands there."""
    if len(data) - start < HEADER_BYTES:
        return None
    magic, length, kind, synced, crc = _HEADER.unpack_from(data, start)
    end = start + HEADER_BYTES + length
    if magic != MAGIC or kind not in _KINDS or length > RECORD_BYTES_MAX or end > len(data):
        return None
    payload = data[start + HEADER_BYTES : end]
    checked = _CHECKED.pack(sequence, start, length, kind, synced)
    if zlib.crc32(payload, zlib.crc32(checked)) != crc:
        return None
    return Record(kind, start, end, synced, payload)


def records(data: bytes, sequence: int) -> Iterator[Record]:
    """The sound records from the start of the segment, in order, up to the first that is not."""
    start = 0
    while (record := record_or_none(data, start, sequence)) is not None:
        yield record
        start = record.end


def is_torn(data: bytes, start: int, sequence: int) -> bool:
    """Whether what begins at `start` is a write that a crash interrupted, so that it may be cut.

    With no sound record after it, it is. With one, only if none of those calls this place durable
    and a whole sector of it never reached the disk (pages of one unsynced stretch are written in
    any order); everything else is damage to what may have been acknowledged, and must not be
    cut."""
    later = list(_sound_after(data, start + 1, sequence))
    if not later:
        return True
    if any(record.synced > start for record in later):
        return False
    return _has_empty_sector(data, start, later[0].start)


def _sound_after(data: bytes, start: int, sequence: int) -> Iterator[Record]:
    start = data.find(MAGIC, start)
    while start >= 0:
        record = record_or_none(data, start, sequence)
        if record is not None:
            yield record
        start = data.find(MAGIC, record.end if record is not None else start + 1)


def _has_empty_sector(data: bytes, start: int, end: int) -> bool:
    first = start - start % SECTOR_BYTES
    for sector in range(first, end, SECTOR_BYTES):
        low, high = max(sector, start), min(sector + SECTOR_BYTES, end)
        # A sliver of a sector may be zeros by chance (it is part of a value); a header's worth is
        # not.
        if high - low >= HEADER_BYTES and not any(data[low:high]):
            return True
    return False
