"""What is played against a real etcd and against ours, of streams of watches.

Each scenario of test_etcd_watch.py gives what the streams sent. What comes of one watch is in
order; what comes of several at the same time is in none, in etcd either.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from watch_systems import QUIET_S, System, Talk

from metastore.api.protocol.messages import rpc


@asynccontextmanager
async def talking(system: System) -> AsyncIterator[Talk]:
    talk = system.watch()
    try:
        yield talk
    finally:
        await talk.close()


def by_watch(system: System, talk: Talk) -> dict[Any, list[Any]]:
    """The responses of each watch in order. How events are spread over responses is left open, and
    with it the revision in the header of those."""
    found: dict[Any, list[Any]] = {}
    for response in talk.heard:
        shown = system.plain(response)
        if "events" in shown:
            shown.pop("header")
            found.setdefault(shown.get("watch_id", "0"), []).extend(shown["events"])
        else:
            found.setdefault(shown.get("watch_id", "0"), []).append(shown)
    return found


async def history(system: System) -> None:
    """Six revisions: puts, overwriting, and a deletion."""
    for key, value in ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"4")):
        await system.put(key, value)
    await system.delete(b"a")
    await system.put(b"a", b"5")


async def creations(system: System) -> Any:
    await history(system)
    async with talking(system) as talk:
        talk.create(b"a")  # 0
        talk.create(b"a", watch_id=7)
        talk.create(b"a", watch_id=7)  # there is one
        talk.create(b"b", b"a")  # an empty range
        talk.create(b"a")  # 1: a refused one takes no id
        talk.create(b"a", watch_id=2)
        talk.create(b"a")  # 3
        talk.create(b"")  # the smallest key
        talk.create(b"b", b"b")
        talk.send(rpc.WatchRequest())
        talk.create(b"a", watch_id=-9)
        await talk.until(responses=10)
        return [system.plain(response) for response in talk.heard]


async def replays(system: System) -> Any:
    await history(system)
    async with talking(system) as talk:
        for first in (1, 3, 5, 6):
            talk.create(b"a", b"z", start_revision=system.base + first, watch_id=first)
            talk.create(b"a", start_revision=system.base + first, prev_kv=True, watch_id=first + 10)
        await talk.until(responses=16, events=6 + 4 + 2 + 1 + 4 + 3 + 2 + 1)
        await system.put(b"a", b"6")
        await system.delete(b"a", b"z")
        await talk.until(events=23 + 4 * 4 + 4 * 2)
        return by_watch(system, talk)


async def futures(system: System) -> Any:
    async with talking(system) as talk:
        talk.create(b"a", start_revision=system.base + 3)
        await talk.until(responses=1)
        for number in range(4):
            await system.put(b"a", b"%d" % number)
        await talk.until(events=2)
        return by_watch(system, talk)


async def headers_of_events(system: System) -> Any:
    await history(system)
    async with talking(system) as talk:
        talk.create(b"c", start_revision=system.base + 1)  # what comes of it is older than now
        await talk.until(events=1)
        await system.put(b"c")
        await talk.until(events=2)
        return [system.plain(response) for response in talk.heard]


async def compactions(system: System) -> Any:
    await history(system)
    await system.compact(4)
    async with talking(system) as talk:
        talk.create(b"a", start_revision=system.base + 3)
        await talk.until(responses=2)
        talk.create(b"a", watch_id=9, start_revision=system.base + 6)
        await talk.until(responses=4)
        talk.create(b"a", start_revision=2)  # 1: the id of a canceled one stays taken
        await talk.until(responses=6)
        talk.cancel(0)  # which makes it free
        await talk.until(responses=7)
        talk.create(b"a", start_revision=-7, watch_id=20)
        await talk.until(responses=9)
        return by_watch(system, talk)


async def cancellations(system: System) -> Any:
    async with talking(system) as talk:
        talk.create(b"a")
        talk.create(b"a")
        await talk.until(responses=2)
        talk.cancel(0)
        talk.cancel(0)  # and of what is not there: nothing
        talk.cancel(77)
        await talk.until(responses=3)
        await system.put(b"a", b"1")
        await talk.until(events=1)
        talk.create(b"a", watch_id=0)  # 0 is the server's to choose
        talk.create(b"a", watch_id=4)
        talk.cancel(4)
        talk.create(b"a", watch_id=4)
        await talk.until(responses=8)
        await asyncio.sleep(QUIET_S)
        return by_watch(system, talk)


async def filters(system: System) -> Any:
    async with talking(system) as talk:
        talk.create(b"a", filters=[0])
        talk.create(b"a", filters=[1], prev_kv=True)
        talk.create(b"a", filters=[0, 1])
        talk.create(b"a", prev_kv=True)
        await talk.until(responses=4)
        await history(system)
        await talk.until(events=1 + 3 + 4)
        return by_watch(system, talk)


async def transactions(system: System) -> Any:
    """All events of one revision are in one response."""
    async with talking(system) as talk:
        talk.create(b"\0", b"\0", prev_kv=True)
        await talk.until(responses=1)
        puts = [rpc.PutRequest(key=key, value=b"1") for key in (b"b", b"a", b"c")]
        operations = [rpc.RequestOp(request_put=put) for put in puts]
        await system.call("etcdserverpb.KV/Txn", rpc.TxnRequest(success=operations))
        gone = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=b"a", range_end=b"c"))
        operations = [gone, rpc.RequestOp(request_put=rpc.PutRequest(key=b"d"))]
        await system.call("etcdserverpb.KV/Txn", rpc.TxnRequest(success=operations))
        await talk.until(responses=3)
        return [system.plain(response) for response in talk.heard]


async def expirations(system: System) -> Any:
    lease = await system.grant("first")
    async with talking(system) as talk:
        talk.create(b"a", b"z", prev_kv=True)
        await talk.until(responses=1)
        await system.put(b"a", b"1", lease)
        await system.put(b"b", b"2", lease)
        await system.revoke(lease)
        await talk.until(events=4)
        return by_watch(system, talk)


async def progress(system: System) -> Any:
    async with talking(system) as talk:
        talk.ask_progress()
        await talk.until(responses=1)
        await system.put(b"a", b"1")
        talk.create(b"a")
        talk.create(b"b")
        await talk.until(responses=3)
        talk.ask_progress()
        await talk.until(responses=4)
        return [system.plain(response) for response in talk.heard]


async def half_closed(system: System) -> Any:
    async with talking(system) as talk:
        talk.create(b"a")
        talk.end_requests()
        await talk.until(responses=1)
        await asyncio.sleep(QUIET_S)
        await system.put(b"a", b"1")
        await talk.until(events=1)
        return by_watch(system, talk)


WATCHES = (
    *(creations, replays, futures, headers_of_events, compactions, cancellations, filters),
    *(transactions, expirations, progress, half_closed),
)
