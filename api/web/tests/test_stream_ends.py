"""How streams over HTTP end: by the client, by the service, with the server."""

import asyncio
from typing import Any

import pytest
from web_serving import LIMIT_S, Served, served

from metastore.api.calls import ApiError, Status
from metastore.api.link import STOPPED

WATCH, KEEP_ALIVE, SNAPSHOT = "/v3/watch", "/v3/lease/keepalive", "/v3/maintenance/snapshot"
CREATE = '{"create_request":{"key":"YQ=="}}'


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


def test_a_client_that_has_gone_when_an_answer_is_ready_is_not_worth_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body(one: Served) -> None:
        def leave() -> None:
            (connection,) = one.app._server.connections  # type: ignore[union-attr]
            connection.transport.abort()  # type: ignore[union-attr]

        one.fakes.fault_after = 1
        one.fakes.before_reply = leave
        client = await one.connect()
        client.request(SNAPSHOT)
        async with asyncio.timeout(LIMIT_S):
            assert await client.reader.read() == b""
        await nothing_more(one)

    run(body)
    assert [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []


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
        assert not one.fakes.is_ended.is_set()
        client.writer.transport.abort()
        await one.fakes.is_ended.wait()  # it was not within the service when its client left
        await nothing_more(one)

    run(body)
