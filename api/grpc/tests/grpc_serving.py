"""A gRPC server on a socket of its own with services made for tests, and calls on it in bytes."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from metastore.api.calls import ApiError, Caller, Method, Status
from metastore.api.front.peers import Peers
from metastore.api.grpc.server import GrpcServer
from metastore.api.protocol.messages import rpc

KV, WATCH = "etcdserverpb.KV", "etcdserverpb.Watch"
PUT, RANGE, STREAM = f"/{KV}/Put", f"/{KV}/Range", f"/{KV}/RangeStream"
WATCHING = f"/{WATCH}/Watch"
LIMIT_S = 20.0


class Echo:
    """What it is told decides what it does; it remembers who called and which streams ended."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.ended: list[str] = []
        self.begun = asyncio.Event()
        self.finished = asyncio.Event()

    async def put(self, request: Any, caller: Caller) -> Any:
        self.callers.append(caller)
        if request.key == b"fail":
            raise ApiError(Status.FAILED_PRECONDITION, "etcdserver: requested lease not found")
        if request.key == b"defect":
            raise ZeroDivisionError("a defect")
        if request.key == b"no reply":
            return None
        if request.key == b"wait":
            await self._wait("put")
        return rpc.PutResponse(header=rpc.ResponseHeader(revision=len(request.value)))

    async def range(self, request: Any, caller: Caller) -> Any:
        return rpc.RangeResponse(kvs=[{"key": request.key, "value": bytes(request.limit)}])

    async def range_stream(self, request: Any, caller: Caller) -> AsyncIterator[Any]:
        for revision in range(request.limit):
            answer = rpc.RangeResponse(header=rpc.ResponseHeader(revision=revision))
            yield rpc.RangeStreamResponse(range_response=answer)
        if request.key == b"defect":
            raise ZeroDivisionError("a defect")
        if request.key == b"wait":
            await self._wait("range_stream")

    async def watch(self, requests: AsyncIterator[Any], caller: Caller) -> AsyncIterator[Any]:
        """Reads in a task of its own, as a watch does, and goes on when that one fails."""
        arrived: asyncio.Queue[Any] = asyncio.Queue()

        async def read() -> None:
            async for request in requests:
                arrived.put_nowait(request)

        reader = asyncio.ensure_future(read())
        self.begun.set()
        try:
            while True:
                request = await arrived.get()
                yield rpc.WatchResponse(watch_id=request.create_request.watch_id, created=True)
        finally:
            reader.cancel()
            self.ended.append("watch")
            self.finished.set()

    async def _wait(self, name: str) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append(name)
            self.finished.set()


def methods_of(echo: Echo) -> list[Method]:
    return [
        Method(KV, "Put", rpc.PutRequest, rpc.PutResponse, False, False, echo.put),
        Method(KV, "Range", rpc.RangeRequest, rpc.RangeResponse, False, False, echo.range),
        Method(
            *(KV, "RangeStream", rpc.RangeRequest, rpc.RangeStreamResponse),
            *(False, True, echo.range_stream),
        ),
        Method(WATCH, "Watch", rpc.WatchRequest, rpc.WatchResponse, True, True, echo.watch),
    ]


@asynccontextmanager
async def served(
    *, peers: Peers | None = None, **options: Any
) -> AsyncIterator[tuple[Echo, GrpcServer, grpc.aio.Channel, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grpc"
        echo = Echo()
        server = GrpcServer(methods_of(echo), peers=peers, **options)
        await server.start(path)
        # One connection a server: by default channels to one target would share it.
        async with grpc.aio.insecure_channel(
            f"unix:{path}",
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_receive_message_length", -1),
            ],
        ) as channel:
            yield echo, server, channel, path
        await server.stop(0)


async def status_of(call: Any) -> tuple[str, str]:
    """("CODE", text) with which it failed."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


async def status_of_stream(channel: grpc.aio.Channel, path: str, *data: bytes) -> tuple[str, str]:
    """The same for one that gets these messages, however many it answers."""
    call = channel.stream_stream(path)(iter(data), timeout=LIMIT_S)
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""
