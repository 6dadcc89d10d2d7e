"""Opening a log directory: which segments there are, what they hold, and the repair of a torn tail.

Reading order 5 of the engines, before wal.py. Repairs only the end of the newest segment, and may
be interrupted and repeated at any point; any other damage is StorageDamaged, and nothing is
changed.
"""

import re
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from metastore.engines.contract import RecoveredLog, StorageDamaged
from metastore.engines.files import Files
from metastore.engines.memory.replay import Impossible, Replay
from metastore.engines.memory.segments import (
    Kind,
    SegmentStart,
    encode_record,
    encode_segment_start,
    is_torn,
    records,
)

_NAME = re.compile(r"log-([0-9]{16})\.segment")
_UNFINISHED = ".unfinished"


@dataclass(slots=True)
class Segment:
    """One segment file. `highest_index` is over all entries in it, the overwritten ones too."""

    path: Path
    sequence: int
    size_bytes: int
    highest_index: int = 0


def create_segment(directory: Path, files: Files, start: SegmentStart) -> Segment:
    """Written aside, synced, renamed, directory synced: a segment has a whole start or no name.
    Raises OSError."""
    path = directory / f"log-{start.sequence:016d}.segment"
    aside = path.with_name(path.name + _UNFINISHED)
    payload = encode_segment_start(start)
    record = encode_record(Kind.SEGMENT, payload, sequence=start.sequence, start=0, synced=0)
    descriptor = files.create(aside)
    try:
        files.write(descriptor, record)
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    files.rename(aside, path)
    files.sync_directory(directory)
    return Segment(path, start.sequence, len(record))


@dataclass(frozen=True, slots=True)
class Found:
    """A recovered log and its segments; `hard_state` as it stands in them, with nothing taken
    back."""

    log: RecoveredLog
    segments: list[Segment]
    hard_state: tuple[int, int, int]


def read_segments(directory: Path, files: Files) -> Found:
    """What the directory holds, repaired and durable. Raises StorageDamaged, OSError."""
    files.make_directory(directory)
    found = _find(directory, files)
    replay = Replay()
    warnings: list[str] = []
    segments = []
    for path, sequence in found:
        is_last = path == found[-1][0]
        segments.append(_read_segment(path, sequence, files, replay, warnings, is_last))
    try:
        recovered = replay.finish(warnings)
    except Impossible as problem:
        raise StorageDamaged(f"{directory}: {problem}") from None
    if not segments:
        start = SegmentStart(1, (0, 0, 0), recovered.snapshot, 0, 0)
        segments.append(create_segment(directory, files, start))
    return Found(recovered, segments, replay.hard_state)


def _find(directory: Path, files: Files) -> list[tuple[Path, int]]:
    found = []
    for name in files.names(directory):
        if name.endswith(_UNFINISHED) and _NAME.match(name):
            files.remove(directory / name)  # nothing in it was ever promised
        elif match := _NAME.fullmatch(name):
            found.append((directory / name, int(match[1])))
    for (_, sequence), (path, following) in pairwise(found):
        if following != sequence + 1:
            raise StorageDamaged(f"{path}: segment {sequence + 1} before it is missing")
    return found


def _read_segment(
    path: Path,
    sequence: int,
    files: Files,
    replay: Replay,
    warnings: list[str],
    is_last: bool,
) -> Segment:
    with files.open_read(path) as stream:
        data = stream.read()
    end = 0
    for record in records(data, sequence):
        if record.start == 0 and record.kind != Kind.SEGMENT:
            raise StorageDamaged(f"{path}: byte 0: not the start of a segment")
        try:
            replay.take(record)
        except (Impossible, ValueError, struct.error) as problem:
            raise StorageDamaged(f"{path}: byte {record.start}: {problem}") from None
        end = record.end
    if end < len(data) or end == 0:
        # A segment gets its name with a whole start, and is synced before the next one is begun.
        if end == 0 or not is_last or not is_torn(data, end, sequence):
            after = f"after entry {replay.last_index}"
            raise StorageDamaged(f"{path}: byte {end}: damaged record {after}")
        warnings.append(f"cut a torn record of {len(data) - end} bytes at {path}: byte {end}")
    if is_last:
        _settle(path, end, len(data), files)
    return Segment(path, sequence, end, replay.highest_index)


def _settle(path: Path, end: int, size_bytes: int, files: Files) -> None:
    """Cuts the tail, and syncs even if there is none: what we are about to build promises on may be
    in the page cache only, written by a process that was killed before its sync."""
    descriptor = files.open_append(path)
    try:
        if end < size_bytes:
            files.truncate(descriptor, end)
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    files.sync_directory(path.parent)
