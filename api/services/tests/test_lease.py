"""The Lease service against the real state machine, and what becomes of many keep-alives."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from engine_link import CALLER, EngineLink, header, play

from metastore.api.calls import ApiError, Status
from metastore.api.protocol.messages import rpc
from metastore.api.services import lease as lease_module
from metastore.api.services import renewals
from metastore.api.services.lease import CHOSEN_MIN, Lease
from metastore.transport import schema
from metastore.transport.schema import Op


async def requests_of(*leases: int) -> AsyncIterator[Any]:
    for lease in leases:
        yield rpc.LeaseKeepAliveRequest(ID=lease)


async def eventually(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_a_lease_is_granted_under_the_id_that_was_given() -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        reply = await service.lease_grant(rpc.LeaseGrantRequest(ID=7, TTL=60), CALLER)
        assert reply == rpc.LeaseGrantResponse(header=header(1), ID=7, TTL=60)
        with pytest.raises(ApiError) as caught:
            await service.lease_grant(rpc.LeaseGrantRequest(ID=7, TTL=60), CALLER)
        assert caught.value.message == schema.LEASE_EXISTS

    play(Lease, body)


@pytest.mark.parametrize("ttl_s", [-3, 0, 1])
def test_a_short_time_to_live_is_raised(ttl_s: int) -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        reply = await service.lease_grant(rpc.LeaseGrantRequest(ID=7, TTL=ttl_s), CALLER)
        assert reply.TTL == 2

    play(Lease, body)


def test_an_id_that_is_left_to_us_is_large_and_never_the_same() -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        replies = [
            await service.lease_grant(rpc.LeaseGrantRequest(TTL=60), CALLER) for _ in range(50)
        ]
        ids = {reply.ID for reply in replies}
        assert len(ids) == 50
        assert min(ids) >= CHOSEN_MIN

    play(Lease, body)


def test_another_id_is_chosen_when_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter((5, 5, 6))
    monkeypatch.setattr(lease_module.secrets, "randbelow", lambda _: next(drawn))

    async def body(link: EngineLink, service: Lease) -> None:
        for number in (5, 6):
            reply = await service.lease_grant(rpc.LeaseGrantRequest(TTL=60), CALLER)
            assert CHOSEN_MIN + number == reply.ID

    play(Lease, body)


def test_a_choice_does_not_hide_another_error() -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        with pytest.raises(ApiError) as caught:
            await service.lease_grant(rpc.LeaseGrantRequest(TTL=9_000_000_001), CALLER)
        assert caught.value.message == schema.LEASE_TTL_TOO_LARGE

    play(Lease, body)


def test_a_lease_tells_its_time_and_keys_and_an_unknown_one_that_it_is_none() -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        link.apply((Op.LEASE_GRANT, 7, 60))
        link.apply(schema.put(b"k", b"", lease=7))
        request = rpc.LeaseTimeToLiveRequest(ID=7, keys=True)
        assert await service.lease_time_to_live(request, CALLER) == rpc.LeaseTimeToLiveResponse(
            header=header(2), ID=7, TTL=60, grantedTTL=60, keys=[b"k"]
        )
        unknown = rpc.LeaseTimeToLiveRequest(ID=8)
        assert await service.lease_time_to_live(unknown, CALLER) == rpc.LeaseTimeToLiveResponse(
            header=header(2), ID=8, TTL=-1
        )

    play(Lease, body)


def test_leases_are_listed_and_revoked() -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        for lease in (7, 8):
            link.apply((Op.LEASE_GRANT, lease, 60))
        assert await service.lease_revoke(
            rpc.LeaseRevokeRequest(ID=7), CALLER
        ) == rpc.LeaseRevokeResponse(header=header(1))
        assert await service.lease_leases(
            rpc.LeaseLeasesRequest(), CALLER
        ) == rpc.LeaseLeasesResponse(header=header(1), leases=[rpc.LeaseStatus(ID=8)])
        with pytest.raises(ApiError) as caught:
            await service.lease_revoke(rpc.LeaseRevokeRequest(ID=7), CALLER)
        assert caught.value.code is Status.NOT_FOUND

    play(Lease, body)


def test_every_keep_alive_is_answered_once_and_in_order() -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        link.apply((Op.LEASE_GRANT, 7, 60))
        link.apply((Op.LEASE_GRANT, 8, 30))
        replies = service.lease_keep_alive(requests_of(7, 99, 8, 7, 0), CALLER)
        assert [(reply.ID, reply.TTL) async for reply in replies] == [
            *((7, 60), (99, 0), (8, 30), (7, 60)),
            (0, 0),
        ]

    play(Lease, body)


def test_a_keep_alive_is_answered_while_the_stream_stays_open() -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        link.apply((Op.LEASE_GRANT, 7, 60))
        more: asyncio.Queue[int] = asyncio.Queue()
        ended = asyncio.Event()

        async def requests() -> AsyncIterator[Any]:
            try:
                while True:
                    yield rpc.LeaseKeepAliveRequest(ID=await more.get())
            finally:
                ended.set()

        replies = service.lease_keep_alive(requests(), CALLER)
        for lease, ttl_s in ((7, 60), (9, 0)):
            more.put_nowait(lease)
            reply = await anext(replies)
            assert (reply.header, reply.ID, reply.TTL) == (header(1), lease, ttl_s)
        await replies.aclose()
        await ended.wait()  # nobody reads on when the stream is closed

    play(Lease, body)


def test_a_thousand_keep_alives_of_one_stream_are_few_requests() -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        for lease in range(1, 1001):
            link.apply((Op.LEASE_GRANT, lease, 60))
        replies = service.lease_keep_alive(requests_of(*range(1, 1001)), CALLER)
        assert [reply.ID async for reply in replies] == list(range(1, 1001))
        assert link.requests_count < 20

    play(Lease, body)


def test_keep_alives_of_many_streams_go_together() -> None:
    async def one(service: Lease, lease: int) -> int:
        async for reply in service.lease_keep_alive(requests_of(lease), CALLER):
            return int(reply.TTL)
        return -1

    async def body(link: EngineLink, service: Lease) -> None:
        link.apply((Op.LEASE_GRANT, 7, 60))
        assert set(await asyncio.gather(*[one(service, 7) for _ in range(500)])) == {60}
        assert link.requests_count < 20

    play(Lease, body)


def test_what_gathers_while_others_are_under_way_leaves_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewals, "TOGETHER_MAX", 4)

    async def body(link: EngineLink, service: Lease) -> None:
        link.together_gate = asyncio.Event()
        together = renewals.Renewals(link)
        outcomes = [together.renew(number) for number in range(1, 12)]
        await eventually(lambda: link.requests_count == renewals.REQUESTS_MAX)
        outcomes += [together.renew(number) for number in range(12, 15)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert link.requests_count == renewals.REQUESTS_MAX
        link.together_gate.set()
        assert [renewals.ttl_of(await outcome) for outcome in outcomes] == [(1, 0)] * 14
        assert [operation[1] for _, operation, _ in link.asked] == list(range(1, 15))

    play(Lease, body)


def test_a_keep_alive_that_fails_ends_its_stream() -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        link.failure = ApiError(Status.UNAVAILABLE, "etcdserver: request timed out")
        with pytest.raises(ApiError) as caught:
            async for _ in service.lease_keep_alive(requests_of(7, 8), CALLER):
                pass
        assert caught.value is link.failure
        link.failure = None
        replies = service.lease_keep_alive(requests_of(7), CALLER)
        assert [reply.TTL async for reply in replies] == [0]

    play(Lease, body)


def test_a_stream_whose_requests_end_badly_ends_with_that_after_its_answers() -> None:
    async def requests() -> AsyncIterator[Any]:
        yield rpc.LeaseKeepAliveRequest(ID=7)
        raise ApiError(Status.INTERNAL, "that was no message")

    async def body(link: EngineLink, service: Lease) -> None:
        replies = service.lease_keep_alive(requests(), CALLER)
        assert (await anext(replies)).ID == 7
        with pytest.raises(ApiError) as caught:
            await anext(replies)
        assert caught.value.code is Status.INTERNAL

    play(Lease, body)


def test_a_stream_reads_no_further_than_it_may_before_it_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease_module, "UNANSWERED_MAX", 5)
    read_count = 0

    async def requests() -> AsyncIterator[Any]:
        nonlocal read_count
        while read_count < 1000:
            read_count += 1
            yield rpc.LeaseKeepAliveRequest(ID=read_count)

    async def body(link: EngineLink, service: Lease) -> None:
        link.together_gate = asyncio.Event()
        replies = service.lease_keep_alive(requests(), CALLER)
        first = asyncio.ensure_future(anext(replies))
        for _ in range(100):
            await asyncio.sleep(0)
        assert read_count <= 6
        link.together_gate.set()
        assert (await first).ID == 1
        assert [reply.ID async for reply in replies] == list(range(2, 1001))

    play(Lease, body)


def test_keep_alives_of_a_client_that_is_gone_do_not_leave_any_more() -> None:
    async def body(link: EngineLink, service: Lease) -> None:
        link.together_gate = asyncio.Event()
        together = renewals.Renewals(link)
        held = [together.renew(number) for number in (1, 2)]
        await eventually(lambda: link.requests_count == 1)
        more = together.renew(3)
        await eventually(lambda: link.requests_count == 2)
        gone, kept = together.renew(4), together.renew(5)
        gone.cancel()
        held.pop(0).cancel()  # under way: nobody takes its answer, the others get theirs
        link.together_gate.set()
        await asyncio.gather(*held, more, kept)
        assert [operation[1] for _, operation, _ in link.asked] == [1, 2, 3, 5]

    play(Lease, body)


def test_what_a_closed_stream_had_waiting_does_not_leave_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewals, "TOGETHER_MAX", 1)

    async def body(link: EngineLink, service: Lease) -> None:
        link.together_gate = asyncio.Event()
        replies = service.lease_keep_alive(requests_of(1, 2, 3, 4, 5), CALLER)
        first = asyncio.ensure_future(anext(replies))
        await eventually(lambda: link.requests_count == renewals.REQUESTS_MAX)
        first.cancel()
        await asyncio.wait([first])
        link.together_gate.set()
        last = service.lease_keep_alive(requests_of(9), CALLER)
        assert [reply.ID async for reply in last] == [9]
        assert [operation[1] for _, operation, _ in link.asked] == [1, 2, 9]

    play(Lease, body)
