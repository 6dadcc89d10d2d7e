"""The asyncio client against scripted nodes: its calls, its watches, locks and elections."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from metastore.client import (
    Client,
    Compacted,
    Election,
    InvalidRequest,
    LeaseLost,
    Lock,
    OutcomeUnknown,
    Unavailable,
    Watch,
    aio,
    ops,
    value,
)
from metastore.client.aio import driving
from metastore.transport import schema, watch_frames

WAIT_S = 10.0


def run(
    cluster: Any, body: Callable[[aio.Client], Coroutine[Any, Any, Any]], **options: Any
) -> Any:
    """The body with a client of its own, in a loop of its own."""

    async def main() -> Any:
        async with aio.Client(cluster.leader.client_address, **options) as client:
            return await body(client)

    return asyncio.run(main())


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def watches(node: Any) -> list[watch_frames.Watch]:
    return [frame for frame in node.watch_frames if isinstance(frame, watch_frames.Watch)]


def tell(node: Any, revision: int, *keys: bytes) -> None:
    """Puts of one revision, to the watch made last."""
    events = [((key, b"v", revision, revision, 1, 0), None) for key in keys]
    data = watch_frames.encode_event_list(events)
    node.tell(watch_frames.encode_events(watches(node)[-1].request_id, revision, data))


def plays_leases(cluster: Any) -> list[tuple[str, int]]:
    """Lets the cluster grant leases of 60 s; what happens to them."""
    seen: list[tuple[str, int]] = []

    def grant(operation: Any) -> Any:
        seen.append(("grant", operation[1]))
        return [0, 1, operation[1], 60]

    def revoke(operation: Any) -> Any:
        seen.append(("revoke", operation[1]))
        for key in [key for key, kv in cluster.data.items() if kv[5] == operation[1]]:
            del cluster.data[key]
        return [0, 1]

    cluster.answers[schema.Op.LEASE_GRANT] = grant
    cluster.answers[schema.Op.LEASE_REVOKE] = revoke
    cluster.answers[schema.Op.LEASE_KEEP_ALIVE] = [0, 1, 60]
    return seen


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
        assert [member.node_id for member in await client.members()] == [1]
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
                await client.members()

    asyncio.run(nowhere())


def test_a_watch_yields_events_and_ends_when_it_is_closed(cluster: Any) -> None:
    node = cluster.leader

    async def body(client: aio.Client) -> None:
        watch = client.watch("a", "z")
        seen: list[bytes] = []

        async def read() -> None:
            async for event in watch:
                seen.append(event.item.key)

        reader = asyncio.create_task(read())
        await eventually(lambda: len(watches(node)) == 1)
        tell(node, 2, b"b", b"c")
        await eventually(lambda: seen == [b"b", b"c"])
        assert watch.revision == 2
        await watch.close()
        await watch.close()
        async with asyncio.timeout(WAIT_S):
            await reader
        await eventually(lambda: isinstance(node.watch_frames[-1], watch_frames.Cancel))

    run(cluster, body)


def test_a_watch_goes_on_after_a_broken_connection_and_tells_revisions(cluster: Any) -> None:
    node = cluster.leader

    async def body(client: aio.Client) -> None:
        async with client.watch("a", "z", progress=True) as watch:
            revisions = watch.revisions()
            tell(node, 2, b"b", b"c")
            first = await anext(revisions)
            assert (first.revision, len(first.events)) == (2, 2)
            node.break_connections()
            await eventually(lambda: len(watches(node)) == 2)
            assert watches(node)[1].start_revision == 3
            await watch.ask_progress()
            await eventually(
                lambda: isinstance(node.watch_frames[-1], watch_frames.ProgressRequest)
            )
            node.tell(watch_frames.encode_events(watches(node)[1].request_id, 7, b""))
            assert (await anext(revisions)).revision == 7

    run(cluster, body)


def test_a_cancelled_reader_loses_no_event(cluster: Any) -> None:
    node = cluster.leader

    async def body(client: aio.Client) -> None:
        async with client.watch("a", "z") as watch:
            reader = asyncio.create_task(watch.get())
            await asyncio.sleep(0)
            reader.cancel()
            assert await watch.get(0.0) is None
            tell(node, 2, b"b", b"c")
            found = [await watch.get(WAIT_S) for _ in range(2)]
            assert [event.item.key for event in found if event] == [b"b", b"c"]

    run(cluster, body)


def test_who_has_no_patience_finds_what_has_arrived(cluster: Any) -> None:
    node = cluster.leader

    async def body(client: aio.Client) -> None:
        async with client.watch("a") as watch:
            assert await watch.get(0.0) is None
            tell(node, 2, b"a")
            await eventually(lambda: bool(watch._arrived))
            event = await watch.get(0.0)
            assert event is not None
            assert event.item.mod_revision == 2

    run(cluster, body)


def test_a_watch_fetches_one_batch_ahead(cluster: Any) -> None:
    node = cluster.leader

    async def body(client: aio.Client) -> None:
        async with client.watch("a") as watch:
            tell(node, 2, b"a")
            await eventually(lambda: bool(watch._arrived))

    run(cluster, body)


def test_a_compacted_watch_says_so_after_what_had_arrived(cluster: Any) -> None:
    node = cluster.leader

    async def body(client: aio.Client) -> None:
        async with client.watch("a", start_revision=3) as watch:
            tell(node, 4, b"a")
            tell(node, 5, b"a")
            node.tell(watch_frames.encode_canceled(watches(node)[-1].request_id, 9, "compacted"))
            await eventually(lambda: watch._stream.error is not None)
            assert [(await anext(watch)).item.mod_revision for _ in range(2)] == [4, 5]
            for _ in range(2):
                with pytest.raises(Compacted, match="9"):
                    await watch.get(WAIT_S)

    run(cluster, body)


def test_a_watch_that_nobody_accepts_is_unavailable_and_withdrawn(cluster: Any) -> None:
    node = cluster.leader
    node.answers_watches = False

    async def body(client: aio.Client) -> None:
        with pytest.raises(Unavailable, match="no node serves the watch"):
            await anext(client.watch("a", timeout_s=0.1))
        await eventually(lambda: isinstance(node.watch_frames[-1], watch_frames.Cancel))

    run(cluster, body)


def test_a_watch_that_is_only_dropped_is_closed(cluster: Any) -> None:
    node = cluster.leader

    async def body(client: aio.Client) -> None:
        async def take_one() -> None:
            async for _ in client.watch("a", "z"):
                break

        reader = asyncio.create_task(take_one())
        await eventually(lambda: len(watches(node)) == 1)
        tell(node, 2, b"b")
        await reader
        del reader
        await eventually(lambda: isinstance(node.watch_frames[-1], watch_frames.Cancel))

    run(cluster, body)


def test_a_lease_is_granted_renewed_and_revoked(cluster: Any) -> None:
    seen = plays_leases(cluster)

    async def body(client: aio.Client) -> None:
        async with client.lease(5) as lease:
            assert (lease.ttl_s, lease.is_alive) == (60, True)
            assert await lease.keep_alive_once() == 60
            await client.put("a", "1", lease=lease)
        with pytest.raises(LeaseLost):
            lease.check()
        assert seen == [("grant", lease.id), ("revoke", lease.id)]
        other = await client.lease(5, 77, keep_alive=False)
        assert other.id == 77
        await other.revoke()

    run(cluster, body)
    assert cluster.data == {}


def test_a_lease_is_kept_alive_by_a_task_and_lost_when_that_dies(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays_leases(cluster)
    renewed: list[Any] = []

    def renew(operation: Any) -> Any:
        renewed.append(operation)
        return [0, 1, 60]

    cluster.answers[schema.Op.LEASE_KEEP_ALIVE] = renew

    async def body(client: aio.Client) -> None:
        monkeypatch.setattr(aio.Lease, "_pause_s", 0.001)
        async with client.lease(5) as lease:
            await eventually(lambda: len(renewed) > 1)
            cluster.answers[schema.Op.LEASE_KEEP_ALIVE] = [0, 1, 0]
            await eventually(lambda: not lease.is_alive)
            with pytest.raises(LeaseLost, match="the cluster has ended it"):
                lease.check()
        async with client.lease(5, keep_alive=False) as lease:
            monkeypatch.setattr(lease, "_renewed", lambda call: 1 / 0)
            lease.keep_alive()
            await eventually(lambda: not lease.is_alive)
            with pytest.raises(LeaseLost, match="ZeroDivisionError"):
                lease.check()

    run(cluster, body)


def test_a_cancelled_grant_leaves_no_lease(cluster: Any) -> None:
    seen = plays_leases(cluster)
    cluster.leader.script.append("hold")

    async def body(client: aio.Client) -> None:
        granting = asyncio.ensure_future(client._grant(5, 0, True, None))
        await eventually(lambda: len(cluster.leader.held) == 1)
        granting.cancel()
        cluster.leader.release()
        await eventually(lambda: len(seen) == 2)
        assert len({lease for _, lease in seen}) == 1

    run(cluster, body)


def test_no_thread_remains_after_a_client_is_closed(cluster: Any) -> None:
    async def body(client: aio.Client) -> None:
        await client.get("a")
        assert driving.THREAD_NAME in {thread.name for thread in threading.enumerate()}

    run(cluster, body)
    for thread in threading.enumerate():
        if thread.name == driving.THREAD_NAME:
            thread.join(WAIT_S)
            assert not thread.is_alive()
