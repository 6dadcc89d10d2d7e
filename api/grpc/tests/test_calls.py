"""Calls as a client sees them: answers, statuses and texts, by real connections."""

import asyncio
import logging
from typing import Any

import grpc
import pytest
from grpc_serving import (
    LIMIT_S,
    PUT,
    RANGE,
    STREAM,
    WATCHING,
    served,
    status_of,
    status_of_stream,
)

from metastore.api.front.peers import Peer, Peers
from metastore.api.grpc.limits import MESSAGE_BYTES_MAX, RECEIVED_BYTES_MAX
from metastore.api.protocol.messages import rpc


def put(key: bytes, value: bytes = b"") -> bytes:
    return bytes(rpc.PutRequest(key=key, value=value).SerializeToString())


def statuses_of(path: str, *requests: bytes, **options: Any) -> list[tuple[str, str]]:
    async def ask() -> list[tuple[str, str]]:
        async with served(**options) as (_, _, channel, _):
            call = channel.unary_unary(path)
            return [await status_of(call(data, timeout=LIMIT_S)) for data in requests]

    return asyncio.run(ask())


def test_a_unary_call_gets_its_reply() -> None:
    async def ask() -> None:
        async with served() as (_, _, channel, _):
            call = channel.unary_unary(PUT, response_deserializer=rpc.PutResponse.FromString)
            assert (await call(put(b"k", b"four"), timeout=LIMIT_S)).header.revision == 4

    asyncio.run(ask())


def test_an_error_of_a_service_is_its_code_and_exactly_its_text() -> None:
    assert statuses_of(PUT, put(b"fail")) == [
        ("FAILED_PRECONDITION", "etcdserver: requested lease not found")
    ]


def test_a_defect_costs_its_call_and_one_line_and_never_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, logger="metastore.api.grpc"):
        found = statuses_of(PUT, put(b"defect"), put(b"no reply"), put(b"k"))
    assert [code for code, _ in found] == ["INTERNAL", "INTERNAL", "OK"]
    ours = [record for record in caplog.records if record.name == "metastore.api.grpc"]
    assert [record.__dict__["method"] for record in ours] == [PUT, PUT]


def test_a_defect_in_a_stream_ends_it_with_a_status() -> None:
    async def ask() -> None:
        async with served() as (_, _, channel, _):
            request = rpc.RangeRequest(key=b"defect", limit=2).SerializeToString()
            call = channel.unary_stream(STREAM)(request, timeout=LIMIT_S)
            assert await call.read() is not None
            assert await call.read() is not None
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.INTERNAL

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
        ("/no.Service/Nope", "unknown service no.Service"),
        ("/a/b/c", "unknown service a/b"),
        ("/plain", 'malformed method name: "/plain"'),
    ],
)
def test_what_does_not_exist_is_unimplemented_in_etcds_words(path: str, text: str) -> None:
    assert statuses_of(path, b"anything") == [("UNIMPLEMENTED", text)]


def test_a_unary_call_without_a_message_ends() -> None:
    async def ask(path: str) -> tuple[str, str]:
        async with served() as (_, _, channel, _):
            return await status_of_stream(channel, path)

    assert asyncio.run(ask(PUT)) == ("UNKNOWN", "EOF")
    assert asyncio.run(ask(STREAM)) == ("UNKNOWN", "EOF")


@pytest.mark.parametrize("size", [MESSAGE_BYTES_MAX + 1, 10 << 20])
def test_a_request_that_is_too_large_is_refused_in_etcds_words(size: int) -> None:
    text = f"grpc: received message larger than max ({size} vs. 2097152)"
    assert statuses_of(PUT, bytes(size), put(b"k")) == [("RESOURCE_EXHAUSTED", text), ("OK", "")]


def test_a_request_above_what_is_read_at_all_has_the_same_code() -> None:
    found = statuses_of(PUT, bytes(RECEIVED_BYTES_MAX + 1), put(b"k"))
    assert [code for code, _ in found] == ["RESOURCE_EXHAUSTED", "OK"]


def test_the_largest_request_is_let_in() -> None:
    overhead = len(put(b"k", bytes(1 << 20))) - (1 << 20)
    data = put(b"k", bytes(MESSAGE_BYTES_MAX - overhead))
    assert len(data) == MESSAGE_BYTES_MAX
    assert statuses_of(PUT, data) == [("OK", "")]


def test_answers_have_no_limit() -> None:
    async def ask() -> None:
        async with served() as (_, _, channel, _):
            request = rpc.RangeRequest(key=b"k", limit=20 << 20).SerializeToString()
            assert len(await channel.unary_unary(RANGE)(request, timeout=LIMIT_S)) > 20 << 20

    asyncio.run(ask())


def test_what_is_no_message_is_internal_in_etcds_words() -> None:
    found = statuses_of(RANGE, b"\x0a\x05ab", b"\x00\x00", b"")
    prefix = "grpc: error unmarshalling request: "
    assert found == [
        ("INTERNAL", prefix + "unexpected EOF"),
        ("INTERNAL", prefix + "proto: RangeRequest: illegal tag 0 (wire type 0)"),
        ("OK", ""),
    ]


def test_what_is_no_message_ends_a_stream_whoever_reads_it() -> None:
    async def ask() -> tuple[str, str]:
        async with served() as (_, _, channel, _):
            good = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(watch_id=7))
            return await status_of_stream(
                channel, WATCHING, good.SerializeToString(), b"\x0a\x05ab"
            )

    text = "grpc: failed to unmarshal the received message unexpected EOF"
    assert asyncio.run(ask()) == ("INTERNAL", text)


def test_metadata_and_the_connection_say_who_calls() -> None:
    async def ask() -> None:
        async with served() as (echo, _, channel, _):
            call = channel.unary_unary(PUT)
            for metadata in (
                (),
                (("token", "one"), ("authorization", "two"), ("hasleader", "true")),
                (("authorization", "two"), ("client-api-version", "3.5.1")),
                (("hasleader", "false"),),
            ):
                await call(put(b"k"), timeout=LIMIT_S, metadata=metadata)
            found = [(caller.token, caller.requires_leader) for caller in echo.callers]
            assert found == [("", False), ("one", True), ("two", False), ("", False)]
            assert {caller.address for caller in echo.callers} == {""}

    asyncio.run(ask())


def test_a_name_of_a_relay_is_found_as_grpc_writes_it() -> None:
    peers = Peers()
    name = peers.add(Peer("192.0.2.1:40000", "alice"))
    assert peers.find(f"unix-abstract:{name}") == Peer("192.0.2.1:40000", "alice")
    assert peers.find("unix:").address == ""
    peers.remove(name)
    assert peers.find(f"unix-abstract:{name}").certificate_name == ""


def test_long_tokens_are_let_in() -> None:
    async def ask() -> None:
        async with served() as (echo, _, channel, _):
            token = "t" * 30_000
            await channel.unary_unary(PUT)(put(b"k"), timeout=LIMIT_S, metadata=(("token", token),))
            assert echo.callers[0].token == token

    asyncio.run(ask())


def test_many_calls_at_once_are_all_answered() -> None:
    async def ask() -> None:
        async with served() as (_, _, channel, _):
            call = channel.unary_unary(PUT)
            calls = [call(put(b"k"), timeout=LIMIT_S) for _ in range(3000)]
            assert {await status_of(one) for one in calls} == {("OK", "")}

    asyncio.run(ask())


def test_more_calls_than_may_run_are_refused() -> None:
    async def ask() -> None:
        async with served(calls_max=1) as (echo, _, channel, _):
            call = channel.unary_unary(PUT)
            first = call(put(b"wait"), timeout=LIMIT_S)
            await asyncio.wait_for(echo.begun.wait(), LIMIT_S)
            found = await status_of(call(put(b"k"), timeout=LIMIT_S))
            assert found == ("RESOURCE_EXHAUSTED", "etcdserver: too many requests")
            first.cancel()

    asyncio.run(ask())


def test_large_requests_that_find_no_room_are_refused_and_small_ones_always_find_some() -> None:
    async def ask() -> None:
        async with served(request_bytes_max=10_000) as (echo, _, channel, _):
            call = channel.unary_unary(PUT)
            first = call(put(b"wait", bytes(6000)), timeout=LIMIT_S)
            await asyncio.wait_for(echo.begun.wait(), LIMIT_S)
            found = await status_of(call(put(b"k", bytes(5000)), timeout=LIMIT_S))
            assert found == ("RESOURCE_EXHAUSTED", "etcdserver: too many requests")
            assert await status_of(call(put(b"k", bytes(4000)), timeout=LIMIT_S)) == ("OK", "")
            first.cancel()
            await asyncio.wait_for(echo.finished.wait(), LIMIT_S)
            for _ in range(3):  # the room of each is free again
                found = await status_of(call(put(b"k", bytes(5000)), timeout=LIMIT_S))
                assert found == ("OK", "")

    asyncio.run(ask())
