"""Streams over HTTP: lines that leave at once, bodies that stay open, ends of all kinds."""

import asyncio
from typing import Any

import pytest
from web_serving import LIMIT_S, Served, served

from metastore.api.calls import ApiError, Status
from metastore.api.grpc.limits import MESSAGE_BYTES_MAX
from metastore.api.link import STOPPED
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


async def nothing_more(one: Served) -> None:
    while one.app.running_count:
        await asyncio.sleep(0)


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


def test_the_end_of_the_body_does_not_end_a_watch_and_the_end_of_the_connection_does() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.request(WATCH, CREATE)
        await client.head()
        await client.chunk()
        await one.fakes.is_waiting.wait()  # its requests have ended
        assert not one.fakes.is_ended.is_set()
        await client.close()
        await one.fakes.is_ended.wait()
        await nothing_more(one)

    run(body)


def test_a_client_that_leaves_with_its_body_open_frees_its_watch() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.begin(WATCH)
        client.piece(CREATE)
        await client.head()
        client.writer.transport.abort()
        await one.fakes.is_ended.wait()
        await nothing_more(one)

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


def test_the_one_request_of_a_stream_of_answers_is_refused_as_in_other_calls() -> None:
    async def body(one: Served) -> None:
        answer = await one.ask(SNAPSHOT, "{")
        assert (answer.status, answer.value["code"]) == (400, 3)

    run(body)


def test_an_error_before_the_first_answer_has_its_http_status() -> None:
    async def body(one: Served) -> None:
        one.fakes.fault = ApiError(Status.PERMISSION_DENIED, "etcdserver: permission denied")
        for path in (SNAPSHOT, KEEP_ALIVE):
            answer = await one.ask(path, '{"ID":"7"}' if path == KEEP_ALIVE else "")
            assert answer.status == 403
            assert answer.value == {
                "error": {
                    "grpc_code": 7,
                    "http_code": 403,
                    "message": "etcdserver: permission denied",
                    "http_status": "Forbidden",
                }
            }

    run(body)


def test_an_error_after_answers_is_the_last_line() -> None:
    async def body(one: Served) -> None:
        one.fakes.fault = ApiError(Status.UNAVAILABLE, "etcdserver: no leader")
        one.fakes.fault_after = 2
        answer = await one.ask(SNAPSHOT)
        assert answer.status == 200
        assert lines(answer.body) == [
            b'{"result":{"blob":"/w=="}}',
            b'{"result":{"remaining_bytes":"1","blob":"/w=="}}',
            b'{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader",'
            b'"http_status":"Service Unavailable"}}',
        ]

    run(body)


def test_a_defect_in_the_middle_of_a_stream_is_an_error_line_too() -> None:
    async def body(one: Served) -> None:
        one.fakes.fault = RuntimeError("a secret of the machine")
        one.fakes.fault_after = 1
        last = lines((await one.ask(SNAPSHOT)).body)[-1]
        assert b'"grpc_code":13' in last
        assert b"secret" not in last

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


def test_a_stream_to_a_client_of_http_1_0_is_lines_and_the_end_of_the_connection() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.send(
            f'POST {KEEP_ALIVE} HTTP/1.0\r\nContent-Length: 10\r\n\r\n{{"ID":"7"}}'.encode()
        )
        async with asyncio.timeout(LIMIT_S):
            head, _, rest = (await client.reader.read()).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert rest == b'{"result":{"ID":"7","TTL":"60"}}\n'

    run(body)


def test_a_stream_is_told_that_the_server_stops() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.begin(WATCH)
        client.piece(CREATE)
        await client.head()
        await client.chunk()
        stopping = asyncio.ensure_future(one.app.stop())
        error = (await client.chunk())["error"]
        assert (error["grpc_code"], error["message"]) == (14, STOPPED)
        client.piece("")
        await stopping
        assert one.fakes.is_ended.is_set()

    run(body)


def test_a_stream_that_asked_for_a_leader_ends_without_one() -> None:
    async def body(one: Served) -> None:
        careful, other = await one.connect(), await one.connect()
        for client, header in ((careful, "true"), (other, "false")):
            client.request(WATCH, CREATE, Grpc_Metadata_Hasleader=header)
            await client.head()
            await client.chunk()
        one.app.set_leader(False)
        assert (await careful.chunk())["error"]["message"] == "etcdserver: no leader"
        refused = await one.ask(WATCH, CREATE, Grpc_Metadata_Hasleader="true")
        assert refused.status == 503
        assert one.app.running_count == 1
        assert [caller.requires_leader for caller in one.fakes.callers] == [True, False]

    run(body)


def test_a_client_that_does_not_read_holds_up_its_own_stream_only() -> None:
    async def body(one: Served) -> None:
        one.fakes.fault_after = 1 << 30
        client = await one.connect()
        client.request(SNAPSHOT)
        await client.head()
        assert (await one.ask("/v3/kv/range", "{}")).status == 200
        await client.close()
        await nothing_more(one)

    run(body)
