"""Whether the node has a leader, for streams that are to end when it has none (`hasleader`).

One look at the node per election timeout for all such streams, none while there are none. A node
that does not answer has no leader either: whoever waits here should turn to another one.
"""

import asyncio
from collections.abc import Callable

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.link import NodeLink

NO_LEADER = "etcdserver: no leader"
ELECTION_TIMEOUT_S = 1.0
LOOKS_WITHOUT_MAX = 3  # etcd's: connecting anew costs more than waiting for an election


class LeaderPresence:
    """For one event loop. `interval_s`: between two looks."""

    def __init__(self, link: NodeLink, *, interval_s: float = ELECTION_TIMEOUT_S) -> None:
        self._link = link
        self._interval_s = interval_s
        self._losers: set[Callable[[ApiError], None]] = set()
        self._looking: asyncio.Task[None] | None = None

    async def require(self, caller: Caller) -> None:
        """Raises ApiError when the caller asked for a leader and there is none now."""
        if caller.requires_leader and not await self._has_leader():
            raise _no_leader()

    def follow(self, on_lost: Callable[[ApiError], None]) -> None:
        """Calls it, once, when there has been no leader for a while. Each function once."""
        self._losers.add(on_lost)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    def unfollow(self, on_lost: Callable[[ApiError], None]) -> None:
        """The last one ends the looking. Nothing happens for one that does not follow."""
        self._losers.discard(on_lost)
        if not self._losers and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        without_count = 0
        while True:
            await asyncio.sleep(self._interval_s)
            without_count = 0 if await self._has_leader() else without_count + 1
            if without_count >= LOOKS_WITHOUT_MAX:
                break
        self._looking = None
        losers, self._losers = self._losers, set()
        for on_lost in losers:
            on_lost(_no_leader())

    async def _has_leader(self) -> bool:
        try:
            return bool((await self._link.status(self._interval_s))["leader_id"])
        except ApiError:
            return False


def _no_leader() -> ApiError:
    return ApiError(Status.UNAVAILABLE, NO_LEADER)
