"""How far a stream is: what a client is promised, and when."""

import pytest
from watch_link import Reader, play

from metastore.api.failures import WatchCompacted
from metastore.api.services import watch_progress


def test_progress_is_told_only_after_everything_before_it_was_sent() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created()
        reader.link.newest = 12  # known to the node, and to nobody here
        reader.ask_progress()
        await reader.quiet()
        watch.put(11)
        assert (await reader.next()).events
        await reader.quiet()
        watch.put(12)
        watch.tell(13)
        assert (await reader.next()).events
        response = await reader.next()
        assert (response.watch_id, response.header.revision) == (-1, 12)
        assert (response.created, response.canceled) == (False, False)
        await reader.quiet()

    play(body)


def test_all_watches_must_have_come_so_far() -> None:
    async def body(reader: Reader) -> None:
        first, second = [await reader.created() for _ in range(2)]
        reader.link.newest = 12
        reader.ask_progress()
        await reader.quiet()
        assert reader.link.signs_asked == [[first, second]] or reader.link.signs_asked == [
            [second, first]
        ]
        first.tell(12)
        await reader.quiet()
        second.tell(14)
        assert (await reader.next()).header.revision == 12

    play(body)


def test_a_node_that_lags_behind_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_progress, "ASK_AGAIN_S", 0.0)

    async def body(reader: Reader) -> None:
        watch = await reader.created()
        reader.link.newest = 12
        reader.ask_progress()
        await reader.quiet()
        watch.tell(11)
        await reader.quiet()
        assert reader.link.signs_asked == [[watch], [watch]]
        watch.tell(12)
        assert (await reader.next()).header.revision == 12

    play(body)


def test_a_stream_without_watches_is_as_far_as_the_node() -> None:
    async def body(reader: Reader) -> None:
        reader.link.newest = 12
        reader.ask_progress()
        assert (await reader.next()).header.revision == 12

    play(body)


def test_a_watch_from_a_revision_to_come_is_not_waited_for() -> None:
    async def body(reader: Reader) -> None:
        await reader.created(start_revision=99)
        reader.ask_progress()
        assert (await reader.next()).header.revision == 10

    play(body)


def test_what_is_asked_meanwhile_is_answered_by_one_more_round() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created()
        reader.link.newest = 12
        reader.ask_progress()
        await reader.quiet()
        reader.link.newest = 13
        reader.ask_progress(2)
        await reader.quiet()
        assert len(reader.link.signs_asked) == 1
        watch.tell(12)
        assert (await reader.next()).header.revision == 12
        await reader.quiet()
        assert len(reader.link.signs_asked) == 2
        watch.tell(13)
        assert [(await reader.next()).header.revision for _ in range(2)] == [13, 13]

    play(body)


@pytest.mark.parametrize("is_canceled", [False, True])
def test_a_watch_that_ends_is_not_waited_for(is_canceled: bool) -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created()
        reader.link.newest = 12
        reader.ask_progress()
        await reader.quiet()
        if is_canceled:
            reader.cancel(0)
        else:
            watch.fail(WatchCompacted(11))
        answers = [await reader.next() for _ in range(2)]
        assert {answer.canceled for answer in answers} == {True, False}
        assert -1 in [answer.watch_id for answer in answers]

    play(body)


def test_a_request_for_progress_waits_for_watches_asked_for_before_it() -> None:
    async def body(reader: Reader) -> None:
        reader.create()
        reader.ask_progress()
        await reader.quiet()
        reader.link.watches[0].accept()
        assert (await reader.next()).created
        assert (await reader.next()).watch_id == -1

    play(body)


def test_signs_are_asked_for_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come one by one, and fill the node's socket to the gateway otherwise."""
    monkeypatch.setattr(watch_progress, "ASKED_MAX", 4)

    async def body(reader: Reader) -> None:
        for _ in range(10):
            await reader.created()
        reader.link.newest = 12
        reader.ask_progress()
        answered = 0
        while answered < 10:
            await reader.quiet()
            asked = [watch for asking in reader.link.signs_asked for watch in asking]
            assert len(asked) - answered <= 4
            asked[answered].tell(12)
            answered += 1
        assert (await reader.next()).header.revision == 12
        assert len(asked) == len(set(asked)) == 10

    play(body)


def test_a_watch_that_ends_leaves_its_turn_to_be_asked_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_progress, "ASKED_MAX", 1)

    async def body(reader: Reader) -> None:
        watches = [await reader.created() for _ in range(2)]
        reader.link.newest = 12
        reader.ask_progress()
        await reader.quiet()
        ((asked,),) = reader.link.signs_asked
        reader.cancel(watches.index(asked))
        assert (await reader.next()).canceled
        await reader.quiet()
        assert sum(map(len, reader.link.signs_asked)) == 2

    play(body)


def test_a_quiet_watch_that_wants_it_is_told_of_its_progress_and_no_other() -> None:
    async def body(reader: Reader) -> None:
        quiet = await reader.created(progress_notify=True)
        await reader.created()
        while not reader.link.signs_asked:
            await reader.quiet()
        assert reader.link.signs_asked[0] == [quiet]
        quiet.tell(15)
        response = await reader.next()
        assert (response.watch_id, response.header.revision) == (0, 15)
        assert not response.events

    play(body, notice_s=0.02)


def test_a_busy_watch_is_not_told_of_its_progress() -> None:
    async def body(reader: Reader) -> None:
        busy = await reader.created(progress_notify=True)
        quiet = await reader.created(progress_notify=True)
        busy.put(11)
        await reader.next()
        reader.stream._look_for_quiet()
        assert reader.link.signs_asked == [[quiet]]
        quiet.tell(12)
        assert (await reader.next()).watch_id == 1
        reader.stream._look_for_quiet()
        assert reader.link.signs_asked[1] == [busy, quiet]  # it has been quiet since the last look

    play(body)


def test_what_a_client_knows_already_is_no_progress() -> None:
    async def body(reader: Reader) -> None:
        reader.link.revision = 20
        reader.create(progress_notify=True)
        await reader.quiet()
        watch = reader.link.watches[0]
        watch.accept(17)
        assert (await reader.next()).created
        while not reader.link.signs_asked:
            await reader.quiet()
        watch.put(18)
        await reader.quiet()
        watch.tell(21)
        assert (await reader.next()).header.revision == 21

    play(body, notice_s=0.02)


def test_a_sign_that_no_client_asked_for_is_kept_from_it() -> None:
    async def body(reader: Reader) -> None:
        watch = await reader.created(progress_notify=True)
        watch.tell(15)
        await reader.quiet()

    play(body)
