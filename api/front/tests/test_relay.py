"""The relay between a client and a server on a unix socket, here one made for each test."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fronting import PREFACE
from grpc_serving import LIMIT_S

from metastore.api.front import relay
from metastore.api.front.front import Front
from metastore.api.front.peers import Peers

CHUNK = bytes(1 << 20)
CHUNKS = 64
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def relayed(tmp_path: Path, serve: Serve) -> AsyncIterator[tuple[Front, Pair]]:
    """A client connected by the front to `serve`; it has sent the preface."""
    path = tmp_path / "grpc"
    server = await asyncio.start_unix_server(serve, path)
    front = Front(["http://127.0.0.1:0"], asyncio.Protocol, grpc_path=path, peers=Peers())
    await front.start()
    pair = await asyncio.open_connection(*front.addresses[0])
    pair[1].write(PREFACE)
    async with asyncio.timeout(LIMIT_S):
        yield front, pair
    pair[1].close()
    await front.close()
    server.close()


@pytest.fixture
def is_paused(monkeypatch: pytest.MonkeyPatch) -> list[relay.Side]:
    """The sides that could not take more, so far."""
    paused: list[relay.Side] = []
    pause = relay.Side.pause_writing

    def pausing(side: relay.Side) -> None:
        pause(side)
        paused.append(side)

    monkeypatch.setattr(relay.Side, "pause_writing", pausing)
    return paused


async def send_much(writer: asyncio.StreamWriter) -> None:
    for _ in range(CHUNKS):
        writer.write(CHUNK)
        await writer.drain()
    writer.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_what_a_client_does_not_read_waits_at_the_server(
    tmp_path: Path, is_paused: list[relay.Side]
) -> None:
    sending: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sending.append(asyncio.ensure_future(send_much(writer)))

    async def ask() -> None:
        async with relayed(tmp_path, serve) as (front, (reader, _)):
            await until(lambda: is_paused)
            await asyncio.wait(sending, timeout=0.3)
            assert not sending[0].done()
            total = 0
            while data := await reader.read(1 << 20):
                total += len(data)
            # All of it, though the server closed its connection when it had sent the last byte.
            assert total == CHUNKS * len(CHUNK)
            await until(lambda: front.connection_count == 0)
            assert len(front.peers) == 0

    asyncio.run(ask())


def test_what_the_server_does_not_read_waits_at_the_client(
    tmp_path: Path, is_paused: list[relay.Side]
) -> None:
    async def ask() -> None:
        may_read, total = asyncio.Event(), 0
        is_read = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal total
            await may_read.wait()
            while data := await reader.read(1 << 20):
                total += len(data)
            writer.close()
            is_read.set()

        async with relayed(tmp_path, serve) as (_, (_, writer)):
            sending = asyncio.ensure_future(send_much(writer))
            await until(lambda: is_paused)
            await asyncio.wait([sending], timeout=0.3)
            assert not sending.done()
            may_read.set()
            await is_read.wait()
            assert total == len(PREFACE) + CHUNKS * len(CHUNK)

    asyncio.run(ask())


def test_a_client_that_sends_no_more_still_gets_its_answer(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read()  # to its end
        writer.write(b"answer to " + asked)
        writer.close()

    async def ask() -> None:
        async with relayed(tmp_path, serve) as (front, (reader, writer)):
            writer.write_eof()
            assert await reader.read() == b"answer to " + PREFACE
            await until(lambda: front.connection_count == 0)

    asyncio.run(ask())


def test_a_client_that_never_reads_the_last_bytes_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "FLUSH_S", 0.05)

    async def ask() -> None:
        ours, theirs = socket.socketpair()
        is_lost = asyncio.Event()
        transport, _ = await asyncio.get_running_loop().create_unix_connection(
            lambda: relay.Side(None, relay.GONE, is_lost.set), sock=ours
        )
        transport.write(CHUNK * 8)
        relay.close_soon(transport)
        await asyncio.wait_for(is_lost.wait(), LIMIT_S)
        theirs.close()

    asyncio.run(ask())


def test_a_server_that_cannot_be_reached_costs_the_client_its_connection(tmp_path: Path) -> None:
    async def ask() -> None:
        front = Front(
            ["http://127.0.0.1:0"], asyncio.Protocol, grpc_path=tmp_path / "none", peers=Peers()
        )
        await front.start()
        reader, writer = await asyncio.open_connection(*front.addresses[0])
        writer.write(PREFACE)
        async with asyncio.timeout(LIMIT_S):
            assert await reader.read() == b""
            await until(lambda: front.connection_count == 0)
        assert len(front.peers) == 0
        writer.close()
        await front.close()

    asyncio.run(ask())


def test_a_full_backlog_is_waited_for_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "full"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
        listening.bind(str(path))
        listening.listen(0)
        first.connect(str(path))

        async def ask(name: str) -> relay.Side:
            side = relay.Side(None, relay.GONE, lambda: None)
            await relay.connect(path, name, side)
            return side

        async def accepted_late() -> None:
            connecting = asyncio.ensure_future(ask("metastore-test-late"))
            await asyncio.sleep(0.05)
            assert not connecting.done()
            listening.accept()[0].close()
            side = await asyncio.wait_for(connecting, LIMIT_S)
            accepted, name = listening.accept()
            assert name == b"\0metastore-test-late"  # what the server takes for its peer
            accepted.close()
            side.transport.abort()

        asyncio.run(accepted_late())
        monkeypatch.setattr(relay, "CONNECT_S", 0.05)
        second = socket.socket(socket.AF_UNIX)
        second.connect(str(path))
        with pytest.raises(BlockingIOError), second:
            asyncio.run(ask("metastore-test-never"))
