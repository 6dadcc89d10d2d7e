"""Reading many keys in pages of bounded size, all as of one revision where the node can.

Reading order 12 of the client.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from metastore.client.errors import AnswerTooLarge, InvalidRequest
from metastore.client.results import KeyValue, RangeResult
from metastore.transport import schema

PAGE_BYTES = 256 << 10  # aimed at; the sizes of keys to come are guessed from those seen
PAGE_KEYS_FIRST = 16
PAGE_KEYS_MAX = 2000
KEY_OVERHEAD_BYTES = 32  # of revisions and framing


class Ranger(Protocol):
    def range(
        self,
        key: bytes,
        range_end: bytes,
        *,
        limit: int,
        revision: int,
        keys_only: bool,
        level: str,
    ) -> RangeResult: ...


def scan_pages(
    client: Ranger,
    key: bytes,
    range_end: bytes,
    *,
    keys_only: bool,
    level: str,
    on_change: Callable[[], None] | None,
) -> Iterator[KeyValue]:
    """Every key of [key, range_end) in order. The first page fixes the revision of the others. If
    the node has it no more, `on_change` is called and the newest is read instead; without one, the
    refusal (InvalidRequest) is raised."""
    limit = PAGE_KEYS_FIRST
    revision = 0
    while True:
        try:
            page = client.range(
                key, range_end, limit=limit, revision=revision, keys_only=keys_only, level=level
            )
        except AnswerTooLarge:
            if limit == 1:
                raise
            limit = max(1, limit // 8)
            continue
        except InvalidRequest as error:
            if on_change is None or not revision or str(error) != schema.COMPACTED:
                raise
            on_change()
            revision = 0
            continue
        yield from page.items
        if not page.more or not page.items:
            return
        revision = page.revision
        key = page.items[-1].key + b"\0"  # the smallest key after it
        limit = _next_limit(page, limit)


def _next_limit(page: RangeResult, limit: int) -> int:
    """Growing slowly, shrinking at once: large values may follow small ones."""
    size_bytes = sum(len(kv.key) + len(kv.value) + KEY_OVERHEAD_BYTES for kv in page.items)
    fitting = PAGE_BYTES * len(page.items) // size_bytes
    return max(1, min(fitting, limit * 2, PAGE_KEYS_MAX))
