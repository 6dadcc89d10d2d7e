"""Carrying coroutines through without an event loop.

Reading order 13 of the client. What threads and asyncio have in common (reading a watch, a scan, a
lock, an election) is written once, as coroutines over a few steps. In the asyncio client the steps
suspend where they wait. In the threaded one they wait inside and never suspend: then `run` is a
plain call of the coroutine, and `run_each` a plain iteration.
"""

from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns or raises what the coroutine does. Raises RuntimeError if it tries to suspend."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a step of the threaded client tried to suspend")


def run_each(generator: AsyncGenerator[T, None]) -> Iterator[T]:
    """What the generator yields. It is closed with the iteration."""
    try:
        while True:
            try:
                item = run(_next_of(generator))
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(_close(generator))


async def _next_of(generator: AsyncGenerator[T, None]) -> T:
    return await generator.__anext__()


async def _close(generator: AsyncGenerator[Any, None]) -> None:
    await generator.aclose()
