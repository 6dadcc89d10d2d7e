"""Writing a bbolt file: sorted keys into leaves, their smallest keys into branches, page by page.

Reading order 2 of etcd's files. Holds no more than one page per level of a tree: a bucket may be
larger than memory. Pages are full and none is free, as after bbolt's own compaction.
"""

from collections.abc import Iterable
from typing import BinaryIO

from metastore.node.offline.etcd.bolt_pages import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    BUCKET_FLAG,
    FREELIST,
    INLINE_BYTES_MAX,
    LEAF,
    LEAF_ELEMENT,
    PAGE_BYTES,
    PAGE_HEADER,
    Meta,
    encode_meta,
)

_FREELIST_PAGE = 2
_FIRST_PAGE = 3  # after two meta pages and the list of free ones
_ROOM = PAGE_BYTES - PAGE_HEADER.size


class BoltWriter:
    """One file, written once: `bucket` for each, in any order, then `finish`. Raises OSError, and
    ValueError for keys that do not ascend."""

    def __init__(self, file: BinaryIO) -> None:
        """`file`: empty, and stays the caller's."""
        self._file = file
        self._file.write(bytes(_FIRST_PAGE * PAGE_BYTES))
        self._next_page = _FIRST_PAGE
        self._buckets: dict[bytes, bytes] = {}

    def bucket(self, name: bytes, items: Iterable[tuple[bytes, bytes]]) -> None:
        """`items`: in ascending order of their keys."""
        leaves = _Leaves(self)
        last = b""
        for key, value in items:
            if key <= last:
                raise ValueError(f"the key {key!r} of bucket {name!r} comes after {last!r}")
            leaves.add(key, value)
            last = key
        self._buckets[name] = leaves.finish()

    def finish(self) -> int:
        """The size of the file in bytes; it is not synced."""
        root = _Leaves(self, BUCKET_FLAG)
        for name in sorted(self._buckets):
            root.add(name, self._buckets[name])
        root_page = root.finish_page()
        meta = Meta(PAGE_BYTES, root_page, _FREELIST_PAGE, self._next_page, 0)
        free = PAGE_HEADER.pack(_FREELIST_PAGE, FREELIST, 0, 0).ljust(PAGE_BYTES, b"\0")
        self._file.seek(0)
        # Both stand for the same contents; the one with the higher transaction counts.
        self._file.write(encode_meta(0, meta) + encode_meta(1, meta._replace(transaction=1)) + free)
        self._file.flush()
        return self._next_page * PAGE_BYTES

    def write_page(self, flags: int, count: int, body: bytes) -> int:
        """The id of the new page, which has as many further ones as the body needs."""
        size_bytes = PAGE_HEADER.size + len(body)
        pages = -(-size_bytes // PAGE_BYTES)
        page = self._next_page
        self._file.write(PAGE_HEADER.pack(page, flags, count, pages - 1))
        self._file.write(body)
        self._file.write(bytes(pages * PAGE_BYTES - size_bytes))
        self._next_page += pages
        return page


class _Leaves:
    """The leaves of one bucket, and the branches above them as they come."""

    def __init__(self, writer: BoltWriter, flags: int = 0) -> None:
        self._writer = writer
        self._flags = flags
        self._items: list[tuple[bytes, bytes]] = []
        self._size_bytes = 0
        self._above: _Branches | None = None

    def add(self, key: bytes, value: bytes) -> None:
        size_bytes = LEAF_ELEMENT.size + len(key) + len(value)
        if self._items and self._size_bytes + size_bytes > _ROOM:
            self._write()
        self._items.append((key, value))
        self._size_bytes += size_bytes

    def finish(self) -> bytes:
        """The value that stands for the bucket: where its root is, or all of it if it is small."""
        if self._above is None and PAGE_HEADER.size + self._size_bytes <= INLINE_BYTES_MAX:
            page = PAGE_HEADER.pack(0, LEAF, len(self._items), 0) + self._body()
            return BUCKET.pack(0, 0) + page
        return BUCKET.pack(self.finish_page(), 0)

    def finish_page(self) -> int:
        """The id of the root page."""
        if self._above is None:
            return self._writer.write_page(LEAF, len(self._items), self._body())
        self._write()
        return self._above.finish()

    def _write(self) -> None:
        page = self._writer.write_page(LEAF, len(self._items), self._body())
        if self._above is None:
            self._above = _Branches(self._writer)
        self._above.add(self._items[0][0], page)
        self._items.clear()
        self._size_bytes = 0

    def _body(self) -> bytes:
        elements: list[bytes] = []
        data: list[bytes] = []
        place = LEAF_ELEMENT.size * len(self._items)
        for number, (key, value) in enumerate(self._items):
            position = place - LEAF_ELEMENT.size * number
            elements.append(LEAF_ELEMENT.pack(self._flags, position, len(key), len(value)))
            data += (key, value)
            place += len(key) + len(value)
        return b"".join(elements + data)


class _Branches:
    """One level of branches, and the levels above it. A page has two children at least: bbolt takes
    a branch with one for something to repair."""

    def __init__(self, writer: BoltWriter) -> None:
        self._writer = writer
        self._children: list[tuple[bytes, int]] = []
        self._size_bytes = 0
        self._above: _Branches | None = None

    def add(self, key: bytes, page: int) -> None:
        size_bytes = BRANCH_ELEMENT.size + len(key)
        if len(self._children) > 2 and self._size_bytes + size_bytes > _ROOM:
            kept = self._children.pop()  # company for the one to come, should it be the last
            self._write()
            self._children = [kept]
            self._size_bytes = BRANCH_ELEMENT.size + len(kept[0])
        self._children.append((key, page))
        self._size_bytes += size_bytes

    def finish(self) -> int:
        """The id of the root page."""
        if self._above is None:
            return self._write_page()
        self._write()
        return self._above.finish()

    def _write(self) -> None:
        first = self._children[0][0]
        page = self._write_page()
        if self._above is None:
            self._above = _Branches(self._writer)
        self._above.add(first, page)

    def _write_page(self) -> int:
        elements, keys = [], []
        place = BRANCH_ELEMENT.size * len(self._children)
        for number, (key, page) in enumerate(self._children):
            position = place - BRANCH_ELEMENT.size * number
            elements.append(BRANCH_ELEMENT.pack(position, len(key), page))
            keys.append(key)
            place += len(key)
        return self._writer.write_page(BRANCH, len(self._children), b"".join(elements + keys))
