"""Runs a test's coroutine with an asyncio client of its own."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from metastore.client import aio

WAIT_S = 10.0  # for something that must happen; never waited out in a passing test


def run(
    cluster: Any, body: Callable[[aio.Client], Coroutine[Any, Any, Any]], **options: Any
) -> Any:
    """The body with a client of its own, in a loop of its own."""

    async def main() -> Any:
        async with aio.Client(cluster.leader.client_address, **options) as client:
            return await body(client)

    return asyncio.run(main())


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)
