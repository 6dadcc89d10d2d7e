"""Where things stand in a bbolt file: pages, elements, the two meta pages.

Reading order 1 of etcd's files. Pure; the facts are those of bbolt's format version 2, which every
etcd of the 3.x line writes. All numbers are little-endian.

    page    id 8 | flags 2 | count 2 | overflow 4 | elements | keys and values
            overflow: how many further pages belong to it
    leaf    flags 4 | position 4 | key bytes 4 | value bytes 4     position: from the element on
    branch  position 4 | key bytes 4 | page id 8                   key: the smallest below
    bucket  root page id 8 | sequence 8                            value of a leaf's element with
            BUCKET_FLAG; root 0: the page itself follows, inside of the value
    meta    magic 4 | version 4 | page bytes 4 | flags 4 | root bucket 16 | freelist page id 8 |
            high-water page id 8 | transaction id 8 | checksum 8
"""

from struct import Struct
from typing import NamedTuple

PAGE_BYTES = 4096  # of files that we write
PAGE_BYTES_MIN, PAGE_BYTES_MAX = 512, 64 << 10  # of files that we read
MAGIC = 0xED0CDAED
VERSION = 2
BRANCH, LEAF, META, FREELIST = 0x01, 0x02, 0x04, 0x10
BUCKET_FLAG = 0x01
INLINE_BYTES_MAX = PAGE_BYTES // 4  # bbolt's, for a bucket inside of a value

PAGE_HEADER = Struct("<QHHI")
LEAF_ELEMENT = Struct("<IIII")
BRANCH_ELEMENT = Struct("<IIQ")
BUCKET = Struct("<QQ")
_META = Struct("<IIIIQQQQQ")
_CHECKSUM = Struct("<Q")
META_BYTES = PAGE_HEADER.size + _META.size + _CHECKSUM.size

_FNV_OFFSET, _FNV_PRIME, _U64 = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


class Meta(NamedTuple):
    """`page_count` is the high-water page id: pages from there on are not in use."""

    page_bytes: int
    root: int
    freelist: int
    page_count: int
    transaction: int


def fnv_1a(data: bytes) -> int:
    """64 bits."""
    value = _FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & _U64
    return value


def encode_meta(number: int, meta: Meta) -> bytes:
    """The whole page `number` (0 or 1)."""
    fields = (meta.page_bytes, 0, meta.root, 0, meta.freelist, meta.page_count, meta.transaction)
    body = _META.pack(MAGIC, VERSION, *fields)
    page = PAGE_HEADER.pack(number, META, 0, 0) + body + _CHECKSUM.pack(fnv_1a(body))
    return page.ljust(meta.page_bytes, b"\0")


def decode_meta_or_none(data: bytes) -> Meta | None:
    """From the first META_BYTES of a page; None for what is no meta page, or a torn one."""
    if len(data) < META_BYTES:
        return None
    body = data[PAGE_HEADER.size : PAGE_HEADER.size + _META.size]
    magic, version, page_bytes, _, root, _, freelist, page_count, transaction = _META.unpack(body)
    if (magic, version) != (MAGIC, VERSION):
        return None
    if _CHECKSUM.unpack_from(data, META_BYTES - _CHECKSUM.size)[0] != fnv_1a(body):
        return None
    return Meta(page_bytes, root, freelist, page_count, transaction)
