"""Watches for asyncio: events in order, none lost, whoever is cancelled or drops one."""

import asyncio
from typing import Any

import pytest
from aio_running import WAIT_S, eventually, run
from watch_talk import put, tell, watches

from metastore.client import Compacted, Unavailable, aio
from metastore.transport import watch_frames


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
        tell(node, 2, put(b"b", 2), put(b"c", 2))
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
            tell(node, 2, put(b"b", 2), put(b"c", 2))
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
            tell(node, 2, put(b"b", 2), put(b"c", 2))
            found = [await watch.get(WAIT_S) for _ in range(2)]
            assert [event.item.key for event in found if event] == [b"b", b"c"]

    run(cluster, body)


def test_who_has_no_patience_finds_what_has_arrived(cluster: Any) -> None:
    node = cluster.leader

    async def body(client: aio.Client) -> None:
        async with client.watch("a") as watch:
            assert await watch.get(0.0) is None
            tell(node, 2, put(b"a", 2))
            await eventually(lambda: bool(watch._arrived))
            event = await watch.get(0.0)
            assert event is not None
            assert event.item.mod_revision == 2

    run(cluster, body)


def test_a_watch_fetches_one_batch_ahead(cluster: Any) -> None:
    node = cluster.leader

    async def body(client: aio.Client) -> None:
        async with client.watch("a") as watch:
            tell(node, 2, put(b"a", 2))
            await eventually(lambda: bool(watch._arrived))

    run(cluster, body)


def test_a_compacted_watch_says_so_after_what_had_arrived(cluster: Any) -> None:
    node = cluster.leader

    async def body(client: aio.Client) -> None:
        async with client.watch("a", start_revision=3) as watch:
            tell(node, 4, put(b"a", 4))
            tell(node, 5, put(b"a", 5))
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
        tell(node, 2, put(b"b", 2))
        await reader
        del reader
        await eventually(lambda: isinstance(node.watch_frames[-1], watch_frames.Cancel))

    run(cluster, body)
