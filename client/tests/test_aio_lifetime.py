"""The asyncio client when things end: cancelled coroutines, closed loops, a dead thread."""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from metastore.client import ClientMisused, OutcomeUnknown, Unavailable, aio
from metastore.client.aio.bridge import Bridge
from metastore.transport import schema

WAIT_S = 10.0


def client_of(cluster: Any, **options: Any) -> aio.Client:
    return aio.Client(cluster.leader.client_address, **options)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def is_empty(bridge: Bridge) -> bool:
    """Nobody waits, on either side."""
    thread = bridge._driving
    assert thread is not None
    return not bridge._pending and not thread._calls_count and not thread._waits


def waiting_calls(client: aio.Client) -> int:
    router = client._bridge._driver._router
    connections = router.nodes.connections.values()
    return len(router.parked) + sum(len(connection.waiting) for connection in connections)


def test_a_cancelled_call_leaves_nothing_behind(cluster: Any) -> None:
    async def main() -> None:
        async with client_of(cluster, timeout_s=100) as client:
            await client.put("a", "1")
            cluster.leader.default_act = "ignore"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.put("b", "2"), 0.02)
            calls = [asyncio.create_task(client.get("c")) for _ in range(100)]
            await eventually(lambda: len(cluster.leader.requests) > 100)
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            await eventually(lambda: is_empty(client._bridge) and not waiting_calls(client))
            cluster.leader.default_act = ""
            await client.put("d", "3")  # and the session goes on: what was cancelled is answered

    asyncio.run(main())
    headers = cluster.leader.headers
    assert headers[-1][3] == headers[-1][2]  # nothing of the session is unanswered


def test_a_call_that_is_cancelled_before_it_leaves_does_not_leave(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[Any] = []

    async def main() -> None:
        async with client_of(cluster) as client:
            await client.put("a", "1")
            submit = client._bridge._driver.submit

            def recorded(calls: Any) -> None:
                submitted.extend(call.operations[0][1] for call in calls)
                submit(calls)

            monkeypatch.setattr(client._bridge._driver, "submit", recorded)
            call = asyncio.create_task(client.put("b", "2"))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            await client.put("c", "3")

    asyncio.run(main())
    assert submitted == [b"c"]


def test_a_call_that_waits_for_a_leader_is_forgotten_when_it_is_cancelled(
    make_cluster: Any,
) -> None:
    cluster = make_cluster(1, leader_id=0)

    async def main() -> None:
        async with aio.Client(cluster[1].client_address, timeout_s=100) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.put("a", "1"), 0.05)
            await eventually(lambda: is_empty(client._bridge) and not waiting_calls(client))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client._bridge.wait(lambda: False, None), 0.05)
            await eventually(lambda: is_empty(client._bridge))

    asyncio.run(main())


def test_the_thread_sleeps_while_nothing_is_under_way(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with client_of(cluster) as client:
            await client.put("a", "1")
            thread = client._bridge._driving
            assert thread is not None
            await eventually(thread._is_idle)
            turns: list[float] = []
            turn = client._bridge._driver._turn

            def counted(timeout_s: float) -> None:
                turns.append(timeout_s)
                turn(timeout_s)

            monkeypatch.setattr(client._bridge._driver, "_turn", counted)
            await asyncio.sleep(0.12)  # longer than two sweeps of a driver that is at work
            assert len(turns) <= 1
            await client.get("a")
            assert turns

    asyncio.run(main())


def test_a_client_serves_one_loop_after_the_other(cluster: Any) -> None:
    client = client_of(cluster)

    async def use() -> None:
        await client.put("a", "1")
        cluster.leader.default_act = "ignore"
        lost = asyncio.create_task(client.get("a"))
        await asyncio.sleep(0)
        assert not lost.done()  # the end of the loop cancels it
        cluster.leader.default_act = ""

    asyncio.run(use())
    asyncio.run(use())

    async def leave_one_waiting() -> None:
        cluster.leader.default_act = "ignore"
        count = len(cluster.leader.requests)
        lost.append(asyncio.create_task(client.get("a")))
        await eventually(lambda: len(cluster.leader.requests) > count)
        cluster.leader.default_act = ""

    lost: list[Any] = []
    asyncio.run(leave_one_waiting())
    thread = client._bridge._driving
    assert thread is not None
    asyncio.run(eventually(thread._is_idle))  # its end was told to a loop that is closed
    asyncio.run(use())

    async def end() -> None:
        await client.close()
        with pytest.raises(ClientMisused, match="closed"):
            await client.get("a")

    asyncio.run(end())


def test_another_loop_is_refused_while_the_first_one_lives(cluster: Any) -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    client = client_of(cluster)
    first.run_until_complete(client.put("a", "1"))
    for use in (client.get("a"), client.close()):
        with pytest.raises(ClientMisused, match="belongs to another event loop"):
            second.run_until_complete(use)
    assert first.run_until_complete(client.get("a")) is not None
    first.run_until_complete(client.close())
    first.close()
    second.close()


def test_closing_ends_who_waits_with_an_error(cluster: Any) -> None:
    cluster.leader.default_act = "ignore"

    async def main() -> None:
        client = client_of(cluster, timeout_s=100)
        async with client.watch("a") as watch:
            calls = [
                asyncio.create_task(client.get("a")),
                asyncio.create_task(client.put("a", "1")),
                asyncio.create_task(watch.get()),
            ]
            await eventually(lambda: len(cluster.leader.requests) == 2)
            await client.close()
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [Unavailable, OutcomeUnknown, Unavailable]
        await client.close()

    asyncio.run(main())


def test_a_client_that_was_never_used_can_be_closed(cluster: Any) -> None:
    asyncio.run(client_of(cluster).close())
    assert cluster.leader.hellos_count == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_death_of_the_thread_fails_every_waiting_call_and_every_later_one(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with client_of(cluster, timeout_s=100) as client:
            await client.put("a", "1")
            cluster.leader.default_act = "ignore"
            async with client.watch("a") as watch:
                calls = [
                    asyncio.create_task(client.get("a")),
                    asyncio.create_task(client.put("a", "2")),
                    asyncio.create_task(watch.get()),
                ]
                await eventually(lambda: len(cluster.leader.requests) == 3)

                def fail(*_: Any) -> None:
                    raise KeyError("surprise")

                monkeypatch.setattr(client._bridge._driver._router, "route", fail)
                ends = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(end) for end in ends] == [Unavailable, OutcomeUnknown, Unavailable]
            assert all("died of KeyError('surprise')" in str(end) for end in ends)
            with pytest.raises(Unavailable, match="died of KeyError"):
                await client.get("a")

    asyncio.run(main())


def test_waking_a_closed_driver_does_nothing(cluster: Any) -> None:
    client = client_of(cluster)
    asyncio.run(client.close())
    client._bridge._driver.wake()


def test_a_forked_process_is_refused(cluster: Any) -> None:
    async def use(client: aio.Client) -> int:
        try:
            await client.get("a")
        except ClientMisused:
            return 0
        return 1

    async def main() -> None:
        async with client_of(cluster) as client:
            await client.put("a", "1")
            client._bridge._driver._process_id = os.getpid() + 1
            assert await use(client) == 0
            client._bridge._driver._process_id = os.getpid()

    asyncio.run(main())


def test_a_burst_is_taken_in_whole_and_the_loop_is_never_held_up(cluster: Any) -> None:
    """Scenario H4: nothing waits on a file descriptor that ZeroMQ tells only once."""

    async def main() -> None:
        async with client_of(cluster, timeout_s=60) as client:
            cluster.data[b"a"] = (b"a", b"1", 1, 1, 1, 0)
            threads = threading.active_count()
            for _ in range(5):
                await asyncio.gather(*(client.get("a") for _ in range(2000)))
            assert threading.active_count() <= threads + 1
            await eventually(lambda: is_empty(client._bridge))

    asyncio.run(main())
    reads = [ops for _, ops in cluster.leader.requests if ops[0][0] == schema.Op.RANGE]
    assert len(reads) >= 10_000  # a node that was slow for a second may have been asked again
