"""The asyncio client against scripted nodes: its calls, which are those of the threaded one."""

import asyncio
import inspect
import threading
from typing import Any

import pytest
from aio_running import WAIT_S, run

from metastore.client import (
    Client,
    Election,
    InvalidRequest,
    Lock,
    OutcomeUnknown,
    Unavailable,
    Watch,
    aio,
    ops,
    value,
)
from metastore.client.aio import driving
from metastore.transport import schema


@pytest.mark.parametrize(
    ("threaded", "asynchronous"),
    [(Client, aio.Client), (Watch, aio.Watch), (Lock, aio.Lock), (Election, aio.Election)],
)
def test_the_names_and_arguments_are_those_of_the_threaded_client(
    threaded: type, asynchronous: type
) -> None:
    def calls(of: type) -> dict[str, list[str]]:
        public = inspect.getmembers(of, inspect.isfunction)
        return {
            name: list(inspect.signature(function).parameters)
            for name, function in public
            if not name.startswith("_")
        }

    other = calls(asynchronous)
    differing = {name for name, names in calls(threaded).items() if other.get(name) != names}
    assert differing <= {"pipeline"}  # coroutines need none


def test_put_get_range_and_delete(cluster: Any) -> None:
    async def body(client: aio.Client) -> None:
        assert (await client.put("a", "1")).revision == 2
        await client.put("b", "2")
        found = await client.get("a")
        assert found is not None
        assert found.value == b"1"
        assert [kv.key for kv in (await client.range("a", "z")).items] == [b"a", b"b"]
        assert (await client.delete("a")).deleted == 1
        assert await client.get("a") is None
        results = await client.batch([ops.put("c", "3"), ops.get("c")])
        assert len(results) == 2
        assert (await client.delete_range("a", "z", prev_kv=True)).deleted == 2
        assert [member.node_id for member in await client.known_nodes()] == [1]
        assert (await client.status())[1]["state"] == "leader"

    run(cluster, body)


def test_what_only_a_store_can_do_is_asked_for_and_decoded(cluster: Any) -> None:
    cluster.answers.update(
        {
            schema.Op.TXN: [0, 3, True, [[0, 3, None]]],
            schema.Op.COMPACT: [0, 3],
            schema.Op.HASH: [0, 3, 99, -1, 3],
            schema.Op.ALARMS: [0, 3, [1]],
            schema.Op.LEASES: [0, 3, [5]],
            schema.Op.LEASE_TIME_TO_LIVE: [0, 3, 4, 9, [b"a"]],
        }
    )

    async def body(client: aio.Client) -> None:
        assert (await client.txn(value("a") == b"1", [ops.put("a", "2")])).succeeded
        assert await client.compact(2) == 3
        assert (await client.hash()).hash == 99
        assert await client.alarms() == (1,)
        assert await client.leases() == (5,)
        assert (await client.time_to_live(5, keys=True)).keys == (b"a",)

    run(cluster, body)


def test_a_scan_reads_in_pages(cluster: Any) -> None:
    async def body(client: aio.Client) -> None:
        await asyncio.gather(*(client.put(b"%03d" % number, b"v") for number in range(100)))
        cluster.revision = 1  # the fake reads the newest only
        found = [kv.key async for kv in client.scan("0", "1")]
        assert found == [b"%03d" % number for number in range(100)]

    run(cluster, body)
    reads = [ops for _, ops in cluster.leader.requests if ops[0][0] == schema.Op.RANGE]
    assert len(reads) > 1


def test_a_thousand_puts_at_once_share_one_connection_one_session_and_few_wake_ups(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(client: aio.Client) -> int:
        wake_ups: list[Any] = []
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(callback: Any, *arguments: Any) -> Any:
            wake_ups.append(callback)
            return wake(callback, *arguments)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        results = await asyncio.gather(*(client.put(b"%d" % n, b"v") for n in range(1000)))
        assert len({result.revision for result in results}) == 1000
        return len(wake_ups)

    assert run(cluster, body) < 1000
    assert len(cluster.data) == 1000
    assert len({header[1] for header in cluster.leader.headers}) == 1
    assert len(cluster.leader.frames_of_messages) < 200  # many requests in one message


def test_what_goes_wrong_raises_what_it_raises_in_threads(
    cluster: Any, unused_address: str
) -> None:
    async def body(client: aio.Client) -> None:
        with pytest.raises(InvalidRequest, match="key is not provided"):
            await client.put("", "1")
        with pytest.raises(InvalidRequest, match="none of"):
            await client.get("a", level="fresh")
        cluster.leader.default_act = "ignore"
        with pytest.raises(OutcomeUnknown):
            await client.put("a", "1", timeout_s=0.2)
        with pytest.raises(Unavailable):
            await client.get("a", timeout_s=0.2)

    run(cluster, body)

    async def nowhere() -> None:
        async with aio.Client(unused_address, timeout_s=0.1) as client:
            with pytest.raises(Unavailable, match=unused_address):
                await client.known_nodes()

    asyncio.run(nowhere())


def test_no_thread_remains_after_a_client_is_closed(cluster: Any) -> None:
    async def body(client: aio.Client) -> None:
        await client.get("a")
        assert driving.THREAD_NAME in {thread.name for thread in threading.enumerate()}

    run(cluster, body)
    for thread in threading.enumerate():
        if thread.name == driving.THREAD_NAME:
            thread.join(WAIT_S)
            assert not thread.is_alive()
