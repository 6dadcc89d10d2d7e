"""One number for what can be read of a key space, to compare replicas by.

Reading order 7 of the engines. The same on every engine, and whatever compaction has got round to.
"""

from collections.abc import Iterable, Sequence
from zlib import crc32

import msgpack

from metastore.engines.records import MOD, VERSION, KeyValue


def visible(versions: Sequence[KeyValue], compacted: int, revision: int) -> Sequence[KeyValue]:
    """Those of one key (ascending) that a reader between `compacted` and `revision` can come to
    see: the newest as of `compacted`, unless it is an older tombstone, and everything after it."""
    first = last = 0
    for place, record in enumerate(versions):
        if record[MOD] <= compacted:
            first = place
        if record[MOD] <= revision:
            last = place + 1
    if last and not versions[first][VERSION] and versions[first][MOD] < compacted:
        first += 1
    return versions[first:last]


def hash_versions(versions: Iterable[Sequence[KeyValue]], compacted: int, revision: int) -> int:
    """32 bits over what is visible from `compacted` to `revision`; `versions` as Records gives
    them. Reads no state but its arguments: any thread."""
    pack = msgpack.Packer().pack
    value = crc32(pack((compacted, revision)))
    for of_key in versions:
        for record in visible(of_key, compacted, revision):
            value = crc32(pack(record), value)
    return value
