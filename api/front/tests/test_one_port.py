"""One port: gRPC and HTTP/1.1, and what is neither."""

import asyncio
import socket

import aiohttp
import grpc
import pytest
from fronting import PREFACE, REQUEST, ask_put, fronted
from grpc_serving import LIMIT_S, STREAM, WATCHING, status_of

from metastore.api.front import first_bytes, limits
from metastore.api.protocol.messages import rpc


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Until the other side ends it, in whichever way."""
    found = b""
    try:
        async with asyncio.timeout(LIMIT_S):
            while data := await reader.read(1 << 16):
                found += data
    except ConnectionError:
        pass
    return found


def test_grpc_and_http_are_served_on_one_port() -> None:
    async def ask() -> None:
        async with fronted() as fronted_, grpc.aio.insecure_channel(fronted_.target) as channel:
            assert await ask_put(channel, b"four") == 4
            async with aiohttp.ClientSession() as session:
                for _ in range(3):  # on one connection
                    async with session.post(f"{fronted_.url}/v3", data=bytes(3 << 20)) as reply:
                        assert await reply.text() == f"127.0.0.1 /v3 {3 << 20}"
            assert await ask_put(channel, b"four") == 4

    asyncio.run(ask())


@pytest.mark.parametrize("cut", [1, 3, 4, 15, 23])
def test_first_bytes_may_come_in_pieces(cut: int) -> None:
    async def ask(first: bytes) -> bytes:
        async with fronted() as fronted_:
            reader, writer = await asyncio.open_connection("127.0.0.1", fronted_.port)
            writer.write(first[:cut])
            await asyncio.sleep(0.02)
            writer.write(first[cut:])
            async with asyncio.timeout(LIMIT_S):
                answer = await reader.readexactly(9)
            writer.close()
            return answer

    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    assert asyncio.run(ask(PREFACE + settings))[3] == 4  # the server's own SETTINGS
    assert asyncio.run(ask(b"P" + REQUEST[1:].replace(b"ET", b"UT", 1))) == b"HTTP/1.1 "


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00", b"\x00", b"get /"])
def test_rubbish_is_disconnected(first: bytes) -> None:
    async def ask() -> None:
        async with fronted() as fronted_:
            reader, writer = await asyncio.open_connection("127.0.0.1", fronted_.port)
            writer.write(first + b"\r\n\r\n")
            found = await read_all(reader)
            assert found == b"" or found.startswith(b"HTTP/1.1 400")
            writer.close()
            await fronted_.until(lambda: fronted_.front.connection_count == 0)

    asyncio.run(ask())


@pytest.mark.parametrize("first", [b"", b"PRI * HT"])
def test_who_does_not_say_enough_in_time_is_disconnected(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_bytes, "FIRST_BYTES_S", 0.05)

    async def ask() -> None:
        async with fronted() as fronted_:
            reader, writer = await asyncio.open_connection("127.0.0.1", fronted_.port)
            writer.write(first)
            assert await read_all(reader) == b""
            writer.close()
            await fronted_.until(lambda: fronted_.front.connection_count == 0)

    asyncio.run(ask())


def test_connections_that_have_begun_are_not_disconnected_for_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_bytes, "FIRST_BYTES_S", 0.05)

    async def ask() -> None:
        async with fronted() as fronted_, grpc.aio.insecure_channel(fronted_.target) as channel:
            reader, writer = await asyncio.open_connection("127.0.0.1", fronted_.port)
            for _ in range(2):
                await ask_put(channel)
                writer.write(REQUEST)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                await reader.read(100)
            assert fronted_.front.connection_count == 2
            writer.close()

    asyncio.run(ask())


def test_the_real_address_is_known_behind_the_relay() -> None:
    async def ask() -> None:
        async with fronted() as fronted_:
            async with grpc.aio.insecure_channel(fronted_.target) as channel:
                await ask_put(channel)
                assert len(fronted_.peers) == 1
            host, _, port = fronted_.echo.callers[0].address.rpartition(":")
            assert host == "127.0.0.1"
            assert int(port) not in (0, fronted_.port)
            await fronted_.until(lambda: len(fronted_.peers) == 0)
            assert fronted_.front.connection_count == 0

    asyncio.run(ask())


def test_connections_above_the_limit_are_refused_until_others_end() -> None:
    async def ask() -> None:
        async with fronted(connections_max=2) as fronted_:
            kept = [await asyncio.open_connection("127.0.0.1", fronted_.port) for _ in range(2)]
            reader, writer = await asyncio.open_connection("127.0.0.1", fronted_.port)
            assert await read_all(reader) == b""
            assert fronted_.front.refused_count == 1
            writer.close()
            kept[0][1].close()
            await fronted_.until(lambda: fronted_.front.connection_count == 1)
            reader, writer = await asyncio.open_connection("127.0.0.1", fronted_.port)
            writer.write(REQUEST)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
            kept[1][1].close()

    asyncio.run(ask())


def test_a_thousand_idle_connections_leave_it_serving() -> None:
    async def ask() -> None:
        async with fronted() as fronted_:
            settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
            limits.connections_possible(2 * fronted_.front.connections_max)
            opened = []
            for number in range(1000):
                pair = await asyncio.open_connection("127.0.0.1", fronted_.port)
                if number % 2:
                    pair[1].write(PREFACE + settings)
                opened.append(pair)
            await fronted_.until(lambda: len(fronted_.peers) == 500)
            async with grpc.aio.insecure_channel(fronted_.target) as channel:
                assert await ask_put(channel, b"four") == 4
            for _, writer in opened:
                writer.close()
            await fronted_.until(lambda: fronted_.front.connection_count == 0)
            assert len(fronted_.peers) == 0

    asyncio.run(ask())


def test_large_messages_pass_in_both_directions() -> None:
    async def ask() -> None:
        async with fronted() as fronted_, grpc.aio.insecure_channel(fronted_.target) as channel:
            lengths = [ask_put(channel, bytes(1_900_000 + extra)) for extra in range(8)]
            assert await asyncio.gather(*lengths) == [1_900_000 + extra for extra in range(8)]
            request = rpc.RangeRequest(key=b"k", limit=10_000).SerializeToString()
            call = channel.unary_stream(STREAM)(request, timeout=LIMIT_S)
            assert len([answer async for answer in call]) == 10_000

    asyncio.run(ask())


def test_a_client_that_is_gone_ends_its_calls() -> None:
    async def ask() -> None:
        async with fronted() as fronted_:
            channel = grpc.aio.insecure_channel(fronted_.target)
            call = channel.stream_stream(WATCHING)()
            await asyncio.wait_for(fronted_.echo.begun.wait(), LIMIT_S)
            await channel.close()
            await asyncio.wait_for(fronted_.echo.finished.wait(), LIMIT_S)
            assert call.done()

    asyncio.run(ask())


def test_a_closed_front_leaves_no_connection() -> None:
    async def ask() -> None:
        async with fronted() as fronted_, grpc.aio.insecure_channel(fronted_.target) as channel:
            await ask_put(channel)
            idle = await asyncio.open_connection("127.0.0.1", fronted_.port)
            await fronted_.front.close()
            assert fronted_.front.connection_count == 0
            assert await read_all(idle[0]) == b""
            idle[1].close()
            code, _ = await status_of(channel.unary_unary("/a/b")(b"", timeout=LIMIT_S))
            assert code == "UNAVAILABLE"

    asyncio.run(ask())


def test_an_address_in_use_is_an_error_that_leaves_nothing_open() -> None:
    async def ask() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            async with fronted() as fronted_:
                fronted_.front.stop_listening()
                fronted_.front._listen = [f"http://127.0.0.1:{taken.getsockname()[1]}"]
                with pytest.raises(OSError, match="in use"):
                    await fronted_.front.start()

    asyncio.run(ask())
