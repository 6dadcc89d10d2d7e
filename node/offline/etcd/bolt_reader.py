"""Reading a bbolt file: whichever meta page counts, its buckets, their keys in order.

Reading order 3 of etcd's files. The file may be anything: every number in it is checked before it
is used, no page is read twice (so that a file cannot unfold into more than it is), and whatever is
wrong is StorageDamaged naming file and page. Holds one page at a time.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from metastore.engines.contract import StorageDamaged
from metastore.node.offline.etcd.bolt_pages import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    BUCKET_FLAG,
    LEAF,
    LEAF_ELEMENT,
    META_BYTES,
    PAGE_BYTES_MAX,
    PAGE_BYTES_MIN,
    PAGE_HEADER,
    Meta,
    decode_meta_or_none,
)

DEPTH_MAX = 32  # of a tree; real ones have 2 to 5 levels
PAGE_RUN_BYTES_MAX = 256 << 20  # a page with those that belong to it; etcd's have 1.5 MiB, or two
BUCKETS_MAX = 256  # etcd has a dozen
_META_PAGES = 2
_INLINE = -1


class _Element(NamedTuple):
    flags: int  # of a leaf
    page: int  # of a branch
    key: bytes
    value: bytes  # of a leaf


class BoltReader:
    """`buckets`, then `items` of each, once. A context manager. Everything raises StorageDamaged,
    OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._size_bytes = os.fstat(self._descriptor).st_size
            self._meta = self._find_meta()
            self._seen = bytearray(self._meta.page_count // 8 + 1)
            self._buckets = self._find_buckets()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def page_count(self) -> int:
        return self._meta.page_count

    @property
    def pages_read(self) -> int:
        return sum(byte.bit_count() for byte in self._seen)

    @property
    def buckets(self) -> list[bytes]:
        return [name for name, (flags, _) in self._buckets.items() if flags & BUCKET_FLAG]

    def items(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a bucket in order; of one that is not there, none. Buckets inside of
        it are left out."""
        flags, value = self._buckets.get(name, (0, b""))
        if not flags & BUCKET_FLAG:
            return
        if len(value) < BUCKET.size:
            raise self.damaged(f"bucket {name!r} has no header", self._meta.root)
        root, _ = BUCKET.unpack_from(value)
        found = self._walk(root, name) if root else self._inline(value[BUCKET.size :], name)
        for key, (flags, inner) in found:
            if not flags & BUCKET_FLAG:
                yield key, inner

    def damaged(self, problem: str, page: int) -> StorageDamaged:
        return StorageDamaged(f"{self._path}: page {page}: {problem}")

    def _find_buckets(self) -> dict[bytes, tuple[int, bytes]]:
        found: dict[bytes, tuple[int, bytes]] = {}
        for name, (flags, value) in self._walk(self._meta.root, b"the root"):
            if len(found) >= BUCKETS_MAX or len(name) + len(value) > PAGE_BYTES_MAX:
                raise self.damaged("more buckets than etcd has", self._meta.root)
            found[name] = (flags, value)
        return found

    def _find_meta(self) -> Meta:
        """The newer of the two that are whole; the second one stands a page further, and only the
        first says how large a page is."""
        first = self._meta_at(0)
        sizes = [first.page_bytes] if first else _page_sizes()
        found = [first] if first else []
        for page_bytes in sizes:
            second = self._meta_at(page_bytes)
            if second is not None and second.page_bytes == page_bytes:
                found.append(second)
        if not found:
            raise StorageDamaged(f"{self._path}: no meta page of a bbolt database is whole")
        meta = max(found, key=lambda one: one.transaction)
        if meta.page_bytes not in _page_sizes():
            raise self.damaged(f"pages of {meta.page_bytes} bytes", 0)
        if not _META_PAGES < meta.page_count <= self._size_bytes // meta.page_bytes:
            raise self.damaged(
                f"{meta.page_count} pages of {meta.page_bytes} bytes are promised, the file has "
                f"{self._size_bytes} bytes",
                0,
            )
        return meta

    def _meta_at(self, place: int) -> Meta | None:
        return decode_meta_or_none(os.pread(self._descriptor, META_BYTES, place))

    def _walk(self, root: int, name: bytes) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
        """(key, (flags, value)) of a tree, in order."""
        last: bytes | None = None
        stack = [iter(self._page(root, name))]
        while stack:
            element = next(stack[-1], None)
            if element is None:
                stack.pop()
            elif element.page == _INLINE:
                if last is not None and element.key <= last:
                    raise self.damaged(f"keys of bucket {name!r} are not in order", root)
                last = element.key
                yield element.key, (element.flags, element.value)
            elif len(stack) >= DEPTH_MAX:
                raise self.damaged(f"bucket {name!r} is deeper than {DEPTH_MAX} levels", root)
            else:
                stack.append(iter(self._page(element.page, name)))

    def _inline(self, data: bytes, name: bytes) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
        last: bytes | None = None
        for element in self._elements(data, self._meta.root):
            if element.page != _INLINE or (last is not None and element.key <= last):
                raise self.damaged(f"bucket {name!r} holds no leaf in order", self._meta.root)
            last = element.key
            yield element.key, (element.flags, element.value)

    def _page(self, page: int, name: bytes) -> Iterator[_Element]:
        page_bytes = self._meta.page_bytes
        if not _META_PAGES <= page < self._meta.page_count:
            raise self.damaged(f"bucket {name!r} refers to it, it is none of the file's", page)
        header = os.pread(self._descriptor, PAGE_HEADER.size, page * page_bytes)
        if len(header) < PAGE_HEADER.size:
            raise self.damaged("the file ends too early", page)
        own, _, _, overflow = PAGE_HEADER.unpack(header)
        if own != page:
            raise self.damaged(f"it says that it is page {own}", page)
        if page + overflow >= self._meta.page_count:
            raise self.damaged(f"{overflow} further pages belong to it, beyond the end", page)
        for each in range(page, page + overflow + 1):
            if self._seen[each >> 3] & 1 << (each & 7):
                raise self.damaged("it is in use twice", each)
            self._seen[each >> 3] |= 1 << (each & 7)
        size_bytes = (overflow + 1) * page_bytes
        if size_bytes > PAGE_RUN_BYTES_MAX:
            raise self.damaged(f"{size_bytes} bytes of one page are too many", page)
        return self._elements(os.pread(self._descriptor, size_bytes, page * page_bytes), page)

    def _elements(self, data: bytes, page: int) -> Iterator[_Element]:
        if len(data) < PAGE_HEADER.size:
            raise self.damaged("a page without a header", page)
        _, flags, count, _ = PAGE_HEADER.unpack_from(data)
        if flags not in (LEAF, BRANCH):
            raise self.damaged(f"neither a leaf nor a branch (flags {flags:#x})", page)
        layout = LEAF_ELEMENT if flags == LEAF else BRANCH_ELEMENT
        room = len(data) - PAGE_HEADER.size - count * layout.size
        if room < 0:
            raise self.damaged(f"{count} elements do not fit", page)
        for number in range(count):
            place = PAGE_HEADER.size + number * layout.size
            if flags == LEAF:
                kind, position, key_bytes, value_bytes = layout.unpack_from(data, place)
                child = _INLINE
            else:
                position, key_bytes, child = layout.unpack_from(data, place)
                kind = value_bytes = 0
            # Elements that overlap would let a page hold more than it is.
            room -= key_bytes + value_bytes
            start = place + position
            end = start + key_bytes + value_bytes
            if room < 0 or start < PAGE_HEADER.size + count * layout.size or end > len(data):
                raise self.damaged(f"element {number} lies outside of it", page)
            middle = start + key_bytes
            yield _Element(kind, child, data[start:middle], data[middle:end])


def _page_sizes() -> list[int]:
    sizes, size = [], PAGE_BYTES_MIN
    while size <= PAGE_BYTES_MAX:
        sizes.append(size)
        size *= 2
    return sizes
