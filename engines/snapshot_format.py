"""The snapshot file: the whole state at one index, written and read alike by every engine.

Reading order 11 of the engines. Knows no engine and no directory: one file, written and read block
by block, so that neither side has to hold the state twice. What is read is verified block by block;
whoever must not act on half a file reads it to its end first (`verify`).

    HEADER    [index, term, configuration, revision, compacted revision]
    VERSIONS  [record, ...]                in key order, of a key by ascending mod_revision
    ORDER     [[revision, key, ...], ...]  revisions of several changes: in which order
    FACTS     [[name, value], ...]         in name order: everything that is no record
    FOOTER    [keys, versions, bytes of the versions]

Blocks (snapshot_blocks.py) stand in this order; of VERSIONS, ORDER and FACTS there are as many as
it takes, and nothing follows the footer. Only what can still be asked for is written (visible, in
hashing.py), whatever an engine still holds.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Self, TypeAlias

from metastore.engines.contract import SnapshotMeta
from metastore.engines.files import Files
from metastore.engines.hashing import visible
from metastore.engines.records import KEY, MOD, KeyValue, record_bytes
from metastore.engines.snapshot_blocks import BlockReader, encode_blocks

# A block is packed without letting another thread run: well under a millisecond.
BLOCK_ITEMS_MAX = 256
BLOCK_BYTES = 128 * 1024  # no further item once a block has this many
UNFINISHED = ".unfinished"  # after the name of a file that is being written

_HEADER, _VERSIONS, _ORDER, _FACTS, _FOOTER = 1, 2, 3, 4, 5
_HEADER_TYPES = (int, int, bytes, int, int)
_FOOTER_TYPES = (int, int, int)
_RECORD_TYPES = (bytes, bytes, int, int, int, int)
_FACT_TYPES = (bytes, bytes)

Order: TypeAlias = tuple[int, Sequence[bytes]]
"""A revision with several changes, and their keys in the order in which they were made."""

Fact: TypeAlias = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    meta: SnapshotMeta
    revision: int
    compacted_revision: int


@dataclass(slots=True)
class SnapshotFooter:
    """`version_bytes` as record_bytes counts them: the size of a store that holds just this."""

    key_count: int = 0
    version_count: int = 0
    version_bytes: int = 0


class WritingStopped(Exception):
    """The store was closed while its snapshot was being written; there is no new file."""


def write_snapshot(
    path: Path,
    files: Files,
    header: SnapshotHeader,
    versions: Iterable[Sequence[KeyValue]],
    order: Iterable[Order],
    facts: Iterable[Fact],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Writes aside, syncs, renames to `path`, syncs its directory. `versions` are per key, in key
    order, by ascending revision; what is not visible at the header's revisions is left out. The
    three are used one after the other. Raises OSError, WritingStopped, and what the three raise;
    then nothing is left behind. Lets other threads run between blocks: a heartbeat must not wait
    for a snapshot."""
    aside = path.with_name(path.name + UNFINISHED)
    try:
        descriptor = files.create(aside)
        try:
            for piece in encode_blocks(_contents(header, versions, order, facts)):
                if stopped():
                    raise WritingStopped(f"writing {path.name} was stopped")
                files.write(descriptor, piece)
                time.sleep(0)
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        files.rename(aside, path)
    except BaseException:
        with suppress(OSError):
            files.remove(aside)
        raise
    files.sync_directory(path.parent)


def shared_revisions(changes: Iterable[KeyValue]) -> Iterator[Order]:
    """The ORDER that goes with these changes (by revision): of the revisions that several share."""
    for revision, group in groupby(changes, key=itemgetter(MOD)):
        keys = [record[KEY] for record in group]
        if len(keys) > 1:
            yield revision, keys


def verify(path: Path, files: Files) -> SnapshotHeader:
    """Reads the whole file and keeps nothing of it. Raises StorageDamaged, OSError."""
    with SnapshotReader(path, files) as reader:
        for part in (reader.versions(), reader.order(), reader.facts()):
            for _ in part:
                pass
        return reader.header


class SnapshotReader:
    """One file, read once from front to back: `header` is there after opening; then versions(),
    order() and facts(), each to its end and in this order; then `footer` is right, and the file is
    verified. Everything raises StorageDamaged naming file and byte, OSError. A context manager."""

    def __init__(self, path: Path, files: Files) -> None:
        self._blocks = BlockReader(path, files.open_read(path))
        self.footer = SnapshotFooter()
        try:
            self._blocks.start()
            index, term, members, *revisions = self._blocks.one(_HEADER, _HEADER_TYPES)
            self._blocks.another()
        except BaseException:
            self._blocks.close()
            raise
        self.header = SnapshotHeader(SnapshotMeta(index, term, members), *revisions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.close()

    def versions(self) -> Iterator[Sequence[KeyValue]]:
        """Per key, in key order, its versions by ascending mod_revision."""
        key, revision, newest = b"", 0, self.header.revision
        group: list[KeyValue] = []
        for content in self._blocks.of_kind(_VERSIONS):
            for record in content:
                if tuple(map(type, record)) != _RECORD_TYPES:
                    raise self._blocks.damaged("not a record")
                if record[0] != key:
                    if record[0] < key:
                        raise self._blocks.damaged("keys are not in order")
                    if group:
                        self.footer.key_count += 1
                        yield group
                    key, revision, group = record[0], 0, []
                if not revision < record[3] <= newest:
                    raise self._blocks.damaged("revisions of a key are not in order")
                revision = record[3]
                group.append(record)
            self.footer.version_count += len(content)
        if group:
            self.footer.key_count += 1
            yield group

    def order(self) -> Iterator[Order]:
        """By ascending revision."""
        revision = 0
        keys: list[bytes] = []
        for content in self._blocks.of_kind(_ORDER):
            for part in content:
                # A long one is continued by the next with the same revision.
                if type(part[0]) is not int or set(map(type, part[1:])) != {bytes}:
                    raise self._blocks.damaged("not the keys of a revision")
                if part[0] < revision:
                    raise self._blocks.damaged("revisions are not in order")
                if part[0] > revision and keys:
                    yield revision, keys
                    keys = []
                revision = part[0]
                keys.extend(part[1:])
        if keys:
            yield revision, keys

    def facts(self) -> Iterator[Fact]:
        """By ascending name. Verifies the end of the file after the last one."""
        last = b""
        for content in self._blocks.of_kind(_FACTS):
            for fact in content:
                if tuple(map(type, fact)) != _FACT_TYPES:
                    raise self._blocks.damaged("not a fact")
                if fact[0] <= last:
                    raise self._blocks.damaged("facts are not in order")
                last = fact[0]
                yield fact
        promised = SnapshotFooter(*self._blocks.one(_FOOTER, _FOOTER_TYPES))
        self._blocks.end()
        found = self.footer
        if (promised.key_count, promised.version_count) != (found.key_count, found.version_count):
            raise self._blocks.damaged(f"{promised} promised, {found} found")
        self.footer = promised


def _contents(
    header: SnapshotHeader,
    versions: Iterable[Sequence[KeyValue]],
    order: Iterable[Order],
    facts: Iterable[Fact],
) -> Iterator[tuple[int, object]]:
    meta, footer = header.meta, SnapshotFooter()
    revisions = (header.revision, header.compacted_revision)
    yield _HEADER, (meta.index, meta.term, meta.configuration, *revisions)
    for records in _in_blocks(_visible_records(header, versions, footer), record_bytes):
        yield _VERSIONS, records
    for orders in _in_blocks(_order_parts(order), _order_bytes):
        yield _ORDER, orders
    for some_facts in _in_blocks(facts, _fact_bytes):
        yield _FACTS, some_facts
    yield _FOOTER, (footer.key_count, footer.version_count, footer.version_bytes)


def _visible_records(
    header: SnapshotHeader, versions: Iterable[Sequence[KeyValue]], footer: SnapshotFooter
) -> Iterator[KeyValue]:
    compacted, revision = header.compacted_revision, header.revision
    for of_one_key in versions:
        if kept := visible(of_one_key, compacted, revision):
            footer.key_count += 1
            footer.version_count += len(kept)
            footer.version_bytes += sum(map(record_bytes, kept))
            yield from kept


def _order_parts(order: Iterable[Order]) -> Iterator[tuple[Any, ...]]:
    for revision, keys in order:
        for start in range(0, len(keys), BLOCK_ITEMS_MAX):
            yield (revision, *keys[start : start + BLOCK_ITEMS_MAX])


def _order_bytes(part: tuple[Any, ...]) -> int:
    return sum(map(len, part[1:]))


def _fact_bytes(fact: Fact) -> int:
    return len(fact[0]) + len(fact[1])


def _in_blocks(items: Iterable[Any], bytes_of: Callable[[Any], int]) -> Iterator[list[Any]]:
    block: list[Any] = []
    size_bytes = 0
    for item in items:
        block.append(item)
        size_bytes += bytes_of(item)
        if size_bytes >= BLOCK_BYTES or len(block) >= BLOCK_ITEMS_MAX:
            yield block
            block, size_bytes = [], 0
    if block:
        yield block
