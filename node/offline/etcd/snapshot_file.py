"""etcd's snapshot file: a bbolt database, and 32 bytes with its SHA-256 behind it.

Reading order 6 of etcd's files. Tells such a file from anything else, checks its hash before a byte
of it is believed, and writes one aside so that it gets its name whole.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from metastore.engines.contract import StorageDamaged
from metastore.engines.snapshot_format import UNFINISHED
from metastore.node.offline.etcd.bolt_pages import META_BYTES, PAGE_BYTES_MAX, PAGE_BYTES_MIN
from metastore.node.offline.etcd.bolt_pages import decode_meta_or_none as decode_meta
from metastore.node.offline.reading import Progress

HASH_BYTES = 32
_BLOCK_BYTES = 512  # etcdctl: a file of a multiple of it has no hash, one with 32 more has
_READ_BYTES = 1 << 20


def is_etcd_snapshot(path: Path) -> bool:
    """Whether it begins as a bbolt database does (the first meta page, or the second, is whole);
    says nothing of the rest. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(PAGE_BYTES_MAX + META_BYTES)
    places = [0]
    while places[-1] < PAGE_BYTES_MAX:
        places.append(max(places[-1] * 2, PAGE_BYTES_MIN))
    return any(decode_meta(start[place : place + META_BYTES]) for place in places)


def check_hash(path: Path, progress: Progress) -> None:
    """Raises StorageDamaged, OSError."""
    size_bytes = path.stat().st_size
    if size_bytes % _BLOCK_BYTES != HASH_BYTES:
        raise StorageDamaged(
            f"{path}: {size_bytes} bytes: an etcd snapshot is a database and {HASH_BYTES} bytes "
            "with its hash; this one was cut, or was copied out of a data directory "
            "(--skip-hash-check takes it as it is)"
        )
    digest, done, total = hashlib.sha256(), 0, size_bytes - HASH_BYTES
    with path.open("rb", buffering=0) as file:
        while done < total:
            piece = file.read(min(_READ_BYTES, total - done))
            if not piece:
                raise StorageDamaged(f"{path}: the file became shorter while it was read")
            digest.update(piece)
            done += len(piece)
            progress("hash", done, total)
        promised = file.read(HASH_BYTES)
    if digest.digest() != promised:
        raise StorageDamaged(f"{path}: its SHA-256 is not the one at its end: it is damaged")


@contextmanager
def new_snapshot_file(path: Path) -> Iterator[BinaryIO]:
    """To write the database into. When the block ends well, the hash is put behind it, it is synced
    and gets its name; after a failure nothing is left. Raises OSError."""
    aside = path.with_name(path.name + UNFINISHED)
    try:
        with aside.open("wb+") as file:
            yield file
            file.flush()
            file.seek(0)
            file.write(_digest_to_the_end(file.read))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest_to_the_end(read: Callable[[int], bytes]) -> bytes:
    digest = hashlib.sha256()
    while piece := read(_READ_BYTES):
        digest.update(piece)
    return digest.digest()
