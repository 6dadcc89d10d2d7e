"""Clients that leave while their connection is not being read."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from metastore.api.front import first_bytes, limits
from metastore.api.front.front import Front
from metastore.api.front.peers import Peers

LIMIT_S = 20.0
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Waiting:
    """An HTTP server whose answers never come."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        raise RuntimeError("it waits for ever")


def with_a_client_that_is_not_read(body: Any) -> None:
    async def main() -> None:
        waiting = Waiting()
        server = web.Server(waiting.serve, handler_cancellation=True)
        front = Front(["http://127.0.0.1:0"], server, grpc_path=Path("none"), peers=Peers())
        await front.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                _, writer = await asyncio.open_connection(*front.addresses[0])
                writer.write(REQUEST * 5000)
                await waiting.begun.wait()
                await body(waiting, front, writer)
                writer.transport.abort()
        finally:
            await front.close()
            await server.shutdown(0)

    asyncio.run(main())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_what_serves_a_client_that_left_ends_although_more_requests_are_unread(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(limits, "LEFT_LOOK_S", 0.01)

    async def leave(waiting: Waiting, front: Front, writer: asyncio.StreamWriter) -> None:
        if how == "reset":
            writer.transport.abort()
        else:
            await writer.drain()
            writer.close()
        await waiting.cancelled.wait()
        while front.connection_count:
            await asyncio.sleep(0.005)

    with_a_client_that_is_not_read(leave)


def test_a_client_that_stays_is_served_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEFT_LOOK_S", 0.001)

    has_left = first_bytes._has_left

    async def stay(waiting: Waiting, front: Front, writer: asyncio.StreamWriter) -> None:
        looks = 0

        def look(connection: Any) -> bool:
            nonlocal looks
            looks += 1
            return has_left(connection)

        monkeypatch.setattr(first_bytes, "_has_left", look)
        while looks < 5:
            await asyncio.sleep(0.005)
        assert not waiting.cancelled.is_set()
        assert front.connection_count == 1

    with_a_client_that_is_not_read(stay)
