"""The snapshot file: what goes in comes out, and anything else is refused (A10, A11)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from metastore.engines import snapshot_format
from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.files import Files
from metastore.engines.records import KeyValue, record_bytes, tombstone
from metastore.engines.snapshot_blocks import encode_blocks
from metastore.engines.snapshot_format import (
    BLOCK_BYTES,
    BLOCK_ITEMS_MAX,
    SnapshotFooter,
    SnapshotHeader,
    SnapshotReader,
    WritingStopped,
    shared_revisions,
    verify,
    write_snapshot,
)

HEADER = SnapshotHeader(SnapshotMeta(9, 2, b"members"), 77, 5)
ORDER = [(7, [b"z", b"a"]), (9, [b"%05d" % place for place in range(700, 0, -1)])]
FACTS = [(b"fact/%05d" % place, b"value") for place in range(600)]
WHOLE = [(1, (9, 2, b"members", 77, 5)), (5, (0, 0, 0))]


def keys_with(versions: Sequence[int], count: int, value: bytes = b"v") -> list[list[KeyValue]]:
    return [
        [(b"k%05d" % place, value, 6, revision, 1, 0) for revision in versions]
        for place in range(count)
    ]


def write(path: Path, versions: Any, order: Any = (), facts: Any = ()) -> Path:
    write_snapshot(path, Files(), HEADER, versions, order, facts)
    return path


def contents(path: Path) -> tuple[Any, ...]:
    with SnapshotReader(path, Files()) as reader:
        parts = list(reader.versions()), list(reader.order()), list(reader.facts())
        return reader.header, *parts, reader.footer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot"


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 1000])
def test_a_snapshot_reads_back_as_it_was_written(path: Path, count: int) -> None:
    versions = keys_with([6, 8, 9], count)
    write(path, versions, ORDER, FACTS)
    size = sum(record_bytes(record) for of_key in versions for record in of_key)
    footer = SnapshotFooter(count, count * 3, size)
    assert contents(path) == (HEADER, versions, ORDER, FACTS, footer)
    assert verify(path, Files()) == HEADER


def test_only_what_can_be_read_at_its_revisions_is_written(path: Path) -> None:
    a = [(b"a", b"", 2, revision, revision - 1, 0) for revision in (2, 3, 6, 77, 78)]
    b = [(b"b", b"", 2, 2, 1, 0), tombstone(b"b", 3)]
    c = [(b"c", b"", 2, 2, 1, 0), tombstone(b"c", 5)]
    write(path, [a, b, c, [(b"d", b"", 78, 78, 1, 0)]])
    assert contents(path)[1] == [a[1:4], c[1:]]
    assert contents(path)[-1].key_count == 2


def test_a_block_has_a_limit_in_items_and_in_bytes(path: Path, monkeypatch: Any) -> None:
    blocks: list[Any] = []

    def spy(of_file: Any) -> Any:
        blocks.extend(of_file)
        return encode_blocks(blocks)

    monkeypatch.setattr(snapshot_format, "encode_blocks", spy)
    write(path, keys_with([6], 4, bytes(BLOCK_BYTES - 100)) + [[(b"l", b"", 6, 6, 1, 0)]] * 600)
    assert [len(content) for kind, content in blocks if kind == 2][:2] == [2, 2]
    assert max(len(content) for kind, content in blocks if kind == 2) == BLOCK_ITEMS_MAX


def test_changes_of_one_revision_are_told_in_their_order() -> None:
    revisions = [(2, b"b"), (3, b"z"), (3, b"a"), (4, b"a"), (5, b"a"), (5, b"c"), (5, b"b")]
    changes = [(key, b"", 2, revision, 1, 0) for revision, key in revisions]
    assert list(shared_revisions(changes)) == [(3, [b"z", b"a"]), (5, [b"a", b"c", b"b"])]


# Damage


def test_any_flipped_or_missing_byte_is_refused(path: Path) -> None:
    whole = write(path, keys_with([6, 8], 3), ORDER[:1], FACTS[:2]).read_bytes()
    for place in range(len(whole)):
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        for damaged in (flipped, whole[:place]):
            path.write_bytes(damaged)
            with pytest.raises(StorageDamaged, match=path.name):
                verify(path, Files())
    path.write_bytes(whole + b"\x00")
    with pytest.raises(StorageDamaged, match="follows the footer"):
        verify(path, Files())


def test_a_block_of_another_snapshot_is_refused_though_it_is_sound(tmp_path: Path) -> None:
    ours, theirs = (
        write(tmp_path / name, keys_with([6], 600, name.encode())).read_bytes() for name in "vw"
    )
    start, end = block_places(ours)[2:4]  # the second block of versions
    mixed = tmp_path / "mixed"
    mixed.write_bytes(ours[:start] + theirs[start:end] + ours[end:])
    with pytest.raises(StorageDamaged, match="checksum"):
        verify(mixed, Files())


def test_a_file_that_ends_too_early_says_so(path: Path) -> None:
    path.write_bytes(write(path, keys_with([6], 3)).read_bytes()[:40])
    with pytest.raises(StorageDamaged, match="ends too early"):
        verify(path, Files())


RECORD = (b"k", b"", 6, 6, 1, 0)


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        (WHOLE[1:], "kind 1"),
        (WHOLE[:1], "too early"),
        ([(1, (9, 2, b"", 77)), WHOLE[1]], "other fields"),
        ([WHOLE[0], (5, (1, 0, 0))], "promised"),
        ([WHOLE[0], (2, [RECORD]), (5, (1, 2, 0))], "promised"),
        ([WHOLE[0], (2, 7), WHOLE[1]], "no array"),
        ([WHOLE[0], (2, [7]), WHOLE[1]], "list of arrays"),
        ([WHOLE[0], (2, [[]]), WHOLE[1]], "list of arrays"),
        ([WHOLE[0], (2, [RECORD[:-1]]), WHOLE[1]], "not a record"),
        ([WHOLE[0], (2, [(b"k", 1, 6, 6, 1, 0)]), WHOLE[1]], "not a record"),
        ([WHOLE[0], (2, [RECORD, (b"a", b"", 6, 6, 1, 0)]), WHOLE[1]], "keys are not in order"),
        ([WHOLE[0], (2, [RECORD]), (2, [RECORD]), WHOLE[1]], "of a key are not in order"),
        ([WHOLE[0], (2, [(b"k", b"", 6, 78, 1, 0)]), WHOLE[1]], "of a key are not in order"),
        ([WHOLE[0], (3, [(7,)]), WHOLE[1]], "not the keys"),
        ([WHOLE[0], (3, [(7, 8)]), WHOLE[1]], "not the keys"),
        ([WHOLE[0], (3, [(7, b"k"), (6, b"k")]), WHOLE[1]], "revisions are not in order"),
        ([WHOLE[0], (4, [(b"k",)]), WHOLE[1]], "not a fact"),
        ([WHOLE[0], (4, [(b"k", b""), (b"k", b"")]), WHOLE[1]], "facts are not in order"),
        ([WHOLE[0], (4, [(b"k", b"")]), (2, [RECORD]), (5, (1, 1, 0))], "kind 5"),
    ],
)
def test_sound_blocks_that_make_no_snapshot_are_refused(
    path: Path, blocks: Any, problem: str
) -> None:
    path.write_bytes(b"".join(encode_blocks(blocks)))
    with pytest.raises(StorageDamaged, match=problem):
        verify(path, Files())


@pytest.mark.parametrize(
    ("start", "problem"),
    [(b"OTHERS??\x02\x00", "not a snapshot file"), (b"MSTSNAP\xb5\x01\x00", "format 1")],
)
def test_another_kind_of_file_is_refused(path: Path, start: bytes, problem: str) -> None:
    whole = write(path, []).read_bytes()
    path.write_bytes(start + whole[len(start) :])
    with pytest.raises(StorageDamaged, match=problem):
        verify(path, Files())


# Writing


def test_writing_stops_when_it_is_told_to_and_leaves_nothing(path: Path) -> None:
    def endless() -> Any:
        place = 0
        while True:
            yield [(b"k%09d" % place, b"", 6, 6, 1, 0)]
            place += 1

    told = iter([False, False, False, True])
    with pytest.raises(WritingStopped):
        write_snapshot(path, Files(), HEADER, endless(), (), (), lambda: next(told))
    assert not list(path.parent.iterdir())


def test_other_threads_run_between_blocks(path: Path, monkeypatch: Any) -> None:
    yields: list[float] = []
    monkeypatch.setattr("metastore.engines.snapshot_format.time.sleep", yields.append)
    write(path, keys_with([6], BLOCK_ITEMS_MAX * 3))
    assert yields == [0] * 6, "after the start, the header, three blocks and the footer"


def block_places(data: bytes) -> list[int]:
    places = [10]
    while places[-1] < len(data):
        places.append(places[-1] + 9 + int.from_bytes(data[places[-1] :][:4], "little"))
    return places
