"""Streams over HTTP: lines that leave at once, bodies that stay open, requests that are none."""

import asyncio
from typing import Any

import pytest
from web_serving import Served, served

from metastore.api.grpc.limits import MESSAGE_BYTES_MAX
from metastore.api.protocol.messages import rpc
from metastore.api.web.limits import BODY_BYTES_MAX

WATCH, KEEP_ALIVE, SNAPSHOT = "/v3/watch", "/v3/lease/keepalive", "/v3/maintenance/snapshot"
CREATE = '{"create_request":{"key":"YQ=="}}'
CREATED = {"created": True}


def run(body: Any) -> None:
    async def main() -> None:
        async with served() as one:
            await body(one)

    asyncio.run(main())


def lines(body: bytes) -> list[bytes]:
    return body.splitlines()


def test_each_message_is_a_line_that_leaves_at_once_while_the_body_stays_open() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.begin(WATCH)
        client.piece(CREATE[:10])
        client.piece(CREATE[10:])
        status, headers = await client.head()
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert await client.chunk() == {"result": {"watch_id": "1", **CREATED}}
        client.piece(CREATE + "\n" + CREATE)
        for number in ("2", "3"):
            assert await client.chunk() == {"result": {"watch_id": number, **CREATED}}
        create = rpc.WatchCreateRequest(key=b"a")
        assert one.fakes.seen == [rpc.WatchRequest(create_request=create)] * 3

    run(body)


def test_a_keep_alive_answers_each_request_and_ends_with_the_body() -> None:
    async def body(one: Served) -> None:
        answer = await one.ask(KEEP_ALIVE, '{"ID":"7"}{"ID":8}\n')
        assert answer.status == 200
        assert lines(answer.body) == [
            b'{"result":{"ID":"7","TTL":"60"}}',
            b'{"result":{"ID":"8","TTL":"60"}}',
        ]
        assert lines((await one.ask(KEEP_ALIVE, "null")).body) == [b'{"result":{"TTL":"60"}}']

    run(body)


def test_a_stream_of_no_requests_has_no_answers() -> None:
    async def body(one: Served) -> None:
        answer = await one.ask(KEEP_ALIVE, "")
        assert (answer.status, answer.body) == (200, b"")

    run(body)


@pytest.mark.parametrize("text", ["trash", "[]", "{", '{"ID":"x"}', '{"ID":1.5}'])
@pytest.mark.parametrize("path", [KEEP_ALIVE, WATCH])
def test_a_first_request_that_is_none_is_refused_as_by_a_call_with_one_answer(
    path: str, text: str
) -> None:
    async def body(one: Served) -> None:
        text_of_it = text.replace('"ID"', '"create_request"') if path == WATCH else text
        answer = await one.ask(path, text_of_it)
        value = answer.value
        # etcd has no code of its own for it here.
        assert (answer.status, value["code"]) == (500, 2)
        assert value["error"] == value["message"]
        assert one.fakes.callers == []

    run(body)


@pytest.mark.parametrize("text", ["trash", '{"ID":"x"}', "{"])
def test_a_later_request_that_is_none_is_the_end_of_the_requests(text: str) -> None:
    async def body(one: Served) -> None:
        answer = await one.ask(KEEP_ALIVE, '{"ID":"7"}' + text)
        assert lines(answer.body) == [b'{"result":{"ID":"7","TTL":"60"}}']

    run(body)


def test_bytes_that_are_no_utf_8_are_a_sign_for_it_in_whatever_pieces_they_come() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.begin(KEEP_ALIVE)
        for piece in (b'{"ID":"7","x":"\xc3', b'\xa4\xff"}'):
            client.piece(piece)
        await client.head()
        assert (await client.chunk())["result"]["ID"] == "7"

    run(body)


def test_the_one_request_of_a_stream_of_answers_is_refused_as_in_other_calls() -> None:
    async def body(one: Served) -> None:
        answer = await one.ask(SNAPSHOT, "{")
        assert (answer.status, answer.value["code"]) == (400, 3)

    run(body)


def test_a_request_in_a_stream_above_the_limit_ends_the_stream() -> None:
    async def body(one: Served) -> None:
        value = "A" * (MESSAGE_BYTES_MAX // 3 * 4 + 8)
        large = f'{{"create_request":{{"key":"{value}"}}}}'
        answer = await one.ask(WATCH, large)
        assert (answer.status, answer.value["code"]) == (429, 8)
        assert one.fakes.seen == []

    run(body)


def test_a_request_without_an_end_is_read_up_to_the_limit() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.begin(KEEP_ALIVE)
        client.piece('{"ID":"7"}{"x":"')
        await client.head()
        await client.chunk()
        for _ in range(5):
            client.piece("x" * (BODY_BYTES_MAX // 4))
        assert (await client.chunk())["error"]["grpc_code"] == 8

    run(body)


def test_a_body_may_be_longer_than_the_limit_of_one_message() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.begin(KEEP_ALIVE)
        room = " " * (BODY_BYTES_MAX // 2)
        for number in range(4):
            client.piece(room + '{"ID":"7"}')
            if not number:
                await client.head()
            assert (await client.chunk())["result"]["ID"] == "7"

    run(body)
