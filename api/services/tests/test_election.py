"""Elections: who leads, who is told, and what a candidate leaves behind."""

import asyncio
from typing import Any

import pytest
from line_link import CALLER, LineLink, cancelled, eventually, play

from metastore.api.calls import ApiError, Status
from metastore.api.failures import WatchCompacted
from metastore.api.protocol.messages import election
from metastore.api.services.election import Election
from metastore.transport import schema


def standing(service: Election, lease: int, value: bytes = b"v") -> "asyncio.Future[Any]":
    request = election.CampaignRequest(name=b"e", lease=lease, value=value)
    return asyncio.ensure_future(service.campaign(request, CALLER))


async def leading(service: Election) -> bytes:
    found = await service.leader(election.LeaderRequest(name=b"e"), CALLER)
    return bytes(found.kv.value)


def test_candidates_lead_one_after_the_other() -> None:
    async def body(link: LineLink, service: Election) -> None:
        link.lease(7), link.lease(8)
        first = await standing(service, 7, b"first")
        second = standing(service, 8, b"second")
        await eventually(lambda: len(link.watches) == 2)
        assert await leading(service) == b"first"
        await service.resign(election.ResignRequest(leader=first.leader), CALLER)
        won = await second
        assert (won.leader.key, won.leader.lease, won.leader.name) == (b"e/8", 8, b"e")
        assert await leading(service) == b"second"

    play(Election, body)


def test_a_candidate_that_stands_again_with_another_value_proclaims_it() -> None:
    async def body(link: LineLink, service: Election) -> None:
        link.lease(7)
        first = await standing(service, 7, b"1")
        again = await standing(service, 7, b"2")
        assert again.leader == first.leader
        assert await leading(service) == b"2"

    play(Election, body)


def test_a_candidate_that_gives_up_leaves_the_line() -> None:
    async def body(link: LineLink, service: Election) -> None:
        link.lease(7), link.lease(8)
        await standing(service, 7)
        waiting = standing(service, 8)
        await eventually(lambda: len(link.watches) == 2)
        await cancelled(waiting)
        await eventually(lambda: link.keys() == [b"e/7"])
        link.slow_txns = asyncio.Event()
        early = standing(service, 8)
        await eventually(lambda: len(link.keys()) == 2)
        await cancelled(early)
        link.slow_txns.set()
        await eventually(lambda: link.keys() == [b"e/7"])

    play(Election, body)


def test_a_candidate_whose_lease_ends_is_not_elected() -> None:
    """etcd's would be told that it leads, once those before it are gone."""

    async def body(link: LineLink, service: Election) -> None:
        link.lease(7), link.lease(8)
        await standing(service, 7)
        waiting = standing(service, 8)
        await eventually(lambda: len(link.watches) == 2)
        link.revoke(8)
        with pytest.raises(ApiError, match="election: not leader") as caught:
            await waiting
        assert caught.value.code is Status.UNKNOWN

    play(Election, body)


def test_a_leader_that_was_replaced_cannot_proclaim() -> None:
    async def body(link: LineLink, service: Election) -> None:
        link.lease(7)
        old = (await standing(service, 7)).leader
        link.apply(schema.delete_range(old.key))
        new = (await standing(service, 7, b"new")).leader
        assert new.key == old.key
        request = election.ProclaimRequest(leader=old, value=b"old")
        with pytest.raises(ApiError, match="election: not leader"):
            await service.proclaim(request, CALLER)
        await service.resign(election.ResignRequest(leader=old), CALLER)  # nothing happens
        assert await leading(service) == b"new"

    play(Election, body)


class Spectator:
    def __init__(self, service: Election) -> None:
        self.seen: list[tuple[bytes, int]] = []
        self._responses = service.observe(election.LeaderRequest(name=b"e"), CALLER)
        self._task = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        async for response in self._responses:
            self.seen.append((response.kv.value, response.header.revision))

    @property
    def values(self) -> list[bytes]:
        return [value for value, _ in self.seen]

    async def close(self) -> None:
        await cancelled(self._task)


def test_a_spectator_sees_every_leader_and_what_they_say() -> None:
    async def body(link: LineLink, service: Election) -> None:
        link.lease(7), link.lease(8)
        spectator = Spectator(service)
        await eventually(lambda: len(link.watches) == 1)
        leader = (await standing(service, 7, b"1")).leader
        await eventually(lambda: spectator.values == [b"1"])
        await service.proclaim(election.ProclaimRequest(leader=leader, value=b"2"), CALLER)
        await eventually(lambda: spectator.values == [b"1", b"2"])
        waiting = standing(service, 8, b"3")
        await service.resign(election.ResignRequest(leader=leader), CALLER)
        await waiting
        await eventually(lambda: spectator.values == [b"1", b"2", b"3"])
        link.revoke(8)
        await standing(service, 7, b"4")
        await eventually(lambda: spectator.values[3:] == [b"4"])
        revisions = [revision for _, revision in spectator.seen]
        assert revisions == sorted(revisions)
        await spectator.close()

    play(Election, body)


def test_a_spectator_goes_on_after_a_compaction() -> None:
    async def body(link: LineLink, service: Election) -> None:
        link.lease(7)
        await standing(service, 7, b"1")
        spectator = Spectator(service)
        await eventually(lambda: len(link.watches) == 1)
        link.watches[0].fail(WatchCompacted(9))
        await eventually(lambda: spectator.values == [b"1", b"1"])
        await spectator.close()

    play(Election, body)


def test_a_spectator_is_told_why_it_sees_nothing_any_more() -> None:
    async def body(link: LineLink, service: Election) -> None:
        responses = service.observe(election.LeaderRequest(name=b"e"), CALLER)
        first = asyncio.ensure_future(anext(responses))  # type: ignore[arg-type]
        await eventually(lambda: len(link.watches) == 1)
        link.watches[0].fail(ApiError(Status.UNAVAILABLE, "etcdserver: server stopped"))
        with pytest.raises(ApiError, match="server stopped"):
            await first

    play(Election, body)


def test_what_a_request_lacks_is_said() -> None:
    async def body(_link: LineLink, service: Election) -> None:
        for leader, text in ((None, '"leader" field must'), (election.LeaderKey(), "key is not")):
            for call in (
                service.proclaim(election.ProclaimRequest(leader=leader), CALLER),
                service.resign(election.ResignRequest(leader=leader), CALLER),
            ):
                with pytest.raises(ApiError, match=text) as caught:
                    await call
                assert caught.value.code is Status.UNKNOWN
        with pytest.raises(ApiError, match="election: no leader"):
            await leading(service)

    play(Election, body)
