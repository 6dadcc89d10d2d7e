"""Where an engine keeps every version of every key: what the semantics ask, whatever the engine.

Reading order 2 of the engines. A *record* is one version of one key, the tuple that schema calls
kv; a *tombstone* is the record of a deletion (version 0). The semantics above (mvcc.py and the
rest) are written once over this protocol; an engine brings nothing but places to keep records.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol, TypeAlias

KeyValue: TypeAlias = tuple[bytes, bytes, int, int, int, int]
"""(key, value, create_revision, mod_revision, version, lease)"""

KEY: Final = 0
VALUE: Final = 1
CREATE: Final = 2
MOD: Final = 3
VERSION: Final = 4
LEASE: Final = 5

# What a version costs beside its key and value, on average over the engines: part of the size that
# the quota looks at.
RECORD_OVERHEAD_BYTES = 64


def tombstone(key: bytes, revision: int) -> KeyValue:
    return (key, b"", 0, revision, 0, 0)


def is_tombstone(record: KeyValue) -> bool:
    return record[VERSION] == 0


def record_bytes(record: KeyValue) -> int:
    return len(record[KEY]) + len(record[VALUE]) + RECORD_OVERHEAD_BYTES


class Records(Protocol):
    """Versions by key, and the changes by revision. One owner thread, unless said otherwise.

    A key is in it as long as it has a version, be it a tombstone. `end` None means: no end; ranges
    are [start, end). What is asked at a revision is right for compacted <= revision <= newest.
    """

    def get(self, key: bytes, /) -> KeyValue | None:
        """The newest version if it is live (no tombstone). The hot path."""
        ...

    def __len__(self) -> int:
        """Live keys."""
        ...

    def put(self, record: KeyValue, previous: KeyValue | None) -> None:
        """A new live version; `previous` is what `get` gave. Changes of one revision are kept in
        the order of the calls."""
        ...

    def delete(self, grave: KeyValue, previous: KeyValue) -> None:
        """A tombstone becomes the newest version."""
        ...

    def get_at(self, key: bytes, revision: int) -> KeyValue | None:
        """The newest version with mod_revision <= revision, be it a tombstone; None without one."""
        ...

    def count(self, start: bytes, end: bytes | None) -> int:
        """Live keys in the range."""
        ...

    def select(self, start: bytes, end: bytes | None, limit: int) -> list[KeyValue]:
        """Live newest versions in key order, at most `limit` (0: all)."""
        ...

    def select_at(
        self, start: bytes, end: bytes | None, revision: int, limit: int
    ) -> list[KeyValue]:
        """Versions that were live and newest at `revision`, in key order, at most `limit`."""
        ...

    def changes(self, first: int, last: int) -> Iterator[KeyValue]:
        """Every version, tombstones too, with first <= mod_revision <= last, by revision and in the
        order in which they were made. The caller may stop early; nothing may change meanwhile."""
        ...

    def compact(self, revision: int, changes_max: int) -> tuple[bool, int]:
        """One slice of the physical compaction: looks at up to `changes_max` of the oldest changes
        with mod_revision <= revision. For each such change: the versions of its key older than it
        go, and the change's own version goes too if it is a tombstone below `revision`. The change
        itself is forgotten if below `revision` (that of `revision` stays for watches from there).
        Answers (whether nothing is left to do, bytes freed as record_bytes counts them)."""
        ...

    def versions(self) -> Iterator[Sequence[KeyValue]]:
        """Per key, in key order, all versions by ascending mod_revision. What is not visible any
        more but not yet physically gone is in it, too."""
        ...
