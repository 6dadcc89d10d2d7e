"""One watch of the gateway's: opened, read, and always closed."""

import asyncio

import pytest
import watch_talk
from scripted_link import CALLER, PLAY_S, READ, cluster_of, eventually, play

from metastore.api import failures
from metastore.api.calls import ApiError
from metastore.api.link import NodeLink, WatchCompacted
from metastore.transport import watch_frames


def test_a_watch_gives_what_the_node_sends_until_it_is_closed() -> None:
    async def body(link: NodeLink) -> None:
        watch = link.open_watch(b"k", b"", 0, 0)
        await watch.open(PLAY_S)
        event = watch_talk.put(b"k", 2)
        watch_talk.tell(cluster[1], 2, event)
        batches = watch.batches()
        batch = await anext(batches)
        assert (batch.revision, [kv for kv, _ in batch.events]) == (2, [event[0]])
        watch.close()
        assert [batch async for batch in batches] == []

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_a_watch_from_before_the_compaction_says_from_where_it_can_be_had() -> None:
    async def body(link: NodeLink) -> None:
        watch = link.open_watch(b"k", b"", 1, 0)
        opening = asyncio.ensure_future(watch.open(PLAY_S))
        await eventually(lambda: bool(cluster[1].watch_frames))
        request_id = cluster[1].watch_frames[0].request_id
        cluster[1].tell(watch_frames.encode_canceled(request_id, 9))
        with pytest.raises(WatchCompacted) as caught:
            await opening
        assert caught.value.compact_revision == 9
        await eventually(lambda: watch.stream.is_closed)

    with cluster_of(1) as cluster:
        cluster[1].answers_watches = False
        play(cluster, body)


def test_a_watch_that_no_node_serves_in_time_is_closed() -> None:
    async def body(link: NodeLink) -> None:
        watch = link.open_watch(b"k", b"", 0, 0)
        with pytest.raises(ApiError) as caught:
            await watch.open(0.05)
        assert caught.value.message == failures.TIMED_OUT
        await eventually(lambda: watch.stream.is_closed)

    with cluster_of(1) as cluster:
        cluster[1].answers_watches = False
        play(cluster, body)


def test_a_watch_whose_opening_is_cancelled_is_closed() -> None:
    async def body(link: NodeLink) -> None:
        watch = link.open_watch(b"k", b"", 0, 0)
        opening = asyncio.ensure_future(watch.open(PLAY_S))
        await eventually(lambda: bool(cluster[1].watch_frames))
        opening.cancel()
        await eventually(lambda: watch.stream.is_closed)

    with cluster_of(1) as cluster:
        cluster[1].answers_watches = False
        play(cluster, body)


def test_a_watch_of_keys_too_large_for_the_node_never_leaves() -> None:
    async def body(link: NodeLink) -> None:
        await link.ask(CALLER, READ)
        with pytest.raises(ApiError) as caught:
            await link.open_watch(bytes(1 << 20), bytes(1 << 20), 0, 0).open(PLAY_S)
        assert caught.value.message == failures.TOO_LARGE
        assert cluster[1].watch_frames == []

    with cluster_of(1) as cluster:
        play(cluster, body)
