"""Locks: one holder after the other, and nobody left in line who is not waiting any more."""

import asyncio
from typing import Any

import pytest
from line_link import CALLER, LineLink, cancelled, eventually, play

from metastore.api.calls import ApiError, Status
from metastore.api.failures import WatchCompacted
from metastore.api.protocol.messages import lock
from metastore.api.services.lock import Lock
from metastore.transport import schema


def asking(service: Lock, lease: int) -> "asyncio.Future[Any]":
    request = lock.LockRequest(name=b"n", lease=lease)
    return asyncio.ensure_future(service.lock(request, CALLER))


def test_the_oldest_key_has_the_lock_and_the_others_follow_in_order() -> None:
    async def body(link: LineLink, service: Lock) -> None:
        holders = [link.lease(lease) for lease in (7, 5, 6)]
        calls = []
        for number, lease in enumerate(holders):
            calls.append(asking(service, lease))
            await eventually(lambda number=number: len(link.keys()) > number)  # type: ignore[misc]
        for number, lease in enumerate(holders):
            answer = await calls[number]
            assert answer.key == b"n/%x" % lease
            assert answer.header.revision > 1
            assert [call.done() for call in calls[number + 1 :]].count(True) == 0
            await service.unlock(lock.UnlockRequest(key=answer.key), CALLER)

    play(Lock, body)


def test_who_has_the_lock_has_it_again() -> None:
    async def body(link: LineLink, service: Lock) -> None:
        link.lease(7)
        first = await asking(service, 7)
        assert await asking(service, 7) == first

    play(Lock, body)


def test_a_call_without_a_lease_gets_one() -> None:
    async def body(link: LineLink, service: Lock) -> None:
        answer = await asking(service, 0)
        (lease,) = link.apply((schema.Op.LEASES,))[0][2]
        assert answer.key == b"n/%x" % lease

    play(Lock, body)


def test_who_gives_up_leaves_the_line() -> None:
    async def body(link: LineLink, service: Lock) -> None:
        link.lease(7), link.lease(8)
        await asking(service, 7)
        call = asking(service, 8)
        await eventually(lambda: len(link.watches) == 2)
        await cancelled(call)
        await eventually(lambda: link.keys() == [b"n/7"])

    play(Lock, body)


def test_who_gives_up_before_the_answer_came_leaves_the_line() -> None:
    async def body(link: LineLink, service: Lock) -> None:
        link.lease(7)
        link.slow_txns = asyncio.Event()
        call = asking(service, 7)
        await eventually(lambda: len(link.keys()) == 1)
        await cancelled(call)
        link.slow_txns.set()
        await eventually(lambda: link.keys() == [])

    play(Lock, body)


def test_who_gives_up_asking_for_what_it_had_still_has_it() -> None:
    async def body(link: LineLink, service: Lock) -> None:
        link.lease(7)
        await asking(service, 7)
        link.slow_txns = asyncio.Event()
        asked_count = len(link.asked)
        call = asking(service, 7)
        await eventually(lambda: len(link.asked) > asked_count)
        await cancelled(call)
        link.slow_txns.set()
        await eventually(lambda: not service._leaving)
        assert link.keys() == [b"n/7"]

    play(Lock, body)


@pytest.mark.parametrize("how", ["revoked", "unlocked", "made anew"])
def test_whose_place_is_lost_is_told_at_once(how: str) -> None:
    """etcd's would wait until it is its turn."""

    async def body(link: LineLink, service: Lock) -> None:
        link.lease(7), link.lease(8)
        await asking(service, 7)
        call = asking(service, 8)
        await eventually(lambda: len(link.watches) == 2)
        if how == "revoked":
            link.revoke(8)
        else:
            link.apply(schema.delete_range(b"n/8"))
        if how == "made anew":
            link.apply(schema.put(b"n/8", b""))
        with pytest.raises(ApiError, match="mutex: session is expired") as caught:
            await call
        assert caught.value.code is Status.UNKNOWN

    play(Lock, body)


def test_a_compaction_in_the_meantime_does_no_harm() -> None:
    async def body(link: LineLink, service: Lock) -> None:
        link.lease(7), link.lease(8)
        await asking(service, 7)
        call = asking(service, 8)
        await eventually(lambda: len(link.watches) == 2)
        link.watches[0].fail(WatchCompacted(9))
        await asyncio.sleep(0)
        await eventually(lambda: len(link.watches) == 2)
        link.revoke(7)
        assert (await call).key == b"n/8"

    play(Lock, body)


@pytest.mark.parametrize(
    ("failure", "shown"),
    [
        (Status.NOT_FOUND, Status.UNKNOWN),  # as etcd's
        (Status.PERMISSION_DENIED, Status.UNKNOWN),
        (Status.UNAVAILABLE, Status.UNAVAILABLE),  # it is worth trying again
        (Status.UNAUTHENTICATED, Status.UNAUTHENTICATED),
    ],
)
def test_errors_are_unknown_unless_a_client_can_do_something(
    failure: Status, shown: Status
) -> None:
    async def body(link: LineLink, service: Lock) -> None:
        link.failure = ApiError(failure, "why")
        unlock = service.unlock(lock.UnlockRequest(key=b"n/7"), CALLER)
        for call in (asking(service, 7), unlock):
            with pytest.raises(ApiError, match="why") as caught:
                await call
            assert caught.value.code is shown

    play(Lock, body)


def test_a_watch_that_ends_ends_the_waiting() -> None:
    async def body(link: LineLink, service: Lock) -> None:
        link.lease(7), link.lease(8)
        await asking(service, 7)
        call = asking(service, 8)
        await eventually(lambda: len(link.watches) == 2)
        link.watches[0].fail(ApiError(Status.UNAVAILABLE, "etcdserver: server stopped"))
        with pytest.raises(ApiError, match="server stopped"):
            await call
        await eventually(lambda: link.keys() == [b"n/7"])

    play(Lock, body)


def test_unlocking_needs_a_key() -> None:
    async def body(_link: LineLink, service: Lock) -> None:
        with pytest.raises(ApiError, match="key is not provided") as caught:
            await service.unlock(lock.UnlockRequest(), CALLER)
        assert caught.value.code is Status.UNKNOWN

    play(Lock, body)
