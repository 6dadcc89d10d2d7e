"""Requests of streams of watches: who may make them, how many are taken in, what breaks them."""

import asyncio
from typing import Any

import pytest
from watch_link import Reader, play, turns

from metastore.api.calls import ApiError, Status
from metastore.api.protocol.messages import rpc
from metastore.api.services import watch as watch_module
from metastore.api.services import watch_stream


def test_callers_are_checked_together_and_who_is_denied_takes_no_id() -> None:
    async def body(reader: Reader) -> None:
        link = reader.link
        link.access, link.check_gate = object(), asyncio.Event()
        link.denials[b"b"] = ApiError(Status.PERMISSION_DENIED, "etcdserver: permission denied")
        link.denials[b"c"] = ApiError(Status.UNAUTHENTICATED, "etcdserver: invalid auth token")
        for key in (b"b", b"a", b"c", b"a"):
            reader.create(key)
        await reader.quiet()
        assert (link.checks_count, link.watches) == (4, [])
        link.check_gate.set()
        denied = await reader.next()
        assert (denied.watch_id, denied.created, denied.canceled) == (-1, True, True)
        assert denied.cancel_reason == (
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        )
        await reader.quiet()
        for watch in link.watches:
            watch.accept()
        answers = [await reader.next() for _ in range(3)]
        assert [answer.watch_id for answer in answers] == [0, -1, 1]
        assert "code = Unauthenticated desc = etcdserver: inv" in answers[1].cancel_reason

    play(body)


def test_the_smallest_key_is_what_is_checked_when_none_is_given() -> None:
    async def body(reader: Reader) -> None:
        reader.link.access = object()
        reader.link.denials[b"\0"] = ApiError(Status.PERMISSION_DENIED, "no")
        reader.create(b"")
        assert (await reader.next()).canceled

    play(body)


@pytest.mark.parametrize("error", [ApiError(Status.INTERNAL, "bad"), ValueError("bad")])
def test_what_breaks_the_requests_ends_the_stream(error: Exception) -> None:
    async def body(reader: Reader) -> None:
        await reader.created()
        reader.send(error)
        with pytest.raises(type(error), match="bad"):
            await reader.next()

    assert play(body).watches[0].is_closed


def test_what_cannot_be_carried_out_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*_: Any) -> None:
        raise ValueError("bad")

    async def body(reader: Reader) -> None:
        monkeypatch.setattr(watch_stream.WatchStream, "create", create)
        reader.create()
        with pytest.raises(ValueError, match="bad"):
            await reader.next()

    play(body)


def test_requests_are_not_taken_in_without_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks and never reads is not listened to any more."""
    monkeypatch.setattr(watch_stream, "ANSWERS_MAX", 3)
    monkeypatch.setattr(watch_module, "REQUESTS_MAX", 2)

    async def body(reader: Reader) -> None:
        await reader.created()
        for _ in range(20):
            reader.create(b"b", range_end=b"a")
        await turns()
        assert reader._requests.qsize() == 20 - 3 - 1 - 2 - 1
        assert [(await reader.next()).watch_id for _ in range(20)] == [-1] * 20

    play(body)


def test_checks_that_nobody_waits_for_any_more_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_module, "REQUESTS_MAX", 2)

    async def body(reader: Reader) -> None:
        reader.link.access, reader.link.check_gate = object(), asyncio.Event()
        for _ in range(5):
            reader.create()
        await reader.quiet()
        every = asyncio.all_tasks()
        checks = [task for task in every if "WatchLink.check" in repr(task.get_coro())]
        assert len(checks) == 1 + 2 + 1  # waited for, in the queue, on the way into it
        await reader.close()
        await turns()
        assert all(task.cancelled() for task in checks)

    play(body)


def test_a_request_that_says_nothing_is_passed_over() -> None:
    async def body(reader: Reader) -> None:
        reader.send(rpc.WatchRequest())
        await reader.created()

    play(body)
