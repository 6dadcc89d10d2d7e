"""Calls with one answer over HTTP: messages, errors, limits, and ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.web_protocol import RequestPayloadError
from web_serving import LIMIT_S, Fakes, Served, served

from metastore.api.calls import ApiError, Status
from metastore.api.grpc.handlers import FAILED
from metastore.api.grpc.limits import MESSAGE_BYTES_MAX
from metastore.api.link import STOPPED
from metastore.api.metrics import Metrics
from metastore.api.protocol.messages import mvcc, rpc
from metastore.api.web.incoming import Incoming, RequestRefused
from metastore.api.web.limits import BODY_BYTES_MAX

RANGE, PUT = "/v3/kv/range", "/v3/kv/put"
KEY = '{"key":"YQ=="}'


def run(body: Any, **options: Any) -> None:
    async def main() -> None:
        async with served(**options) as one:
            await body(one)

    asyncio.run(main())


def test_a_call_is_answered_in_json_on_both_prefixes_whatever_its_type_says() -> None:
    async def body(one: Served) -> None:
        header = rpc.ResponseHeader(revision=5)
        found = mvcc.KeyValue(key=b"a", value=b"\xff")
        one.fakes.reply = rpc.RangeResponse(header=header, kvs=[found], count=1)
        for path in (RANGE, "/v3beta/kv/range"):
            answer = await one.ask(path, KEY, Content_Type="application/x-www-form-urlencoded")
            assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
            assert answer.value == {
                "header": {"revision": "5"},
                "kvs": [{"key": "YQ==", "value": "/w=="}],
                "count": "1",
            }
        assert one.fakes.seen == [rpc.RangeRequest(key=b"a")] * 2

    run(body)


@pytest.mark.parametrize("text", ["", "  ", "null", "{}", "{} trash"])
def test_an_empty_body_is_an_empty_message(text: str) -> None:
    async def body(one: Served) -> None:
        assert (await one.ask(RANGE, text)).body == b"{}"
        assert one.fakes.seen == [rpc.RangeRequest()]

    run(body)


@pytest.mark.parametrize("text", ["{", "[]", "trash", '{"key":"YQ"}', '{"sort_order":"X"}'])
def test_what_is_no_message_is_refused_and_never_reaches_the_service(text: str) -> None:
    async def body(one: Served) -> None:
        answer = await one.ask(RANGE, text)
        assert answer.status == 400
        value = answer.value
        assert set(value) == {"error", "code", "message"}
        assert (value["code"], value["error"]) == (3, value["message"])
        assert one.fakes.seen == []

    run(body)


# Status by status, as grpc-gateway maps them.
STATUSES = {
    **{Status.INVALID_ARGUMENT: 400, Status.FAILED_PRECONDITION: 400, Status.OUT_OF_RANGE: 400},
    **{Status.UNAUTHENTICATED: 401, Status.PERMISSION_DENIED: 403, Status.NOT_FOUND: 404},
    **{Status.CANCELLED: 408, Status.ALREADY_EXISTS: 409, Status.ABORTED: 409},
    **{Status.RESOURCE_EXHAUSTED: 429, Status.UNKNOWN: 500, Status.INTERNAL: 500},
    **{Status.DATA_LOSS: 500, Status.UNIMPLEMENTED: 501, Status.UNAVAILABLE: 503},
    **{Status.DEADLINE_EXCEEDED: 504},
}


def test_an_error_has_the_http_status_of_its_code() -> None:
    async def body(one: Served) -> None:
        assert {*STATUSES, Status.OK} == set(Status)
        for code, status in STATUSES.items():
            one.fakes.fault = ApiError(code, "etcdserver: a text")
            answer = await one.ask(RANGE, KEY)
            text = "etcdserver: a text"
            assert answer.value == {"error": text, "message": text, "code": int(code)}
            assert answer.status == status

    run(body)


@pytest.mark.parametrize("kind", [RuntimeError, TimeoutError, ConnectionError])
def test_a_defect_of_a_service_costs_its_call_and_tells_no_details(kind: type[Exception]) -> None:
    async def body(one: Served) -> None:
        one.fakes.fault = kind("a secret of the machine")
        answer = await one.ask(RANGE, KEY)
        expected = {"error": FAILED, "message": FAILED, "code": 13}
        assert (answer.status, answer.value) == (500, expected)
        one.fakes.fault = None
        assert (await one.ask(RANGE, KEY)).status == 200

    run(body)


def test_a_message_above_the_limit_of_grpc_is_refused_as_there() -> None:
    async def body(one: Served) -> None:
        fits = "A" * (MESSAGE_BYTES_MAX // 3 * 4 - 40)
        assert (await one.ask(PUT, f'{{"key":"YQ==","value":"{fits}"}}')).status == 200
        answer = await one.ask(PUT, f'{{"key":"YQ==","value":"{fits + "A" * 100}"}}')
        size = 3 * (len(fits) + 100) // 4 + 8
        text = f"grpc: received message larger than max ({size} vs. {MESSAGE_BYTES_MAX})"
        assert (answer.status, answer.value) == (429, {"error": text, "message": text, "code": 8})
        assert len(one.fakes.seen) == 1

    run(body)


def test_a_body_above_its_limit_is_not_read_however_it_comes() -> None:
    async def body(one: Served) -> None:
        announced = await one.connect()
        announced.send(
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            % (PUT.encode(), BODY_BYTES_MAX + 1)
        )
        assert (await announced.answer()).status == 429
        in_pieces = await one.connect()
        in_pieces.begin(PUT)
        for _ in range(5):
            in_pieces.piece(b" " * (BODY_BYTES_MAX // 4))
        assert (await in_pieces.answer()).value["code"] == 8
        assert one.fakes.seen == []

    run(body)


def test_a_body_may_come_in_pieces_and_its_encoding_is_not_looked_at() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.begin(RANGE, Content_Encoding="gzip")
        for letter in KEY:
            client.piece(letter)
        client.piece("")
        assert (await client.answer()).status == 200
        assert one.fakes.seen == [rpc.RangeRequest(key=b"a")]

    run(body)


def test_large_bodies_that_find_no_room_are_refused_and_small_ones_always_find_some() -> None:
    async def body(one: Served) -> None:
        def sized(size: int) -> str:
            return '{"x":"' + "x" * size + '"}'

        waiting = await one.connect()
        waiting.begin(RANGE)
        waiting.piece(sized(50_000)[:-1])
        while not one.app.running_count:
            await asyncio.sleep(0)
        waiting.piece(',"key":"d2FpdA=="}')
        waiting.piece("")
        await one.fakes.is_waiting.wait()
        for path in (RANGE, "/v3/lease/keepalive"):
            client = await one.connect()
            client.begin(path)
            client.piece(sized(60_000)[:-1])
            answer = await client.answer()
            assert (answer.status, b"etcdserver: too many requests" in answer.body) == (429, True)
            assert (await one.ask(path, sized(4000))).status == 200
        one.fakes.go_on.set()
        assert (await waiting.answer()).status == 200
        for _ in range(3):  # the room of each is free again
            assert (await one.ask(RANGE, sized(60_000))).status == 200

    run(body, bodies_bytes_max=100_000)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_body_that_cannot_be_read_on_is_refused(is_stream: bool) -> None:
    """As the library tells of it, by its slower parser at least."""

    class Broken:
        content_length = None

        @property
        def content(self) -> Any:
            return self

        async def iter_any(self) -> AsyncIterator[bytes]:
            yield b"{"
            raise RequestPayloadError("not a chunk")

    async def main() -> None:
        method = Fakes().methods()[0]
        incoming = Incoming(method, Broken(), Metrics(), print)  # type: ignore[arg-type]
        with pytest.raises(RequestRefused, match="not a chunk"):
            await (incoming.messages() if is_stream else incoming.message())

    asyncio.run(main())


def test_a_client_that_leaves_ends_its_call_at_once() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.request(RANGE, '{"key":"d2FpdA=="}')
        await one.fakes.is_waiting.wait()
        assert one.app.running_count == 1
        await client.close()
        await one.fakes.is_ended.wait()
        while one.app.running_count:
            await asyncio.sleep(0)

    run(body)


def test_a_server_that_stops_lets_calls_end_and_takes_no_new_ones() -> None:
    async def body(one: Served) -> None:
        client, other = await one.connect(), await one.connect()
        client.request(RANGE, '{"key":"d2FpdA=="}')
        other.request(RANGE, KEY)
        assert (await other.answer()).status == 200
        await one.fakes.is_waiting.wait()
        stopping = asyncio.ensure_future(one.app.stop())
        other.request(RANGE, KEY)
        refused = await other.answer()
        assert (refused.status, refused.value["message"]) == (503, STOPPED)
        one.fakes.go_on.set()
        assert (await client.answer()).status == 200
        await stopping
        async with asyncio.timeout(LIMIT_S):
            assert await other.reader.read() == b""

    run(body)


def test_a_call_that_does_not_end_is_told_that_the_server_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("metastore.api.web.limits.STOP_S", 0.01)

    async def body(one: Served) -> None:
        client = await one.connect()
        client.request(RANGE, '{"key":"d2FpdA=="}')
        await one.fakes.is_waiting.wait()
        await one.app.stop()
        answer = await client.answer()
        assert (answer.status, answer.value["message"]) == (503, STOPPED)

    run(body)
