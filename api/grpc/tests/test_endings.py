"""How calls end when their client, the leader or the server goes."""

import asyncio

import grpc
import pytest
from grpc_serving import LIMIT_S, PUT, STREAM, WATCHING, served, status_of

from metastore.api.grpc.server import GrpcServer
from metastore.api.protocol.messages import rpc

WAIT = rpc.PutRequest(key=b"wait").SerializeToString()
QUICK = rpc.PutRequest(key=b"k").SerializeToString()
STOPPED = ("UNAVAILABLE", "etcdserver: server stopped")
NO_LEADER = ("UNAVAILABLE", "etcdserver: no leader")


def test_a_cancelled_call_cancels_what_serves_it() -> None:
    async def ask() -> None:
        async with served() as (echo, server, channel, _):
            call = channel.unary_unary(PUT)(WAIT, timeout=LIMIT_S)
            await asyncio.wait_for(echo.begun.wait(), LIMIT_S)
            assert server.running_count == 1
            call.cancel()
            await asyncio.wait_for(echo.finished.wait(), LIMIT_S)
            assert echo.ended == ["put"]

    asyncio.run(ask())


def test_a_call_whose_time_is_over_is_cancelled_too() -> None:
    async def ask() -> None:
        async with served() as (echo, _, channel, _):
            found = await status_of(channel.unary_unary(PUT)(WAIT, timeout=0.2))
            assert found[0] == "DEADLINE_EXCEEDED"
            await asyncio.wait_for(echo.finished.wait(), LIMIT_S)

    asyncio.run(ask())


def test_a_stream_whose_client_leaves_is_closed_at_once() -> None:
    async def ask() -> None:
        async with served() as (echo, _, channel, _):
            call = channel.stream_stream(WATCHING)()
            await asyncio.wait_for(echo.begun.wait(), LIMIT_S)
            call.cancel()
            await asyncio.wait_for(echo.finished.wait(), LIMIT_S)
            assert echo.ended == ["watch"]

    asyncio.run(ask())


def test_a_stop_ends_streams_at_once_and_tells_them() -> None:
    async def ask() -> None:
        async with served() as (echo, server, channel, _):
            call = channel.stream_stream(WATCHING)()
            await asyncio.wait_for(echo.begun.wait(), LIMIT_S)
            await asyncio.wait_for(server.stop(LIMIT_S), LIMIT_S / 2)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert (caught.value.code().name, caught.value.details()) == STOPPED
            assert echo.ended == ["watch"]

    asyncio.run(ask())


def test_a_stop_ends_other_calls_when_their_time_is_over() -> None:
    async def ask() -> None:
        async with served() as (echo, server, channel, _):
            call = channel.unary_unary(PUT)(WAIT, timeout=LIMIT_S)
            await asyncio.wait_for(echo.begun.wait(), LIMIT_S)
            stopping = asyncio.ensure_future(server.stop(0.1))
            assert await status_of(call) == STOPPED
            await asyncio.wait_for(stopping, LIMIT_S)
            assert server.running_count == 0

    asyncio.run(ask())


def test_without_a_leader_who_asked_for_one_is_told() -> None:
    async def ask() -> None:
        async with served() as (echo, server, channel, _):
            asked = (("hasleader", "true"),)
            request = rpc.RangeRequest(key=b"wait").SerializeToString()
            stream = channel.unary_stream(STREAM)(request, metadata=asked)
            reading = asyncio.ensure_future(status_of(stream.read()))
            await asyncio.wait_for(echo.begun.wait(), LIMIT_S)
            server.set_leader(False)
            assert await reading == NO_LEADER
            put = channel.unary_unary(PUT)
            assert await status_of(put(QUICK, timeout=LIMIT_S, metadata=asked)) == NO_LEADER
            assert await status_of(put(QUICK, timeout=LIMIT_S)) == ("OK", "")
            server.set_leader(True)
            assert await status_of(put(QUICK, timeout=LIMIT_S, metadata=asked)) == ("OK", "")

    asyncio.run(ask())


def test_a_socket_left_by_a_killed_gateway_is_taken_over() -> None:
    async def ask() -> None:
        async with served() as (_, server, _, path):
            await server.stop(0)
            path.touch()
            other = GrpcServer(())
            await other.start(path)
            assert path.is_socket()
            await other.stop(0)

    asyncio.run(ask())
