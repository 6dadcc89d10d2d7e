"""A link for locks and elections: the real state machine, whose changes its watches tell."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from engine_link import CALLER, PLAY_S, EngineLink
from watch_link import LinkedWatch

from metastore.api.calls import Caller
from metastore.api.protocol.messages import rpc
from metastore.transport import schema
from metastore.transport.schema import Op, Operation
from metastore.transport.watch_frames import WatchFlag


class LineLink(EngineLink):
    """`leases` are those that `lease` made. `slow_txns`: transactions wait for it to be set."""

    def __init__(self) -> None:
        super().__init__()
        self.state.keys.events = []
        self.watches: list[LinkedWatch] = []
        self.slow_txns: asyncio.Event | None = None
        self.revision = 1

    def header(self, revision: int = 0) -> Any:
        header = rpc.ResponseHeader()
        self.fill_header(header, revision)
        return header

    async def ask(self, caller: Caller, operation: Operation, **options: Any) -> Sequence[Any]:
        result = await super().ask(caller, operation, **options)
        if self.slow_txns is not None and operation[0] == Op.TXN:
            await self.slow_txns.wait()
        return result

    def apply(self, *operations: Operation) -> Sequence[Any]:
        results = super().apply(*operations)
        events, self.state.keys.events = self.state.keys.events or [], []
        for kv, _ in events:
            for watch in list(self.watches):
                if _is_for(watch, kv):
                    watch.tell(kv[3], (kv, None))
        return results

    def follow_watch(self, *arguments: Any) -> LinkedWatch:
        self.watches.append(LinkedWatch(*arguments))
        return self.watches[-1]

    def close_watches(self, watches: Iterable[LinkedWatch]) -> None:
        for watch in watches:
            watch.is_closed = True
            self.watches.remove(watch)

    # For tests

    def lease(self, lease: int) -> int:
        self.apply((Op.LEASE_GRANT, lease, 60))
        return lease

    def revoke(self, lease: int) -> None:
        self.apply((Op.LEASE_REVOKE, lease))

    def keys(self) -> list[bytes]:
        """In line, oldest first."""
        found = self.apply(schema.range_(b"\0", b"\0"))[0][2]
        return [kv[0] for kv in sorted(found, key=lambda kv: int(kv[2]))]


def _is_for(watch: LinkedWatch, kv: Any) -> bool:
    is_inside = kv[0] == watch.key or watch.key <= kv[0] < watch.range_end
    is_wanted = not (watch.flags & WatchFlag.NO_PUT and kv[4])
    return is_inside and is_wanted and kv[3] >= watch.start


def play(service: Any, body: Callable[[LineLink, Any], Coroutine[Any, Any, None]]) -> LineLink:
    """The body with a link and a service (of this class) of its own; no watch is left open."""

    async def main() -> LineLink:
        link = LineLink()
        async with asyncio.timeout(PLAY_S):
            await body(link, service(link))
        assert link.watches == []
        return link

    return asyncio.run(main())


async def eventually(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def cancelled(call: "asyncio.Future[Any]") -> None:
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert call.cancelled()


__all__ = ["CALLER", "LineLink", "cancelled", "eventually", "play"]
