"""A link to a cluster of scripted nodes, for one test."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import zmq
from fake_cluster import FakeCluster

from metastore.api.calls import Caller
from metastore.api.link import NodeLink
from metastore.transport import schema

PLAY_S = 20.0
CALLER = Caller(token="a token")
READ = schema.range_(b"k")
PUT = schema.put(b"k", b"v")


@contextmanager
def cluster_of(count: int, leader_id: int = 1) -> Iterator[FakeCluster]:
    cluster = FakeCluster(count, leader_id)
    try:
        yield cluster
    finally:
        cluster.close()


def play(
    cluster: FakeCluster,
    body: Callable[[NodeLink], Coroutine[Any, Any, Any]],
    *,
    node_id: int = 1,
    timeout_s: float = 7.0,
    starts: bool = True,
) -> Any:
    """The body with the link of a node, started."""

    async def main() -> Any:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        node = cluster[node_id]
        link = NodeLink(
            node.client_address, node.status_address, context=context, timeout_s=timeout_s
        )
        try:
            async with asyncio.timeout(PLAY_S):
                if starts:
                    await link.start(PLAY_S)
                return await body(link)
        finally:
            await link.close()
            context.term()

    return asyncio.run(main())


async def eventually(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)
