"""What is played against a real etcd and against ours, of locks and elections; see
test_etcd_watch.py."""

import asyncio
from typing import Any

from watch_systems import QUIET_S, System

from metastore.api.protocol.messages import election, lock, rpc


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


LINES = (lock_calls, lost_locks, elections, observations)
