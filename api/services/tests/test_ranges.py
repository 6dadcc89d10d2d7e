"""Ranges that are read in several questions, and streams: what comes out is one range."""

from typing import Any

import pytest
from engine_link import CALLER, EngineLink, fill, header, play

from metastore.api.calls import ApiError, Status
from metastore.api.failures import AnswerTooLarge
from metastore.api.protocol.messages import rpc
from metastore.api.services import kv, ranges
from metastore.api.services.kv import Kv
from metastore.transport import schema
from metastore.transport.schema import Op


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page of a range has 7 keys."""
    monkeypatch.setattr(ranges.pages, "__defaults__", (7,))
    monkeypatch.setattr(kv, "STREAM_KEYS_FIRST", 7)


def all_keys(**options: Any) -> Any:
    return rpc.RangeRequest(key=b"k", range_end=b"l", **options)


@pytest.mark.usefixtures("small_pages")
def test_a_range_of_many_keys_is_read_in_pages_as_of_one_revision() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 50)
        # A write between the pages: it must not be seen, neither in the keys nor in the header.
        link.before_ask = [lambda: None, lambda: link.apply(schema.put(b"k049", b"later"))]
        reply = await service.range(all_keys(), CALLER)
        assert [kv.key for kv in reply.kvs] == [b"k%03d" % number for number in range(50)]
        assert (reply.header.revision, reply.count, reply.more) == (51, 50, False)
        assert reply.kvs[49].value == b"v001"
        # Counting walks the whole range: once is enough.
        counts = [not operation[5] & schema.Flag.NO_COUNT for _, operation, _ in link.asked]
        assert counts == [True] + [False] * (len(counts) - 1)
        assert len(link.asked) > 2

    play(Kv, body)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("limit", [1, 6, 7, 8, 20, 49, 50, 51])
def test_a_limit_holds_over_the_pages(limit: int) -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 50)
        reply = await service.range(all_keys(limit=limit), CALLER)
        assert [kv.key for kv in reply.kvs] == [b"k%03d" % n for n in range(min(limit, 50))]
        assert (reply.count, reply.more) == (50, limit < 50)

    play(Kv, body)


def test_a_page_that_does_not_fit_an_answer_is_asked_for_smaller() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 50)
        link.answer_keys_max = 3
        reply = await service.range(all_keys(), CALLER)
        assert len(reply.kvs) == reply.count == 50

    play(Kv, body)


def test_one_key_that_does_not_fit_an_answer_is_an_error() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 2)
        link.answer_keys_max = 0
        with pytest.raises(AnswerTooLarge):
            await service.range(all_keys(), CALLER)

    play(Kv, body)


@pytest.mark.usefixtures("small_pages")
def test_a_compaction_between_the_pages_makes_the_range_begin_again() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 50)

        def compact() -> None:
            link.apply(schema.put(b"k000", b"new"))
            link.apply((Op.COMPACT, 52, True))

        link.before_ask = [lambda: None, lambda: None, compact]
        reply = await service.range(all_keys(), CALLER)
        assert [kv.key for kv in reply.kvs] == [b"k%03d" % number for number in range(50)]
        assert (reply.header.revision, reply.kvs[0].value) == (52, b"new")

    play(Kv, body)


@pytest.mark.usefixtures("small_pages")
def test_a_revision_that_was_asked_for_and_is_compacted_in_the_middle_is_gone() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 50)
        link.apply(schema.put(b"k000", b"new"))
        link.before_ask = [lambda: None, lambda: link.apply((Op.COMPACT, 52, True))]
        with pytest.raises(ApiError) as caught:
            await service.range(all_keys(revision=51), CALLER)
        assert caught.value.message == schema.COMPACTED
        assert len(link.asked) == 2

    play(Kv, body)


@pytest.mark.usefixtures("small_pages")
def test_compactions_without_end_are_an_error_in_the_end() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 50)

        def compact() -> None:
            (result,) = link.apply(schema.put(b"k000", b"new"))
            link.apply((Op.COMPACT, result[1], True))

        link.before_ask = [compact] * 20
        with pytest.raises(ApiError) as caught:
            await service.range(all_keys(), CALLER)
        assert caught.value.message == schema.COMPACTED
        assert len(link.asked) == 2 * ranges.ATTEMPTS_MAX

    play(Kv, body)


SORTED = [
    {"sort_order": order, "sort_target": target, "limit": limit, "keys_only": keys_only, **bounds}
    for order in (0, 1, 2)
    for target in (0, 1, 3, 4)
    for limit, keys_only in ((0, True), (7, False))
    for bounds in ({}, {"min_mod_revision": 10, "max_create_revision": 40})
]


@pytest.mark.parametrize("options", SORTED, ids=str)
def test_what_is_sorted_here_is_what_the_node_would_have_sorted(options: dict[str, Any]) -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 60)
        by_node = await service.range(all_keys(**options), CALLER)
        asked_before = len(link.asked)
        link.answer_keys_max = 5
        here = await service.range(all_keys(**options), CALLER)
        assert here == by_node
        assert len(link.asked) > asked_before + 1

    play(Kv, body)


def test_a_large_range_that_is_sorted_begins_again_after_a_compaction() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 30)
        link.answer_keys_max = 5
        link.before_ask = [
            *[lambda: None] * 8,
            lambda: (link.apply(schema.put(b"a", b"")), link.apply((Op.COMPACT, 32, True))),
        ]
        reply = await service.range(all_keys(sort_order=2), CALLER)
        assert [kv.key for kv in reply.kvs] == [b"k%03d" % n for n in reversed(range(30))]

    play(Kv, body)


async def stream(service: Kv, request: Any) -> list[Any]:
    return [part.range_response async for part in service.range_stream(request, CALLER)]


def merged(parts: list[Any]) -> Any:
    reply = rpc.RangeResponse()
    for part in parts:
        reply.MergeFrom(part)
    return reply


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("options", [{}, {"limit": 30}, {"count_only": True}, {"keys_only": True}])
def test_the_parts_of_a_stream_make_the_range(options: dict[str, Any]) -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 50)
        parts = await stream(service, all_keys(**options))
        assert merged(parts) == await service.range(all_keys(**options), CALLER)
        assert len(parts) == (1 if "count_only" in options else len(parts))
        # A reader must not take what comes first for the whole.
        assert [part.HasField("header") for part in parts] == [*[False] * (len(parts) - 1), True]
        assert [part.count for part in parts[:-1]] == [0] * (len(parts) - 1)

    play(Kv, body)


def test_a_stream_of_nothing_is_one_part() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        assert await stream(service, all_keys()) == [rpc.RangeResponse(header=header(1))]

    play(Kv, body)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sort_order": 2}, kv.NO_SORTED_STREAM),
        ({"sort_order": 1, "sort_target": 1}, kv.NO_SORTED_STREAM),
        ({"min_mod_revision": 1}, kv.NO_FILTERED_STREAM),
        ({"sort_order": 2, "min_mod_revision": 1}, kv.NO_SORTED_STREAM),
    ],
)
def test_a_stream_is_in_key_order(options: dict[str, int], text: str) -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        with pytest.raises(ApiError) as caught:
            await stream(service, all_keys(**options))
        assert (caught.value.code, caught.value.message) == (Status.UNIMPLEMENTED, text)

    play(Kv, body)


@pytest.mark.parametrize("options", [{"sort_order": 1}, {"sort_target": 3}])
def test_key_order_may_be_asked_for_in_a_stream(options: dict[str, int]) -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 3)
        assert merged(await stream(service, all_keys(**options))).count == 3

    play(Kv, body)
