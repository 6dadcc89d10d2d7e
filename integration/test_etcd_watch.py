"""What streams of watches, locks and elections send: ours and a real etcd's, the same.

Each scenario is played against both. What comes of one watch is compared in order; what comes of
several watches at the same time is in no order, in etcd either.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from etcd_process import EtcdProcess
from node_processes import NodeProcesses
from watch_systems import QUIET_S, Etcd, Ours, System, Talk

from metastore.api.protocol.messages import election, lock, rpc

Scenario = Callable[[System], Awaitable[Any]]


@pytest.fixture(scope="module")
def addresses(xprocess: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ExitStack() as stack:
        etcd = EtcdProcess(tmp_path_factory.mktemp("etcd"))
        stack.callback(etcd.stop)
        folder = tmp_path_factory.mktemp("node")
        node = NodeProcesses(xprocess, folder, 1, ("--sync", "never"))
        stack.callback(node.end)
        node.start()
        node.leader()
        yield etcd.port, node.address(1, "client"), node.address(1, "status")


def played(addresses: Any, scenario: Scenario) -> list[Any]:
    """What etcd showed, and what ours did."""

    async def play(make: Callable[[], System]) -> Any:
        system = make()
        try:
            await system.begin()
            return await scenario(system)
        finally:
            await system.close()

    port, client, status = addresses
    return [asyncio.run(play(make)) for make in (lambda: Etcd(port), lambda: Ours(client, status))]


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


async def lock_calls(system: System) -> Any:
    async def ask(name: bytes, lease: int, timeout_s: float = 20.0) -> Any:
        request = lock.LockRequest(name=name, lease=lease)
        return system.plain(await system.call("v3lockpb.Lock/Lock", request, timeout_s))

    first, second = await system.grant("first"), await system.grant("second")
    answers = [await ask(b"n", first), await ask(b"n", first), await ask(b"n", 12345)]
    await ask(b"n", second, 0.5)  # in vain: who gives up leaves the line
    await until_in_line(system, b"n/", 1)
    line = rpc.RangeRequest(key=b"n/", range_end=b"n0")
    answers.append(system.plain(await system.call("etcdserverpb.KV/Range", line)))
    waiting = asyncio.ensure_future(ask(b"n", second))
    await until_in_line(system, b"n/", 2)
    unlock = lock.UnlockRequest(key=b"n/%x" % first)
    answers.append(system.plain(await system.call("v3lockpb.Lock/Unlock", unlock)))
    answers.append(await waiting)
    answers.append(system.plain(await system.call("v3lockpb.Lock/Unlock", lock.UnlockRequest())))
    none = await ask(b"", 0)
    return [*answers, none.keys()]


async def until_in_line(system: System, prefix: bytes, count: int) -> None:
    request = rpc.RangeRequest(key=prefix, range_end=prefix[:-1] + b"0")
    async with asyncio.timeout(20.0):
        while (await system.call("etcdserverpb.KV/Range", request)).count != count:
            await asyncio.sleep(0.02)


async def lost_locks(system: System) -> Any:
    """Whose lease ends while it waits, does not get the lock."""
    first, second = await system.grant("first"), await system.grant("second")
    held = await system.call("v3lockpb.Lock/Lock", lock.LockRequest(name=b"n", lease=first))
    request = lock.LockRequest(name=b"n", lease=second)
    waiting = asyncio.ensure_future(system.call("v3lockpb.Lock/Lock", request))
    await until_in_line(system, b"n/", 2)
    await system.revoke(second)
    await system.call("v3lockpb.Lock/Unlock", lock.UnlockRequest(key=held.key))
    return system.plain(await waiting)


async def elections(system: System) -> Any:
    async def ask(method: str, request: Any) -> Any:
        return await system.call(f"v3electionpb.Election/{method}", request)

    lease = await system.grant("first")
    answers = [
        await ask("Leader", election.LeaderRequest(name=b"e")),
        await ask("Proclaim", election.ProclaimRequest(value=b"1")),
        await ask("Resign", election.ResignRequest()),
        await ask("Resign", election.ResignRequest(leader=election.LeaderKey())),
        await ask("Campaign", election.CampaignRequest(name=b"e", lease=99, value=b"1")),
    ]
    won = await ask("Campaign", election.CampaignRequest(name=b"e", lease=lease, value=b"1"))
    changed = election.CampaignRequest(name=b"e", lease=lease, value=b"2")
    stale = election.LeaderKey(name=b"e", key=won.leader.key, rev=3, lease=lease)
    other = election.LeaderKey(name=b"e", key=won.leader.key, rev=won.leader.rev, lease=99)
    answers += [
        won,
        await ask("Campaign", changed),
        await ask("Leader", election.LeaderRequest(name=b"e")),
        await ask("Proclaim", election.ProclaimRequest(leader=stale, value=b"3")),
        await ask("Proclaim", election.ProclaimRequest(leader=other, value=b"3")),
        await ask("Resign", election.ResignRequest(leader=stale)),
        await ask("Proclaim", election.ProclaimRequest(leader=won.leader, value=b"3")),
        await ask("Resign", election.ResignRequest(leader=won.leader)),
        await ask("Resign", election.ResignRequest(leader=won.leader)),
    ]
    return [system.plain(answer) for answer in answers]


async def observations(system: System) -> Any:
    async def ask(method: str, request: Any) -> Any:
        return await system.call(f"v3electionpb.Election/{method}", request)

    first, second = await system.grant("first"), await system.grant("second")
    seen: list[Any] = []

    async def see() -> None:
        async for response in system.observe(b"e"):
            seen.append(system.plain(response))

    async def until_seen(count: int) -> None:
        async with asyncio.timeout(20.0):
            while len(seen) < count:
                await asyncio.sleep(0.01)

    seeing = asyncio.ensure_future(see())
    try:
        await asyncio.sleep(QUIET_S)
        won = await ask("Campaign", election.CampaignRequest(name=b"e", lease=first, value=b"1"))
        await until_seen(1)
        await ask("Proclaim", election.ProclaimRequest(leader=won.leader, value=b"2"))
        await until_seen(2)
        request = election.CampaignRequest(name=b"e", lease=second, value=b"3")
        waiting = asyncio.ensure_future(ask("Campaign", request))
        await until_in_line(system, b"e/", 2)
        await ask("Resign", election.ResignRequest(leader=won.leader))
        await waiting
        await until_seen(3)
    finally:
        seeing.cancel()
    return [*seen, system.plain(waiting.result())]


SCENARIOS = (
    *(creations, replays, futures, headers_of_events, compactions, cancellations, filters),
    *(transactions, expirations, progress, half_closed, lock_calls, lost_locks, elections),
    observations,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_stream_sends_what_etcds_sends(addresses: Any, scenario: Scenario) -> None:
    etcds, ours = played(addresses, scenario)
    assert ours == etcds
