"""Reading many keys in pages of bounded size, all as of one revision.

Reading order 13 of the client.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from metastore.client.errors import AnswerTooLarge, Compacted
from metastore.client.results import KeyValue, RangeResult

PAGE_BYTES = 256 << 10  # aimed at; the sizes of keys to come are guessed from those seen
PAGE_KEYS_FIRST = 16
PAGE_KEYS_MAX = 2000
KEY_OVERHEAD_BYTES = 32  # of revisions and framing


# Reads one page: (key, range_end) and the options of Client.range.
ReadPage = Callable[..., Coroutine[Any, Any, RangeResult]]


async def scan_pages(
    read: ReadPage, key: bytes, range_end: bytes, *, revision: int, keys_only: bool, level: str
) -> AsyncGenerator[tuple[KeyValue, ...], None]:
    """Every key of [key, range_end) in order. The first page fixes the revision of the others."""
    limit = PAGE_KEYS_FIRST
    while True:
        try:
            page = await read(
                key,
                range_end,
                limit=limit,
                revision=revision,
                keys_only=keys_only,
                no_count=True,  # counting would walk the whole range for every page
                level=level,
            )
        except AnswerTooLarge:
            if limit == 1:
                raise
            limit = max(1, limit // 8)
            continue
        except Compacted as error:
            text = f"revision {revision}, as of which the keys are read, was compacted meanwhile"
            raise Compacted(f"{text}; begin again", error.revision) from None
        yield page.items
        if not page.more or not page.items:
            return
        revision = revision or page.revision
        key = page.items[-1].key + b"\0"  # the smallest key after it
        limit = _next_limit(page, limit)


def _next_limit(page: RangeResult, limit: int) -> int:
    """Growing slowly, shrinking at once: large values may follow small ones."""
    size_bytes = sum(len(kv.key) + len(kv.value) + KEY_OVERHEAD_BYTES for kv in page.items)
    fitting = PAGE_BYTES * len(page.items) // size_bytes
    return max(1, min(fitting, limit * 2, PAGE_KEYS_MAX))
