"""Streams of watches: what is answered, in which order, and what ends with what."""

import pytest
from watch_link import Reader, play, turns

from metastore.api.calls import ApiError, Status
from metastore.api.failures import WatchCompacted
from metastore.api.services import watch_stream


def test_a_watch_is_announced_before_its_events_though_all_come_at_once() -> None:
    async def body(reader: Reader) -> None:
        reader.create(start_revision=5)
        await reader.quiet()
        watch = reader.link.watches[0]
        watch.is_accepted, watch.accepted_revision = True, 10
        watch.put(5)
        assert (await reader.next()).created
        response = await reader.next()
        assert [event.kv.mod_revision for event in response.events] == [5]

    play(body)


def test_creations_are_answered_in_the_order_of_the_requests() -> None:
    async def body(reader: Reader) -> None:
        reader.create(b"a")
        reader.create(b"b")
        await reader.quiet()
        first, second = reader.link.watches
        second.accept()
        second.put(11)
        await reader.quiet()
        first.accept()
        answers = [await reader.next() for _ in range(3)]
        assert [(a.watch_id, a.created, len(a.events)) for a in answers] == [
            *((0, True, 0), (1, True, 0), (1, False, 1))
        ]

    play(body)


def test_events_go_on_while_another_watch_is_being_opened() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created()
        reader.create(b"b")
        await reader.quiet()
        watch.put(11)
        assert (await reader.next()).events

    play(body)


def test_a_watch_that_is_canceled_before_it_was_created_is_announced_first() -> None:
    async def body(reader: Reader) -> None:
        reader.create(b"a")
        reader.cancel(0)
        answers = [await reader.next() for _ in range(2)]
        assert [(a.created, a.canceled) for a in answers] == [(True, False), (False, True)]
        assert reader.link.watches[0].is_closed

    play(body)


def test_nothing_of_a_watch_follows_its_cancellation() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created()
        reader.cancel(0)
        await turns()  # the request is carried out, and nobody has read anything yet
        assert watch.is_closed
        watch.put(11)
        assert (await reader.next()).canceled
        await reader.quiet()

    play(body)


def test_a_watch_from_now_on_is_not_told_what_the_gateway_knew_before() -> None:
    """Its node may be behind the one that the writes went to."""

    async def body(reader: Reader) -> None:
        reader.link.revision = 20
        reader.create()
        await reader.quiet()
        watch = reader.link.watches[0]
        watch.accept(17)
        assert (await reader.next()).header.revision == 20
        watch.put(18, 19)
        watch.put(20, 21)
        response = await reader.next()
        assert [event.kv.mod_revision for event in response.events] == [21]

    play(body)


def test_history_is_told_whatever_the_gateway_knows() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created(start_revision=3)
        watch.put(4, 5)
        response = await reader.next()
        assert [event.kv.mod_revision for event in response.events] == [4, 5]
        assert response.header.revision == 10  # as etcd's: that of the store

    play(body)


def test_a_compacted_watch_tells_what_came_before_and_keeps_its_id() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created(start_revision=3, watch_id=5)
        watch.put(3)
        watch.fail(WatchCompacted(8))
        assert (await reader.next()).events
        last = await reader.next()
        assert (last.canceled, last.compact_revision, last.header.revision) == (True, 8, 0)
        assert not last.cancel_reason
        reader.create(watch_id=5)
        assert (await reader.next()).watch_id == watch_stream.INVALID_WATCH_ID
        reader.cancel(5)
        assert (await reader.next()).canceled
        await reader.created(watch_id=5)

    play(body)


@pytest.mark.parametrize("is_created", [False, True])
def test_a_watch_that_the_node_refuses_ends_with_the_reason(is_created: bool) -> None:
    async def body(reader: Reader) -> None:
        reader.create()
        await reader.quiet()
        watch = reader.link.watches[0]
        if is_created:
            watch.accept()
            assert (await reader.next()).created
        watch.fail(ApiError(Status.INVALID_ARGUMENT, "no"))
        last = await reader.next()
        assert (last.canceled, last.created) == (True, not is_created)
        assert last.cancel_reason == "rpc error: code = InvalidArgument desc = no"

    play(body)


def test_a_watch_that_cannot_even_be_asked_for_is_refused_alone() -> None:
    async def body(reader: Reader) -> None:
        reader.link.follow_error = ApiError(Status.INVALID_ARGUMENT, "too large")
        reader.create()
        assert (await reader.next()).cancel_reason.endswith("too large")
        reader.link.follow_error = None
        await reader.created()

    play(body)


@pytest.mark.parametrize("is_created", [False, True])
def test_a_link_that_is_closed_ends_the_stream(is_created: bool) -> None:
    async def body(reader: Reader) -> None:
        reader.create()
        await reader.quiet()
        watch = reader.link.watches[0]
        if is_created:
            watch.accept()
            await reader.next()
        watch.fail(ApiError(Status.UNAVAILABLE, "etcdserver: server stopped"))
        with pytest.raises(ApiError, match="server stopped"):
            await reader.next()

    play(body)


def test_a_watch_that_no_node_accepts_in_time_is_refused_and_frees_its_id() -> None:
    async def body(reader: Reader) -> None:
        reader.create()
        refused = await reader.next()
        assert (refused.watch_id, refused.created, refused.canceled) == (-1, True, True)
        assert refused.cancel_reason == (
            "rpc error: code = Unavailable desc = etcdserver: request timed out"
        )
        assert reader.link.watches[0].is_closed
        reader.create(watch_id=1)
        await turns()
        reader.link.watches[1].accept()
        assert (await reader.next()).watch_id == 1

    play(body, opening_s_max=0.005)


def test_a_watch_that_was_accepted_waits_for_its_reader_as_long_as_it_takes() -> None:
    async def body(reader: Reader) -> None:
        reader.create()
        await reader.quiet()
        reader.link.watches[0].accept()
        assert (await reader.next()).created
        reader.create()
        await turns()
        reader.link.watches[1].accept()
        reader.service._shared.opening_s_max = -1.0
        reader.stream._give_up()
        response = await reader.next()
        assert (response.created, response.canceled) == (True, False)

    play(body)


def test_the_end_of_a_stream_closes_all_its_watches_at_once() -> None:
    async def body(reader: Reader) -> None:
        for _ in range(3):
            reader.create()
        await reader.quiet()

    link = play(body)
    assert link.closings == [3]
    assert all(watch.is_closed for watch in link.watches)


def test_the_end_of_the_requests_is_not_the_end_of_the_stream() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created()
        reader.send(None)
        await reader.quiet()
        watch.put(11)
        assert (await reader.next()).events

    play(body)
