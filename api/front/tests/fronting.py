"""A front with a gRPC server behind it, an HTTP server that says what it was asked, and clients."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web
from grpc_serving import LIMIT_S, PUT, Echo, served

from metastore.api.front.front import Front
from metastore.api.front.peers import Peers
from metastore.api.front.tls import TlsFiles
from metastore.api.protocol.messages import rpc

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"


class Fronted:
    def __init__(self, front: Front, echo: Echo, peers: Peers, scheme: str) -> None:
        self.front = front
        self.echo = echo
        self.peers = peers
        self.port = front.addresses[0][1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def fronted(tls: TlsFiles | None = None, **options: Any) -> AsyncIterator[Fronted]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.remote} {request.path} {len(await request.read())}")

    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    peers = Peers()
    async with served(peers=peers) as (echo, _, _, path):
        scheme = "http" if tls is None else "https"
        front = Front(
            [f"{scheme}://127.0.0.1:0"],
            runner.server,
            grpc_path=path,
            peers=peers,
            tls=tls,
            **options,
        )
        await front.start()
        yield Fronted(front, echo, peers, scheme)
        await front.close()
        await runner.cleanup()


def put(value: bytes = b"") -> bytes:
    return bytes(rpc.PutRequest(key=b"k", value=value).SerializeToString())


async def ask_put(channel: grpc.aio.Channel, value: bytes = b"") -> int:
    """The length of the value, as the server counts it."""
    call = channel.unary_unary(PUT, response_deserializer=rpc.PutResponse.FromString)
    return int((await call(put(value), timeout=LIMIT_S)).header.revision)


def secure_channel(
    target: str, authority: Path, client: tuple[Path, Path] | None = None
) -> grpc.aio.Channel:
    chain, key = client if client is not None else (None, None)
    credentials = grpc.ssl_channel_credentials(
        authority.read_bytes(),
        None if key is None else key.read_bytes(),
        None if chain is None else chain.read_bytes(),
    )
    return grpc.aio.secure_channel(target, credentials, [("grpc.use_local_subchannel_pool", 1)])


def client_context(authority: Path, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    if client is not None:
        context.load_cert_chain(*client)
    return context
