"""Slow readers: what they hold, and that nothing is lost or told twice when they let go of it."""

from typing import Any

import pytest
from watch_link import Reader, play, turns

from metastore.api.services import watch_progress, watch_stream
from metastore.api.services.watch_messages import EventEncoder, events_bytes, split

VALUE = b"v" * 1000


async def revisions_read(reader: Reader, until: int) -> list[int]:
    found: list[int] = []
    while not found or found[-1] < until:
        response = await reader.next()
        found += [event.kv.mod_revision for event in response.events]
    return found


def test_a_slow_reader_lets_go_of_what_it_holds_and_goes_on_from_where_it_stood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_stream, "HELD_BYTES_FREE", 3000)

    async def body(reader: Reader) -> None:
        watch = await reader.created()
        watch.put(11, value=VALUE)
        assert await revisions_read(reader, 11) == [11]
        for revision in range(12, 20):
            watch.put(revision, value=VALUE)
        assert watch.is_closed
        await reader.quiet()  # a reader again: it takes up what it let go
        again = reader.link.watches[-1]
        assert (again is not watch, again.start) == (True, 12)
        for revision in range(12, 20):
            again.put(revision, value=VALUE)
        assert again.is_closed  # more than it can hold has come at once, again
        assert await revisions_read(reader, 12) == [12]  # but it got further
        await reader.quiet()
        last = reader.link.watches[-1]
        assert (last is not again, last.start) == (True, 13)
        last.put(*range(13, 20), value=VALUE)
        assert await revisions_read(reader, 19) == list(range(13, 20))

    play(body, held_bytes_max=5000)


def test_a_reader_that_waits_lets_go_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_stream, "HELD_BYTES_FREE", 0)

    async def body(reader: Reader) -> None:
        watch = await reader.created()
        for revision in range(11, 20):
            await reader.quiet()
            watch.put(revision, value=VALUE)
            assert await revisions_read(reader, revision) == [revision]
        assert not watch.is_closed

    play(body, held_bytes_max=100)


def test_a_stream_that_holds_little_does_not_pay_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_stream, "HELD_BYTES_FREE", 3000)

    async def body(slow: Reader, other: Reader) -> None:
        watch = await slow.created()
        watch.put(*range(11, 20), value=VALUE)  # more than all may hold, at once
        little = await other.created()
        little.put(11, value=VALUE)
        assert not little.is_closed
        assert await revisions_read(other, 11) == [11]

    play(body, readers_count=2, held_bytes_max=5000)


def test_no_stream_lets_go_while_all_together_hold_little() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created()
        for revision in range(11, 200):
            watch.put(revision, value=bytes(10_000))
        assert not watch.is_closed
        assert await revisions_read(reader, 199) == list(range(11, 200))

    play(body)


def test_those_that_let_go_come_back_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_stream, "HELD_BYTES_FREE", 0)

    async def body(reader: Reader) -> None:
        watches = [await reader.created() for _ in range(3)]
        await turns()
        for watch in watches:
            watch.put(11, value=VALUE)
        assert [watch.is_closed for watch in watches] == [True] * 3
        for number in range(3):
            await reader.quiet()
            reader.cancel(99)
            await reader.quiet()
            reader.create(b"b", range_end=b"a")
            assert (await reader.next()).canceled
            await reader.quiet()  # it has looked again, and again
            assert len(reader.link.watches) == 4 + number
            reader.link.watches[-1].put(11, value=VALUE)
            assert await revisions_read(reader, 11) == [11]

    play(body, held_bytes_max=0)


def test_progress_waits_for_what_was_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_stream, "HELD_BYTES_FREE", 0)
    monkeypatch.setattr(watch_progress, "ASKED_MAX", 1)  # and the sign that was lost is made up for

    async def body(reader: Reader) -> None:
        watch = await reader.created()
        reader.link.newest = 15
        reader.ask_progress()
        await reader.quiet()
        assert reader.link.signs_asked == [[watch]]
        watch.put(11, value=VALUE)
        watch.put(12, value=VALUE)  # before the reader could look
        assert watch.is_closed
        await reader.quiet()
        again = reader.link.watches[-1]
        assert reader.link.signs_asked[1:] == [[again]]
        again.put(11, 12)
        assert await revisions_read(reader, 12) == [11, 12]
        again.tell(15)
        assert (await reader.next()).header.revision == 15

    play(body, held_bytes_max=0)


def test_what_is_canceled_after_it_was_let_go_does_not_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_stream, "HELD_BYTES_FREE", 0)

    async def body(reader: Reader) -> None:
        watch = await reader.created()
        watch.put(11, value=VALUE)
        reader.cancel(0)
        await turns()
        assert (await reader.next()).canceled
        await reader.quiet()
        assert reader.link.watches == [watch]

    play(body, held_bytes_max=0)


def test_a_watch_that_holds_nothing_does_not_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_stream, "HELD_BYTES_FREE", 0)

    async def body(reader: Reader) -> None:
        large = await reader.created()
        reader.create()
        await reader.quiet()
        new = reader.link.watches[-1]
        large.put(11, value=VALUE)  # the reader is about to look
        new.accept()
        assert not new.is_closed
        assert {(await reader.next()).created for _ in range(2)} == {True, False}

    play(body, held_bytes_max=0)


def test_a_watch_that_comes_back_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node may have been behind."""
    monkeypatch.setattr(watch_stream, "HELD_BYTES_FREE", 0)

    async def body(reader: Reader) -> None:
        watch = await reader.created(start_revision=3)
        await reader.quiet()
        watch.put(5)
        assert await revisions_read(reader, 5) == [5]
        await reader.quiet()
        watch.tell(4)
        await reader.quiet()
        watch.put(6, value=VALUE)
        watch.put(7, value=VALUE)
        await reader.quiet()
        assert reader.link.watches[-1].start == 6

    play(body, held_bytes_max=0)


def test_watches_with_news_take_turns() -> None:
    async def body(reader: Reader) -> None:
        first, second = [await reader.created() for _ in range(2)]
        await turns()
        first.put(11)
        first.put(12)
        second.put(11)
        assert [(await reader.next()).watch_id for _ in range(3)] == [0, 1, 0]

    play(body)


# What is sent


def put(key: bytes, revision: int, value: bytes = b"v", before: Any = None) -> Any:
    return ((key, value, revision, revision, 1, 5), before)


def test_of_a_deleted_key_only_its_name_and_the_revision_are_told() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created(prev_kv=True)
        watch.tell(11, ((b"k", b"", 0, 11, 0, 0), (b"k", b"v", 3, 4, 2, 5)))
        (event,) = (await reader.next()).events
        assert event.type == 1
        assert str(event.kv).split() == ["key:", '"k"', "mod_revision:", "11"]
        assert (event.prev_kv.value, event.prev_kv.version, event.prev_kv.lease) == (b"v", 2, 5)

    play(body)


@pytest.mark.parametrize("fragment", [False, True])
def test_a_large_response_comes_in_fragments_if_it_was_asked_to(fragment: bool) -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created(fragment=fragment)
        events = [put(b"%d" % number, 11, VALUE) for number in range(10)]
        watch.tell(11, *events)
        reader.link.newest = 11
        reader.ask_progress()
        await turns()
        answers = [await reader.next()]
        while answers[-1].fragment:
            answers.append(await reader.next())
        keys = [event.kv.key for answer in answers for event in answer.events]
        assert keys == [b"%d" % number for number in range(10)]
        assert {answer.header.revision for answer in answers} == {11}
        assert {answer.watch_id for answer in answers} == {0}
        assert (len(answers) > 1) is fragment
        if fragment:
            assert max(answer.ByteSize() for answer in answers) <= 3000
        assert (await reader.next()).watch_id == -1  # and nothing comes in between

    play(body, fragment_bytes_max=3000)


def test_a_small_response_is_one_though_fragments_were_asked_for() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created(fragment=True)
        watch.put(11, 12)
        response = await reader.next()
        assert (len(response.events), response.fragment) == (2, False)

    play(body)


def test_an_event_larger_than_a_fragment_stands_alone() -> None:
    events = [put(b"a", 5), put(b"b", 5, bytes(5000)), put(b"c", 5)]
    assert [is_more for _, is_more in split(events, 1000)] == [True, True, False]


def test_the_same_events_are_encoded_once() -> None:
    encoder = EventEncoder()
    events = (put(b"a", 5),)
    first = encoder.encode(events)
    assert encoder.encode(events) is first
    assert encoder.encode((put(b"b", 5),)) != first


def test_values_and_previous_ones_count_as_held() -> None:
    before = (b"k", VALUE, 1, 1, 1, 0)
    assert events_bytes([put(b"k", 2, VALUE, before)]) > 2 * len(VALUE)
