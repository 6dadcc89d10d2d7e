"""The asyncio client against three real nodes, whose leader is killed under it."""

import asyncio
from collections.abc import Callable

import pytest
from node_processes import NodeProcesses

from metastore.client import aio

PUTS_COUNT = 600
TTL_S = 5
BURST_COUNT = 20_000
ROUND_TRIPS = 500  # of somebody else, while nothing of a burst arrives: then it has stalled

pytestmark = pytest.mark.timeout(120)


def test_puts_are_carried_out_once_and_watched_once_while_the_leader_is_killed(
    cluster: NodeProcesses,
) -> None:
    leader = cluster.leader()

    async def write(client: aio.Client, number: int) -> None:
        await client.put(b"keys/%04d" % number, b"v", timeout_s=60)
        if number == PUTS_COUNT // 3:
            await asyncio.to_thread(cluster.kill, leader)

    async def main() -> tuple[list[bytes], set[int]]:
        async with aio.Client(cluster.endpoints) as client:
            seen: list[bytes] = []
            async with client.watch("keys/", prefix=True, timeout_s=30) as watch:
                await asyncio.gather(*(write(client, number) for number in range(PUTS_COUNT)))
                while len(seen) < PUTS_COUNT:
                    seen.append((await anext(watch)).item.key)
                assert await watch.get(0.2) is None
            return seen, {kv.version async for kv in client.scan("keys/", "keys0")}

    seen, versions = asyncio.run(main())
    assert len(set(seen)) == PUTS_COUNT
    assert versions == {1}


def test_many_coroutines_count_under_one_lock(cluster: NodeProcesses) -> None:
    async def increment(client: aio.Client) -> None:
        async with client.lock("counter", ttl_s=TTL_S) as lock:
            found = await client.get("count")
            await client.put("count", str(int(found.value) + 1 if found else 1))
            lock.check()

    async def main() -> None:
        async with aio.Client(cluster.endpoints, timeout_s=30) as client:
            await asyncio.gather(*(increment(client) for _ in range(10)))
            found = await client.get("count")
            assert found is not None
            assert found.value == b"10"
            assert await client.leases() == ()

    asyncio.run(main())


def test_cancelled_waiters_leave_neither_keys_nor_leases(cluster: NodeProcesses) -> None:
    async def main() -> None:
        async with aio.Client(cluster.endpoints, timeout_s=30) as client:
            async with client.lock("jobs", ttl_s=TTL_S) as first:
                waiters = [asyncio.create_task(client.lock("jobs").acquire()) for _ in range(5)]
                while (await client.range("jobs/", "jobs0", count_only=True)).count < 6:
                    await asyncio.sleep(0.01)
                for waiter in waiters:
                    waiter.cancel()
                await asyncio.wait(waiters)
                assert [kv.key for kv in (await client.range("jobs/", "jobs0")).items] == [
                    first.key
                ]
            assert await client.leases() == ()

    asyncio.run(main())


def test_the_leader_of_an_election_is_followed_to_the_next(cluster: NodeProcesses) -> None:
    async def main() -> None:
        async with aio.Client(cluster.endpoints, timeout_s=30) as client:
            first, second = client.election("chief"), client.election("chief")
            assert await first.campaign("a")
            seen = client.election("chief").observe()
            assert (await anext(seen)).value == b"a"
            waiting = asyncio.create_task(second.campaign("b"))
            await first.resign()
            assert await waiting
            assert (await anext(seen)).value == b"b"
            await seen.aclose()
            await second.resign()

    asyncio.run(main())


def test_a_burst_into_a_node_is_answered_in_whole_and_never_stalls(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    """H4: the turns of another client are the clock, so that a slow machine is no stall."""
    cluster = make_cluster(1)
    cluster.start()
    answered = 0

    async def one(client: aio.Client, number: int) -> None:
        nonlocal answered
        if number % 4:
            await client.get("a")
        else:
            await client.put(b"b/%d" % (number % 100), b"v")
        answered += 1

    async def main() -> None:
        async with aio.Client(cluster.endpoints, timeout_s=60) as client:
            with cluster.client(timeout_s=60) as other:

                def turn() -> None:
                    for _ in range(ROUND_TRIPS):
                        other.get("a")

                burst = asyncio.gather(*(one(client, number) for number in range(BURST_COUNT)))
                while not burst.done():
                    before = answered
                    await asyncio.to_thread(turn)
                    assert answered > before or burst.done(), f"stalled after {before} answers"
                await burst

    asyncio.run(main())
    assert answered == BURST_COUNT
