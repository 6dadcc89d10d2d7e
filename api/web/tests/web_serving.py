"""The HTTP server over services that answer what tests tell them, and a client of bytes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from metastore.api.calls import ApiError, Caller, Method, Status
from metastore.api.metrics import Metrics
from metastore.api.protocol.messages import rpc
from metastore.api.web.app import WebApp

LIMIT_S = 10.0
KV, WATCH, LEASE = "etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Lease"
MAINTENANCE = "etcdserverpb.Maintenance"
GREETING = b"SERVED"


class Fakes:
    """`seen`: the requests of calls; `callers`: who called. `fault` is raised by every call."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.callers: list[Caller] = []
        self.reply: Any = None  # of a unary call, in place of an empty one
        self.fault: Exception | None = None
        self.fault_after = 0  # replies of a stream
        self.before_reply: Callable[[], None] = lambda: None  # of a stream of answers
        self.kept: list[Any] = []  # its generators, so that only who closes them ends them
        self.is_waiting = asyncio.Event()
        self.is_ended = asyncio.Event()
        self.go_on = asyncio.Event()

    def methods(self) -> list[Method]:
        names = ("Range", "Put", "DeleteRange", "Txn")
        unary = [
            Method(
                *(KV, name, getattr(rpc, f"{name}Request"), getattr(rpc, f"{name}Response")),
                *(False, False, self._replying(getattr(rpc, f"{name}Response"))),
            )
            for name in names
        ]
        return [
            *unary,
            Method(
                *(LEASE, "LeaseKeepAlive", rpc.LeaseKeepAliveRequest, rpc.LeaseKeepAliveResponse),
                *(True, True, self.keep_alive),
            ),
            Method(WATCH, "Watch", rpc.WatchRequest, rpc.WatchResponse, True, True, self.watch),
            Method(
                *(MAINTENANCE, "Snapshot", rpc.SnapshotRequest, rpc.SnapshotResponse),
                *(False, True, self.snapshot),
            ),
        ]

    def _replying(self, reply_class: Any) -> Callable[..., Any]:
        async def reply(request: Any, caller: Caller) -> Any:
            self.seen.append(request)
            self.callers.append(caller)
            await asyncio.sleep(0)
            if self.fault is not None:
                raise self.fault
            if getattr(request, "key", b"") == b"wait":
                await self.wait()
            return reply_class() if self.reply is None else self.reply

        return reply

    async def wait(self) -> None:
        self.is_waiting.set()
        try:
            await self.go_on.wait()
        finally:
            self.is_ended.set()

    async def keep_alive(self, requests: AsyncIterator[Any], caller: Caller) -> AsyncIterator[Any]:
        """One answer a request, and the end with theirs."""
        self.callers.append(caller)
        count = 0
        async for request in requests:
            self.seen.append(request)
            if self.fault is not None and count >= self.fault_after:
                raise self.fault
            count += 1
            yield rpc.LeaseKeepAliveResponse(ID=request.ID, TTL=60)

    async def watch(self, requests: AsyncIterator[Any], caller: Caller) -> AsyncIterator[Any]:
        """Says of each request that it came, and does not end."""
        self.callers.append(caller)
        arrived: asyncio.Queue[Any] = asyncio.Queue()

        async def read() -> None:
            async for request in requests:
                arrived.put_nowait(request)
            self.is_waiting.set()

        reading = asyncio.ensure_future(read())
        try:
            while True:
                request = await arrived.get()
                self.seen.append(request)
                yield rpc.WatchResponse(watch_id=len(self.seen), created=True)
        finally:
            reading.cancel()
            self.is_ended.set()

    def snapshot(self, request: Any, caller: Caller) -> AsyncIterator[Any]:
        self.kept.append(self._pieces())
        found: AsyncIterator[Any] = self.kept[-1]
        return found

    async def _pieces(self) -> AsyncIterator[Any]:
        try:
            for number in range(self.fault_after):
                self.before_reply()
                yield rpc.SnapshotResponse(remaining_bytes=number, blob=b"\xff")
            if self.fault is not None:
                raise self.fault
        finally:
            self.is_ended.set()


class NodeTold:
    """A link, as far as health asks one. `status_told` None: the node does not answer."""

    def __init__(self) -> None:
        self.reads: list[Any] = []
        self.fault: ApiError | None = None
        self.linearizable_fault: ApiError | None = None
        self.status_told: dict[str, Any] | None = {
            "node_id": 255,
            "leader_id": 255,
            "term": 2,
            "commit": 31,
            "applied": 30,
            "configuration": {"voters": [255], "voters_outgoing": [], "learners": []},
            "log": {"bytes": 1000},
            "store": {
                "key_count": 3,
                "revision": 9,
                "compacted_revision": 4,
                "size_bytes": 500,
                "quota_bytes": 2_000_000,
                "leases": 1,
                "watches": 2,
            },
            "sync_latency_ms": {"count": 7, "p50": 0.5, "p99": 2.0, "max": 3.0},
            "alarms": [],
            "counters": {"proposals.pending": 6},
        }

    async def status(self, timeout_s: float | None = None) -> dict[str, Any]:
        if self.status_told is None:
            raise ApiError(Status.UNAVAILABLE, "etcdserver: request timed out")
        return self.status_told

    async def ask_as_gateway(self, operation: Any, *, level: Any, timeout_s: float) -> Any:
        self.reads.append(level)
        fault = self.fault or (self.linearizable_fault if level.name == "LINEARIZABLE" else None)
        if fault is not None:
            raise fault
        return (0, 9)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def request(
        self, path: str, body: bytes | str = b"", verb: str = "POST", **headers: str
    ) -> None:
        data = body.encode() if isinstance(body, str) else body
        lines = [f"{verb} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + data)

    def begin(self, path: str, **headers: str) -> None:
        """A request whose body stays open: `piece` adds to it."""
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def piece(self, data: str | bytes) -> None:
        data = data.encode() if isinstance(data, str) else data
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def answer(self) -> Answer:
        async with asyncio.timeout(LIMIT_S):
            status, headers = await self.head()
            if headers.get("Transfer-Encoding") == "chunked":
                return Answer(status, headers, b"".join([part async for part in self.chunks()]))
            body = await self.reader.readexactly(int(headers.get("Content-Length", 0)))
            return Answer(status, headers, body)

    async def chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readline(), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()

    async def chunk(self) -> Any:
        """The value of the next line, which is a chunk of its own."""
        async with asyncio.timeout(LIMIT_S):
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size)
            await self.reader.readline()
        assert data.endswith(b"\n")
        assert data.count(b"\n") == 1
        return json.loads(data)

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class Served:
    def __init__(self, app: WebApp, fakes: Fakes, node: NodeTold, port: int) -> None:
        self.app = app
        self.fakes = fakes
        self.node = node
        self.port = port
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    async def ask(self, path: str, body: bytes | str = b"", *rest: Any, **headers: str) -> Answer:
        client = await self.connect()
        client.request(path, body, *rest, **headers)
        found = await client.answer()
        await client.close()
        return found

    async def get(self, path: str) -> Answer:
        return await self.ask(path, b"", "GET")

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[Served]:
    fakes, node, metrics = Fakes(), NodeTold(), Metrics()
    app = WebApp(fakes.methods(), node, metrics, **options)  # type: ignore[arg-type]
    await app.start()
    server = await asyncio.get_running_loop().create_server(app.make_protocol, "127.0.0.1", 0)
    one = Served(app, fakes, node, server.sockets[0].getsockname()[1])
    try:
        async with asyncio.timeout(4 * LIMIT_S):
            yield one
    finally:
        await one.close()
        server.close()
        await app.stop()
