"""Waiting in line, as etcd's locks and elections do it: what lock.py and election.py share.

Everybody in line has a key `<name>/<lease in hex>` with that lease, and the oldest key is in front.
etcd's own clients make the same keys, so all wait in one line. Here a place is taken, waited with
and given up in the caller's name. Whoever waits looks at the key before its own, and at its own.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.failures import WatchCompacted
from metastore.api.link import NodeLink
from metastore.transport import shapes
from metastore.transport.schema import (
    CompareResult,
    CompareTarget,
    Operation,
    SortOrder,
    SortTarget,
    compare,
    delete_range,
    filtered_range,
    put,
    range_,
    txn,
)
from metastore.transport.watch_frames import KeyValue, WatchFlag

LEASE_TTL_S = 60  # of a lease made for a caller that brings none; nobody keeps it alive
CREATE = 2  # where a kv has its create_revision


@dataclass(frozen=True, slots=True)
class Place:
    key: bytes
    revision: int  # of the key's creation
    lease: int
    value: bytes  # that it had before, if `is_new` is not set
    is_new: bool
    is_first: bool  # as the place was taken
    store_revision: int  # when it was taken


def prefix_of(name: bytes) -> bytes:
    return name + b"/"


def end_of(prefix: bytes) -> bytes:
    return prefix[:-1] + b"0"  # what follows "/"


def oldest(name: bytes) -> Operation:
    """A range that finds whoever is in front."""
    prefix = prefix_of(name)
    one = range_(prefix, end_of(prefix), limit=1)
    return filtered_range(one, sort_order=SortOrder.ASCEND, sort_target=SortTarget.CREATE)


def is_created_at(key: bytes, revision: int) -> Sequence[Any]:
    return compare(CompareTarget.CREATE, CompareResult.EQUAL, key, revision)


async def lease_of(link: NodeLink, caller: Caller, lease: int) -> int:
    """The one that the caller brings, or a new one."""
    if lease:
        return lease
    granted = await link.ask(caller, (shapes.LEASE_GRANT, 0, LEASE_TTL_S))
    return int(granted[2])


async def take_place(
    link: NodeLink, caller: Caller, name: bytes, lease: int, value: bytes
) -> Place:
    """Gets in line, or finds the place that this lease has there. Raises ApiError."""
    key = prefix_of(name) + b"%x" % lease
    write, first = put(key, value, lease=lease), oldest(name)
    operation = txn([is_created_at(key, 0)], [write, first], [range_(key), first])
    _, store_revision, is_new, (own, found) = await link.ask(caller, operation)
    revision, before = store_revision, b""
    if not is_new:
        before, revision = own[2][0][1], own[2][0][CREATE]
    is_first = found[2][0][CREATE] == revision
    return Place(key, revision, lease, before, is_new, is_first, store_revision)


async def wait_for_turn(link: NodeLink, caller: Caller, name: bytes, place: Place) -> int | None:
    """Until nobody is before it; the revision as of which that is so. None: the place was lost
    meanwhile, because its lease ended or somebody deleted the key. Raises ApiError."""
    prefix = prefix_of(name)
    older = filtered_range(
        range_(prefix, end_of(prefix), limit=1),
        sort_order=SortOrder.DESCEND,
        sort_target=SortTarget.CREATE,
        max_create_revision=place.revision - 1,
    )
    while True:
        result = await link.ask(caller, txn([], [older, range_(place.key)]))
        revision, (before, own) = result[1], result[3]
        if not own[2] or own[2][0][CREATE] != place.revision:
            return None
        if not before[2]:
            return int(revision)
        await _until_deleted(link, [before[2][0][0], place.key], revision + 1)


async def leave(link: NodeLink, caller: Caller, key: bytes, revision: int) -> int:
    """Gives a place up, unless it is another's by now; the store's revision."""
    result = await link.ask(caller, txn([is_created_at(key, revision)], [delete_range(key)]))
    return int(result[1])


async def _until_deleted(link: NodeLink, keys: Sequence[bytes], revision: int) -> None:
    """Until one of them may have been."""
    news = asyncio.Event()
    flags = int(WatchFlag.NO_PUT)
    watches = [link.follow_watch(key, b"", revision, flags, news.set) for key in keys]
    try:
        while True:
            await news.wait()
            news.clear()
            for watch in watches:
                error = watch.error
                if watch.waiting or isinstance(error, WatchCompacted):
                    return
                if error is not None:
                    raise error
    finally:
        link.close_watches(watches)


async def changes(
    link: NodeLink, key: bytes, range_end: bytes, revision: int
) -> AsyncGenerator[KeyValue, None]:
    """From that revision on. Raises WatchCompacted, ApiError."""
    news = asyncio.Event()
    watch = link.follow_watch(key, range_end, revision, 0, news.set)
    try:
        while True:
            while watch.waiting:
                for kv, _ in watch.take().events:
                    yield kv
            if watch.error is not None:
                raise watch.error
            await news.wait()
            news.clear()
    finally:
        link.close_watches([watch])


def as_concurrency_error(error: ApiError) -> ApiError:
    """etcd runs these services on its own client library, whose errors have lost their codes: all
    are Unknown. Ours stay Unavailable where a client does well to try again."""
    if error.code in (Status.UNAVAILABLE, Status.UNAUTHENTICATED):
        return error
    return ApiError(Status.UNKNOWN, error.message)
