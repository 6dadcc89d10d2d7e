"""Watches that tell of their news by themselves: what they hold, and what closes them."""

from typing import Any

import pytest
import watch_talk
from scripted_link import cluster_of, eventually, play

from metastore.api import failures
from metastore.api.calls import ApiError, Caller
from metastore.api.followed_watch import FollowedWatch
from metastore.api.link import NodeLink, WatchCompacted
from metastore.client.streams import CREDIT_FRAMES
from metastore.transport import member_ops, schema, watch_frames


class Follower:
    """Counts the news of one watch."""

    def __init__(self, link: NodeLink, key: bytes = b"k") -> None:
        self.news_count = 0
        self.watch: FollowedWatch = link.follow_watch(key, b"", 0, 0, self._on_news)

    def _on_news(self) -> None:
        self.news_count += 1

    @property
    def is_accepted(self) -> bool:
        return self.watch.is_accepted and self.news_count > 0


async def following(link: NodeLink, key: bytes = b"k") -> Follower:
    follower = Follower(link, key)
    await eventually(lambda: follower.is_accepted)
    return follower


def frames(cluster: Any, kind: type[Any]) -> list[Any]:
    return [frame for frame in cluster[1].watch_frames if isinstance(frame, kind)]


def test_what_comes_is_told_without_anybody_asking() -> None:
    async def body(link: NodeLink) -> None:
        follower = await following(link)
        told = follower.news_count
        watch_talk.tell(cluster[1], 3, watch_talk.put(b"k", 3))
        await eventually(lambda: follower.news_count > told)
        assert [batch.revision for batch in follower.watch.waiting] == [3]
        assert follower.watch.take().revision == 3
        assert not follower.watch.waiting

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_what_is_not_taken_is_not_made_room_for_and_what_is_taken_is() -> None:
    async def body(link: NodeLink) -> None:
        follower = await following(link)
        assert frames(cluster, watch_frames.Watch)[0].credit == CREDIT_FRAMES
        for number in range(CREDIT_FRAMES):
            watch_talk.tell(cluster[1], 3 + number, watch_talk.put(b"k", 3 + number))
        await eventually(lambda: len(follower.watch.waiting) == CREDIT_FRAMES)
        for _ in range(CREDIT_FRAMES // 2 - 1):
            follower.watch.take()
        assert frames(cluster, watch_frames.Credit) == []
        follower.watch.take()
        await eventually(lambda: bool(frames(cluster, watch_frames.Credit)))
        assert frames(cluster, watch_frames.Credit)[0].credit == CREDIT_FRAMES // 2

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_what_waits_here_counts_also_on_the_next_connection() -> None:
    async def body(link: NodeLink) -> None:
        follower = await following(link)
        for number in range(5):
            watch_talk.tell(cluster[1], 3 + number, watch_talk.put(b"k", 3 + number))
        await eventually(lambda: len(follower.watch.waiting) == 5)
        cluster[1].break_connections()
        await eventually(lambda: len(frames(cluster, watch_frames.Watch)) == 2)
        again = frames(cluster, watch_frames.Watch)[1]
        assert (again.start_revision, again.credit) == (8, CREDIT_FRAMES - 5)

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_the_end_comes_after_all_that_was_before_it() -> None:
    async def body(link: NodeLink) -> None:
        follower = await following(link)
        watch_talk.tell(cluster[1], 3, watch_talk.put(b"k", 3))
        request_id = frames(cluster, watch_frames.Watch)[0].request_id
        cluster[1].tell(watch_frames.encode_canceled(request_id, 9))
        await eventually(lambda: follower.watch._error is not None)
        assert follower.watch.error is None
        follower.watch.take()
        error: ApiError | None = follower.watch.error
        assert isinstance(error, WatchCompacted)
        assert error.compact_revision == 9

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_many_are_closed_at_once_and_tell_nothing_any_more() -> None:
    async def body(link: NodeLink) -> None:
        followers = [await following(link, b"%d" % number) for number in range(3)]
        link.close_watches([follower.watch for follower in followers[:2]])
        await eventually(lambda: len(frames(cluster, watch_frames.Cancel)) == 2)
        told = [follower.news_count for follower in followers]
        for number, frame in enumerate(frames(cluster, watch_frames.Watch)):
            data = watch_frames.encode_event_list([watch_talk.put(b"%d" % number, 3)])
            cluster[1].tell(watch_frames.encode_events(frame.request_id, 3, data))
        await eventually(lambda: bool(followers[2].watch.waiting))
        assert [follower.news_count for follower in followers[:2]] == told[:2]

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_a_sign_of_progress_is_shown_to_who_asked_and_once() -> None:
    async def body(link: NodeLink) -> None:
        follower = await following(link)
        watch_talk.tell(cluster[1], 3)  # nobody has asked for it
        watch_talk.tell(cluster[1], 4, watch_talk.put(b"k", 4))
        await eventually(lambda: bool(follower.watch.waiting))
        link.ask_progress([follower.watch])
        await eventually(lambda: bool(frames(cluster, watch_frames.ProgressRequest)))
        watch_talk.tell(cluster[1], 5)
        watch_talk.tell(cluster[1], 6)
        watch_talk.tell(cluster[1], 7, watch_talk.put(b"k", 7))
        await eventually(lambda: len(follower.watch.waiting) == 3)
        assert [batch.revision for batch in follower.watch.waiting] == [4, 5, 7]

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_watches_of_the_same_events_share_them() -> None:
    async def body(link: NodeLink) -> None:
        followers = [await following(link) for _ in range(2)]
        data = watch_frames.encode_event_list([watch_talk.put(b"k", 3)])
        for frame in frames(cluster, watch_frames.Watch):
            cluster[1].tell(watch_frames.encode_events(frame.request_id, 3, data))
        await eventually(lambda: all(follower.watch.waiting for follower in followers))
        first, second = [follower.watch.take().events for follower in followers]
        assert first is second

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_a_link_that_is_closed_tells_its_watches() -> None:
    async def body(link: NodeLink) -> None:
        follower = await following(link)
        await link.close()
        assert follower.watch.error is not None
        with pytest.raises(ApiError, match=failures.STOPPED):
            Follower(link)
        link.ask_progress([follower.watch])  # nothing happens
        link.close_watches([follower.watch])

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_a_watch_of_keys_too_large_for_the_node_never_leaves() -> None:
    async def body(link: NodeLink) -> None:
        with pytest.raises(ApiError, match=failures.TOO_LARGE):
            Follower(link, bytes(2 << 20))
        await following(link)
        assert len(frames(cluster, watch_frames.Watch)) == 1

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_the_link_knows_the_newest_revision_that_it_was_told() -> None:
    async def body(link: NodeLink) -> None:
        caller = Caller()
        told = await link.ask(caller, schema.put(b"k", b"v"))
        assert link.revision == told[1]
        await link.ask(caller, (member_ops.MEMBERS,))  # says who leads where others say a revision
        assert link.revision == told[1]

    with cluster_of(3, leader_id=3) as cluster:
        play(cluster, body, node_id=3)
