"""What stands around calls over HTTP: paths, verbs, headers, connections."""

import asyncio
from typing import Any

import pytest
from web_serving import LIMIT_S, Served, served

from metastore.api.calls import methods
from metastore.api.protocol.messages import SERVICES
from metastore.api.web.paths import PATHS

RANGE, PUT = "/v3/kv/range", "/v3/kv/put"
KEY = '{"key":"YQ=="}'


def run(body: Any) -> None:
    async def main() -> None:
        async with served() as one:
            await body(one)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"Authorization": "plain"}, "plain"),
        ({"Authorization": "Bearer plain"}, "Bearer plain"),
        ({"Grpc_Metadata_Token": "plain"}, "plain"),
        ({"Grpc_Metadata_Authorization": "plain"}, "plain"),
        ({"Authorization": "other", "Grpc_Metadata_Token": "plain"}, "plain"),
        ({"Token": "plain"}, ""),
        ({}, ""),
    ],
)
def test_the_token_is_the_header_as_it_stands(headers: dict[str, str], token: str) -> None:
    async def body(one: Served) -> None:
        await one.ask(RANGE, KEY, **headers)
        (caller,) = one.fakes.callers
        assert (caller.token, caller.certificate_name) == (token, "")
        assert caller.address.startswith("127.0.0.1")

    run(body)


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "HEAD"])
def test_a_call_is_a_post(verb: str) -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.request(RANGE, KEY, verb)
        status, headers = await client.head()
        assert (status, headers["Content-Type"]) == (405, "text/plain; charset=utf-8")
        assert one.fakes.seen == []

    run(body)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", b"404 page not found\n"),
        ("/no/such/path", b"404 page not found\n"),
        ("/v3alpha/kv/range", b"404 page not found\n"),
        ("/v3/kv/nothing", b"Not Found\n"),
        ("/v3/kv/range/", b"Not Found\n"),
        ("/v3beta/kv", b"Not Found\n"),
    ],
)
def test_an_unknown_path_is_not_found_in_plain_text(path: str, text: bytes) -> None:
    async def body(one: Served) -> None:
        for verb in ("GET", "POST"):
            answer = await one.ask(path, KEY, verb)
            kind = answer.headers["Content-Type"]
            assert (answer.status, kind) == (404, "text/plain; charset=utf-8")
            assert answer.body == text

    run(body)


def test_every_method_of_etcd_has_its_path_but_the_one_that_etcd_has_none_for() -> None:
    class Anything:
        def __getattr__(self, name: str) -> Any:
            return None

    table = {(one.service, one.name) for one in methods((name, Anything()) for name in SERVICES)}
    assert table - set(PATHS) == {("etcdserverpb.KV", "RangeStream")}
    assert set(PATHS) <= table


def test_a_page_of_any_origin_may_ask() -> None:
    async def body(one: Served) -> None:
        asked = await one.ask(RANGE, b"", "OPTIONS", Origin="http://elsewhere")
        assert (asked.status, asked.body) == (200, b"")
        for answer in (asked, await one.ask(RANGE, KEY), await one.get("/nothing")):
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "authorization" in answer.headers["Access-Control-Allow-Headers"]
            assert "aiohttp" not in answer.headers["Server"]

    run(body)


def test_a_client_that_asks_before_it_sends_its_body_is_told_to() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        head = "POST {} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n"
        client.send(head.format(RANGE, len(KEY)).encode())
        async with asyncio.timeout(LIMIT_S):
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(KEY.encode())
        assert (await client.answer()).status == 200

    run(body)


def test_one_connection_carries_many_requests_also_after_refused_ones() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        for text, status in ((KEY, 200), ("trash", 400), (KEY, 200)):
            client.request(RANGE, text)
            assert (await client.answer()).status == status
        client.request("/version", b"", "GET")
        client.request(RANGE, KEY)
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]

    run(body)


def test_a_client_of_http_1_0_is_answered_and_let_go() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.send(f"POST {RANGE} HTTP/1.0\r\nContent-Length: 14\r\n\r\n{KEY}".encode())
        async with asyncio.timeout(LIMIT_S):
            assert (await client.reader.read()).startswith(b"HTTP/1.0 200 OK\r\n")

    run(body)


def test_a_long_token_is_taken() -> None:
    async def body(one: Served) -> None:
        await one.ask(RANGE, KEY, Authorization="t" * 50_000)
        assert len(one.fakes.callers[0].token) == 50_000

    run(body)


@pytest.mark.parametrize("path", [RANGE, "/v3/watch"])
def test_a_time_that_the_caller_gave_ends_its_call(path: str) -> None:
    async def body(one: Served) -> None:
        answer = await one.ask(path, '{"key":"d2FpdA=="}', Grpc_Timeout="1m")
        assert b'"context deadline exceeded"' in answer.body
        if path == RANGE:
            assert (answer.status, answer.value["code"]) == (504, 4)
        await one.fakes.is_ended.wait()

    run(body)


@pytest.mark.parametrize("text", ["5", "m", "5x", "-1S", "123456789S", "1.5S", "\u0665S"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    async def body(one: Served) -> None:
        answer = await one.ask(RANGE, KEY, Grpc_Timeout=text)
        assert (answer.status, answer.value["code"]) == (400, 3)
        assert one.fakes.seen == []

    run(body)


def test_no_time_is_no_limit() -> None:
    async def body(one: Served) -> None:
        for text in ("0S", "2H"):
            assert (await one.ask(RANGE, KEY, Grpc_Timeout=text)).status == 200

    run(body)


def test_bytes_that_are_no_http_are_not_worth_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.send(b"POST / HTTP/9.9 trash\r\n\r\n")
        assert (await client.answer()).status == 400

    run(body)
    assert [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []
