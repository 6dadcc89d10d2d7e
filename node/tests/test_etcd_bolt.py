"""bbolt files: what is written comes back, and of a bad file it is told that it is bad."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from struct import pack_into, unpack_from

import pytest

from metastore.engines.contract import StorageDamaged
from metastore.node.offline.etcd import bolt_reader
from metastore.node.offline.etcd.bolt_pages import (
    BRANCH,
    PAGE_BYTES,
    Meta,
    decode_meta_or_none,
    encode_meta,
    fnv_1a,
)
from metastore.node.offline.etcd.bolt_reader import BoltReader
from metastore.node.offline.etcd.bolt_writer import BoltWriter

Items = list[tuple[bytes, bytes]]


def numbered(count: int, value: bytes = b"value", key_bytes: int = 8) -> Items:
    return [(number.to_bytes(key_bytes, "big"), value) for number in range(1, count + 1)]


def write(path: Path, **buckets: Items) -> None:
    with path.open("wb+") as file:
        writer = BoltWriter(file)
        for name, items in buckets.items():
            writer.bucket(name.encode(), items)
        assert writer.finish() == path.stat().st_size


def read(path: Path) -> dict[str, Items]:
    with BoltReader(path) as reader:
        found = {name.decode(): list(reader.items(name)) for name in reader.buckets}
        assert reader.pages_read + 3 == reader.page_count  # but the metas and the free ones
        return found


@pytest.mark.parametrize(
    "items",
    [
        [],
        numbered(1),
        numbered(3, bytes(1000)),  # too large to lie inside of the root
        numbered(300),
        numbered(40_000),  # three levels
        numbered(2000, key_bytes=900),  # few children to a branch
        numbered(5, bytes(1_500_000)),
        [(b"a", b""), (b"b", bytes(4096 - 16 - 32 - 2)), (b"c", bytes(10_000)), (b"d", b"x")],
    ],
    ids=["none", "one", "three", "leaves", "levels", "long-keys", "large", "mixed"],
)
def test_what_is_written_is_read(tmp_path: Path, items: Items) -> None:
    write(tmp_path / "file", key=items, meta=[(b"term", b"1")])
    assert read(tmp_path / "file") == {"key": items, "meta": [(b"term", b"1")]}


def branches(data: bytes) -> list[int]:
    """How many children each branch page has."""
    return [
        unpack_from("<H", data, place + 10)[0]
        for place in range(3 * PAGE_BYTES, len(data), PAGE_BYTES)
        if unpack_from("<QH", data, place) == (place // PAGE_BYTES, BRANCH)
    ]


@pytest.mark.parametrize("key_bytes", [8, 300, 900, 3000])
@pytest.mark.parametrize("count", [7, 8, 9, 100, 101])
def test_no_branch_has_a_single_child(tmp_path: Path, count: int, key_bytes: int) -> None:
    items = numbered(count, bytes(4000), key_bytes)
    write(tmp_path / "file", key=items)
    children = branches((tmp_path / "file").read_bytes())
    assert children
    assert min(children) >= 2
    assert read(tmp_path / "file")["key"] == items


def test_keys_that_do_not_ascend_are_no_bucket(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb+") as file, pytest.raises(ValueError, match="comes after"):
        BoltWriter(file).bucket(b"key", [(b"b", b""), (b"a", b"")])


def test_the_checksum_is_fnv_1a() -> None:
    assert fnv_1a(b"") == 0xCBF29CE484222325
    assert fnv_1a(b"foobar") == 0x85944171F73967E8


def test_the_meta_page_of_the_newer_transaction_counts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, key=numbered(1000))
    data = bytearray(path.read_bytes())
    first = decode_meta_or_none(data)
    assert first is not None
    data[:PAGE_BYTES] = encode_meta(0, first._replace(root=1 << 40))  # of the older one
    path.write_bytes(data)
    assert read(path)["key"] == numbered(1000)
    data[:PAGE_BYTES] = encode_meta(0, first._replace(root=1 << 40, transaction=9))
    path.write_bytes(data)
    with pytest.raises(StorageDamaged, match="none of the file's"):
        read(path)


@pytest.mark.parametrize("place", [0, PAGE_BYTES])
def test_one_torn_meta_page_is_no_loss_and_two_are(tmp_path: Path, place: int) -> None:
    path = tmp_path / "file"
    write(path, key=numbered(1000))
    data = bytearray(path.read_bytes())
    data[place + 40] ^= 1
    path.write_bytes(data)
    assert read(path)["key"] == numbered(1000)
    data[PAGE_BYTES - place + 40] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageDamaged, match="no meta page"):
        read(path)


# Files that somebody made on purpose


def damaged(tmp_path: Path, change: Callable[[bytearray, Meta], None]) -> str:
    path = tmp_path / "file"
    write(path, key=numbered(2000), other=numbered(200))
    data = bytearray(path.read_bytes())
    meta = decode_meta_or_none(bytes(data[PAGE_BYTES : PAGE_BYTES * 2]))
    assert meta is not None
    change(data, meta)
    path.write_bytes(data)
    with pytest.raises(StorageDamaged) as caught:
        read(path)
    return str(caught.value)


def first_branch(data: bytearray) -> int:
    return next(
        place
        for place in range(3 * PAGE_BYTES, len(data), PAGE_BYTES)
        if unpack_from("<H", data, place + 8)[0] == BRANCH
    )


def change_metas(data: bytearray, meta: Meta) -> None:
    for number in (0, 1):
        data[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] = encode_meta(number, meta)


def test_a_page_that_is_referred_to_twice_is_damage(tmp_path: Path) -> None:
    def repeat(data: bytearray, meta: Meta) -> None:
        branch = first_branch(data)
        pack_into("<Q", data, branch + 16 + 16 + 8, unpack_from("<Q", data, branch + 16 + 8)[0])

    assert "in use twice" in damaged(tmp_path, repeat)


def test_a_branch_above_itself_is_damage(tmp_path: Path) -> None:
    def loop(data: bytearray, meta: Meta) -> None:
        branch = first_branch(data)
        pack_into("<Q", data, branch + 16 + 8, branch // PAGE_BYTES)

    assert "in use twice" in damaged(tmp_path, loop)


def test_a_tree_without_end_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bolt_reader, "DEPTH_MAX", 1)
    assert "deeper than 1" in damaged(tmp_path, lambda data, meta: None)


def test_pages_beyond_the_end_are_damage(tmp_path: Path) -> None:
    def promise_more(data: bytearray, meta: Meta) -> None:
        change_metas(data, meta._replace(page_count=meta.page_count + 1))

    assert "are promised" in damaged(tmp_path, promise_more)

    def overflow(data: bytearray, meta: Meta) -> None:
        pack_into("<I", data, 3 * PAGE_BYTES + 12, 0xFFFFFFFF)

    assert "beyond the end" in damaged(tmp_path, overflow)


def test_a_page_of_too_many_bytes_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bolt_reader, "PAGE_RUN_BYTES_MAX", PAGE_BYTES - 1)
    assert "too many" in damaged(tmp_path, lambda data, meta: None)


def test_a_page_size_of_nobody_is_damage(tmp_path: Path) -> None:
    def shrink(data: bytearray, meta: Meta) -> None:
        data[:PAGE_BYTES] = encode_meta(0, meta._replace(transaction=7))
        pack_into("<I", data, 16 + 8, 1)
        pack_into("<Q", data, 16 + 56, fnv_1a(bytes(data[16 : 16 + 56])))

    assert "pages of 1 bytes" in damaged(tmp_path, shrink)


def test_elements_that_overlap_are_damage(tmp_path: Path) -> None:
    """Else a small file could unfold into a large one."""

    def overlap(data: bytearray, meta: Meta) -> None:
        leaf = 3 * PAGE_BYTES
        count = unpack_from("<H", data, leaf + 10)[0]
        for number in range(count):
            element = leaf + 16 + number * 16
            pack_into("<II", data, element + 8, 0, 16 + (count - number) * 16)
            pack_into("<I", data, element + 4, (count - number) * 16)

    assert "outside of it" in damaged(tmp_path, overlap)


def test_an_element_beyond_its_page_is_damage(tmp_path: Path) -> None:
    def stretch(data: bytearray, meta: Meta) -> None:
        pack_into("<I", data, 3 * PAGE_BYTES + 16 + 4, 1 << 31)

    assert "outside of it" in damaged(tmp_path, stretch)


def test_an_element_inside_of_the_table_of_elements_is_damage(tmp_path: Path) -> None:
    def point_back(data: bytearray, meta: Meta) -> None:
        pack_into("<I", data, 3 * PAGE_BYTES + 16 + 4, 0)

    assert "outside of it" in damaged(tmp_path, point_back)


def test_keys_out_of_order_are_damage(tmp_path: Path) -> None:
    def swap(data: bytearray, meta: Meta) -> None:
        leaf = 3 * PAGE_BYTES
        position = unpack_from("<I", data, leaf + 16 + 4)[0]
        data[leaf + 16 + position] = 0xFF

    assert "not in order" in damaged(tmp_path, swap)


def test_a_page_that_is_another_one_is_damage(tmp_path: Path) -> None:
    def rename(data: bytearray, meta: Meta) -> None:
        pack_into("<Q", data, 3 * PAGE_BYTES, 4)

    assert "says that it is page 4" in damaged(tmp_path, rename)


def test_a_page_of_another_kind_is_damage(tmp_path: Path) -> None:
    def free(data: bytearray, meta: Meta) -> None:
        pack_into("<H", data, 3 * PAGE_BYTES + 8, 0x10)

    assert "neither a leaf nor a branch" in damaged(tmp_path, free)


def test_more_elements_than_fit_are_damage(tmp_path: Path) -> None:
    def count(data: bytearray, meta: Meta) -> None:
        pack_into("<H", data, 3 * PAGE_BYTES + 10, 0xFFFF)

    assert "do not fit" in damaged(tmp_path, count)


def test_more_buckets_than_etcd_has_are_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bolt_reader, "BUCKETS_MAX", 1)
    assert "more buckets" in damaged(tmp_path, lambda data, meta: None)


def test_whatever_bit_is_flipped_the_file_is_read_or_told_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, key=numbered(600, b"v" * 30), lease=numbered(3), big=numbered(2, bytes(9000)))
    data = path.read_bytes()
    draw = Random(11)
    for _ in range(600):
        changed = bytearray(data)
        for _ in range(draw.randrange(1, 4)):
            changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed[: draw.choice((len(data), draw.randrange(len(data))))])
        with suppress(StorageDamaged), BoltReader(path) as reader:
            for name in reader.buckets:
                list(reader.items(name))
