"""Locks and elections for asyncio: the recipes of threads, with steps that suspend.

The recipes themselves are held by test_locks.py.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from line_play import play
from watch_talk import watches

from metastore.client import ClientMisused, LeaseLost, aio

WAIT_S = 10.0


def run(cluster: Any, body: Callable[[aio.Client], Coroutine[Any, Any, Any]]) -> Any:
    play(cluster)

    async def main() -> Any:
        async with aio.Client(cluster.leader.client_address) as client, asyncio.timeout(WAIT_S):
            return await body(client)

    return asyncio.run(main())


async def eventually(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_one_coroutine_holds_a_lock_and_the_next_one_waits_for_it(cluster: Any) -> None:
    async def body(client: aio.Client) -> None:
        first, second = client.lock("jobs"), client.lock("jobs")
        async with first:
            assert first.is_held
            first.check()
            waiting = asyncio.create_task(second.acquire())
            await eventually(lambda: len(watches(cluster.leader)) == 1)
            assert watches(cluster.leader)[0].key == first.key
            token = first.fencing_token
        assert await waiting
        assert second.fencing_token > token
        await second.release()
        with pytest.raises(ClientMisused):
            await second.release()

    run(cluster, body)
    assert cluster.data == {}


def test_who_waits_for_a_lock_and_is_cancelled_leaves_the_line(cluster: Any) -> None:
    async def body(client: aio.Client) -> None:
        async with client.lock("jobs") as first:
            assert not await client.lock("jobs").acquire(timeout_s=0.02)
            assert list(cluster.data) == [first.key]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.lock("jobs").acquire(), 0.05)
            assert list(cluster.data) == [first.key]
        assert client._bridge._pending == {}

    run(cluster, body)


def test_a_lock_on_a_given_lease_lets_go_of_the_key_only(cluster: Any) -> None:
    async def body(client: aio.Client) -> None:
        async with client.lease(60, keep_alive=False) as lease:
            async with client.lock("jobs", lease=lease) as lock:
                assert cluster.data[lock.key][5] == lease.id
            assert cluster.data == {}
            assert lease.is_alive
            held = client.lock("jobs", lease=lease)
            with pytest.raises(LeaseLost):
                async with held:
                    lease._lose("it was revoked")
            with pytest.raises(KeyError):
                async with client.lock("more") as other:
                    raise KeyError(other.key)

    run(cluster, body)


def test_an_election_has_a_leader_for_all_to_see(cluster: Any) -> None:
    async def body(client: aio.Client) -> None:
        chief, other = client.election("chief"), client.election("chief")
        assert await other.leader() is None
        assert await chief.campaign("a")
        chief.check()
        seen = other.observe()
        assert (await anext(seen)).value == b"a"
        await chief.proclaim("b")
        leader = await other.leader()
        assert leader is not None
        assert (leader.value, leader.create_revision) == (b"b", chief.fencing_token)
        waiting = asyncio.create_task(other.campaign("c"))
        await eventually(lambda: len(watches(cluster.leader)) == 1)
        await chief.resign()
        assert await waiting
        assert (other.is_leader, chief.is_leader) == (True, False)
        await seen.aclose()
        await other.resign()

    run(cluster, body)
