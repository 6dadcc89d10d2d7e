"""Ranges of any size, from answers of the node that have a largest one.

Below kv.py. A range in key order is read in pages, all as of the revision of the first, each a
question of its own, so that neither the node nor the gateway is held up by one that is large. One
that the node has to sort or filter is asked for at once; if it does not fit, its keys are read in
pages and sorted here.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from operator import itemgetter
from typing import Any

from metastore.api.calls import ApiError, Status
from metastore.api.failures import AnswerTooLarge
from metastore.transport import shapes
from metastore.transport.schema import Flag, Operation, Result, SortOrder, SortTarget

PAGE_KEYS_FIRST = 1000
PAGE_KEYS_MAX = 4000
PAGE_BYTES = 1 << 20  # aimed at; the sizes of keys to come are guessed from those seen
KV_OVERHEAD_BYTES = 32
ATTEMPTS_MAX = 3  # while compactions go past the revision that is read

Ask = Callable[[Operation], Awaitable[Result]]
KeyValue = Sequence[Any]

_KEY, _VALUE, _CREATE, _MOD, _VERSION = range(5)
_FIELD = {
    SortTarget.KEY: _KEY,
    SortTarget.VERSION: _VERSION,
    SortTarget.CREATE: _CREATE,
    SortTarget.MOD: _MOD,
    SortTarget.VALUE: _VALUE,
}
_UNLIMITED = 1 << 62
_NO_COUNT, _KEYS_ONLY = int(Flag.NO_COUNT), int(Flag.KEYS_ONLY)


async def pages(
    ask: Ask, operation: Operation, first_keys: int = PAGE_KEYS_FIRST
) -> AsyncGenerator[Result, None]:
    """The result of a RANGE in parts, at least one. Revision and count are those of the whole in
    each; `more` of the last one is. Raises ApiError: OUT_OF_RANGE when the revision was compacted
    in between."""
    _, key, range_end, limit, revision, flags = operation
    left = limit if limit > 0 else _UNLIMITED
    wanted = min(left, first_keys)
    answered_revision = count = 0
    while True:
        try:
            part = await ask((shapes.RANGE, key, range_end, wanted, revision, flags))
        except AnswerTooLarge:
            if wanted == 1:
                raise
            wanted = max(1, wanted // 8)
            continue
        _, newest, found, more, found_count = part
        if not answered_revision:
            answered_revision, count = newest, found_count
            flags |= _NO_COUNT  # counting would walk the whole range for every page
            revision = revision if revision > 0 else newest
        left -= len(found)
        yield (0, answered_revision, found, more, count)
        if not more or not left:
            return
        key = found[-1][0] + b"\0"  # the smallest key after it
        wanted = min(left, _next_keys(found, wanted))


def _next_keys(found: Sequence[KeyValue], wanted: int) -> int:
    """Growing slowly, shrinking at once: large values may follow small ones."""
    size_bytes = sum([len(kv[0]) + len(kv[1]) + KV_OVERHEAD_BYTES for kv in found])
    return max(1, min(PAGE_BYTES * len(found) // size_bytes, wanted * 2, PAGE_KEYS_MAX))


async def collect(ask: Ask, operation: Operation, take: Callable[[Result], None]) -> int:
    """Gives a RANGE to `take` part by part, and its revision back. A compaction in the middle makes
    it begin again, unless the caller asked for that revision; `take` must then begin again, too,
    at a part whose first element is True."""
    for attempt in range(ATTEMPTS_MAX):
        revision, is_first = 0, True
        try:
            async for part in pages(ask, operation):
                revision = part[1]
                take((is_first, *part[1:]))
                is_first = False
            return revision
        except ApiError as error:
            is_final = is_first or operation[4] > 0 or attempt == ATTEMPTS_MAX - 1
            if is_final or error.code != Status.OUT_OF_RANGE:
                raise
    return revision


async def collect_sorted(ask: Ask, operation: Operation) -> Result:
    """A FILTERED_RANGE whose answer does not fit one message of the node; it answers as the node
    would. As in etcd a sort target without an order sorts what a plain range would read: one key
    more than the limit, which tells whether there are more."""
    key, range_end, limit, revision, flags, order, target, *bounds = operation[1:]
    reads_all = limit <= 0 or order != SortOrder.NONE or any(bounds)
    strips = flags & _KEYS_ONLY and target == SortTarget.VALUE  # the values are needed to sort by
    plain = (
        *(shapes.RANGE, key, range_end, 0 if reads_all else limit + 1, revision),
        flags & ~_KEYS_ONLY if strips else flags,
    )
    found: list[KeyValue] = []
    count = 0

    def take(part: Result) -> None:
        nonlocal count
        if part[0]:
            found.clear()
        found.extend(part[2])
        count = part[4]

    answered_revision = await collect(ask, plain, take)
    kvs = _arrange(found, order, target, bounds)
    more = 0 < limit < len(kvs)
    if more:
        del kvs[limit:]
    if strips:
        kvs = [(kv[0], b"", *kv[2:]) for kv in kvs]
    return (0, answered_revision, kvs, more, count)


def _arrange(
    found: list[KeyValue], order: int, target: int, bounds: Sequence[int]
) -> list[KeyValue]:
    """Filtered and sorted; a bound of 0 is none."""
    mod_min, mod_max, create_min, create_max = bounds
    kvs = [
        kv
        for kv in found
        if (not mod_min or kv[_MOD] >= mod_min)
        and (not mod_max or kv[_MOD] <= mod_max)
        and (not create_min or kv[_CREATE] >= create_min)
        and (not create_max or kv[_CREATE] <= create_max)
    ]
    kvs.sort(key=itemgetter(_FIELD[SortTarget(target)]), reverse=order == SortOrder.DESCEND)
    return kvs
