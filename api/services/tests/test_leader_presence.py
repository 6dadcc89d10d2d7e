"""Streams that require a leader: they end, all together, when the node has none."""

import asyncio
from typing import Any

import pytest
from watch_link import Reader, WatchLink, play

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.services.leader_presence import LeaderPresence
from metastore.api.services.watch import Watch

PLAY_S = 20.0
NO_LEADER = "etcdserver: no leader"


def look(body: Any) -> None:
    async def main() -> None:
        link: Any = WatchLink()
        async with asyncio.timeout(PLAY_S):
            await body(link, LeaderPresence(link, interval_s=0.001))

    asyncio.run(main())


async def looks(link: WatchLink, count: int) -> None:
    wanted = link.looks_count + count
    while link.looks_count < wanted:
        await asyncio.sleep(0)


def test_a_stream_that_requires_a_leader_does_not_begin_without_one() -> None:
    async def body(reader: Reader) -> None:
        reader.link.leader_id = 0
        with pytest.raises(ApiError, match=NO_LEADER) as caught:
            await reader.next()
        assert caught.value.code is Status.UNAVAILABLE

    play(body, requires_leader=True)


def test_others_do_not_even_ask() -> None:
    async def body(reader: Reader) -> None:
        reader.link.leader_id = 0
        await reader.created()

    assert play(body).looks_count == 0


def test_a_stream_ends_when_its_node_has_had_no_leader_for_a_while() -> None:
    async def body(link: Any, presence: LeaderPresence) -> None:
        service = Watch(link, presence=presence)
        reader = Reader(link, service, Caller(requires_leader=True))
        await reader.created()
        await looks(link, 2)
        link.leader_id = 0
        with pytest.raises(ApiError, match=NO_LEADER):
            await reader.next()
        assert link.watches[0].is_closed

    look(body)


def test_one_election_is_survived() -> None:
    async def body(link: Any, presence: LeaderPresence) -> None:
        lost: list[ApiError] = []
        presence.follow(lost.append)
        for _ in range(3):
            link.leader_id = 0
            await looks(link, 2)
            link.leader_id = 1
            await looks(link, 1)
        assert lost == []
        presence.unfollow(lost.append)

    look(body)


@pytest.mark.parametrize("answers", [True, False])
def test_all_are_told_once_by_one_series_of_looks(answers: bool) -> None:
    """A node that does not answer has no leader, either."""

    async def body(link: Any, presence: LeaderPresence) -> None:
        if answers:
            link.leader_id = 0
        else:
            link.status_error = ApiError(Status.UNAVAILABLE, "etcdserver: request timed out")
        lost: list[list[ApiError]] = [[], [], []]
        followers = [found.append for found in lost]
        for follower in followers:
            presence.follow(follower)
        while not all(lost):
            await asyncio.sleep(0)
        assert [[error.message for error in found] for found in lost] == [[NO_LEADER]] * 3
        assert link.looks_count == 3
        presence.unfollow(followers[0])  # nothing happens
        presence.follow(followers[0])  # and the looking begins anew
        await looks(link, 1)
        presence.unfollow(followers[0])

    look(body)


def test_nobody_looks_when_nobody_follows() -> None:
    async def body(link: Any, presence: LeaderPresence) -> None:
        lost: list[ApiError] = []
        presence.follow(lost.append)
        await looks(link, 1)
        presence.unfollow(lost.append)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    look(body)
