"""Waiting in line: what locks and elections have in common.

Reading order 17 of the client. Everybody in line has a key `<name>/<lease id in hex>` under the
name, held by a lease; the one created first is in front. The keys are those of etcd's own recipes,
so that its clients and these wait in the same line. Each waits for the key just before its own to
go, not for all of them. Written once, for threads and for asyncio: see steps.py.
"""

import time
from contextlib import suppress

from metastore.client import ops
from metastore.client.comparisons import create_revision
from metastore.client.errors import (
    ClientMisused,
    Compacted,
    InvalidRequest,
    LeaseLost,
    OutcomeUnknown,
    Unavailable,
)
from metastore.client.keys import prefix_range, to_bytes
from metastore.client.lease import Belief
from metastore.client.results import KeyValue, PutResult, RangeResult
from metastore.client.steps import Steps

LOOK_S = 0.5  # while waiting, between two looks at our own lease
FOREVER_S = 1e6


def key_prefix(name: str | bytes) -> bytes:
    """Raises InvalidRequest for an empty name."""
    prefix = to_bytes(name, "name")
    if not prefix:
        raise InvalidRequest("a lock or an election needs a name")
    return prefix + b"/"


async def first_in_line(steps: Steps, prefix: bytes) -> tuple[int, KeyValue | None]:
    """(revision, the key created first)."""
    start, end = prefix_range(prefix)
    found = await steps.range(start, end, limit=1, sort_order="ascend", sort_target="create")
    return found.revision, found.items[0] if found.items else None


class Place:
    """One place in line, taken with one lease."""

    def __init__(self, steps: Steps, prefix: bytes, lease: Belief) -> None:
        self.key = prefix + b"%x" % lease.id
        self.revision = 0  # of our key's creation; 0: not in line, as far as we know
        self._was_asked_for = False
        self._steps = steps
        self._prefix = prefix
        self._lease = lease

    async def take(self, value: bytes) -> None:
        """Gets in line, or finds itself there. Raises LeaseLost."""
        self._lease.check()
        put = ops.put(self.key, value, lease=self._lease)
        self._was_asked_for = True
        try:
            done = await self._steps.txn(create_revision(self.key) == 0, [put], [ops.get(self.key)])
        except InvalidRequest:
            self._lease.check()
            raise
        result = done.results[0]
        if isinstance(result, PutResult):
            self.revision = result.revision
            return
        if not isinstance(result, RangeResult) or not result.items:
            raise InvalidRequest("the node answered a transaction with the other branch")
        self.revision = result.items[0].create_revision
        if result.items[0].value != value:
            await self.set_value(value)

    async def set_value(self, value: bytes) -> None:
        """Raises LeaseLost if the place is not ours any more."""
        put = ops.put(self.key, value, lease=self._lease)
        done = await self._steps.txn(create_revision(self.key) == self.revision, [put])
        if not done.succeeded:
            raise LeaseLost(self._lease.id, "its key is gone")

    async def wait_for_front(self, timeout_s: float | None) -> bool:
        """Until nobody is before us; False at the time-out. Raises LeaseLost: whoever waited
        longer than its lease lived is not in line any more."""
        deadline = time.monotonic() + (FOREVER_S if timeout_s is None else timeout_s)
        start, end = prefix_range(self._prefix)
        while True:
            before = await self._steps.range(
                start,
                end,
                limit=1,
                sort_order="descend",
                sort_target="create",
                max_create_revision=self.revision - 1,
            )
            if not before.items:
                break
            if not await self._wait_until_gone(before.items[0].key, before.revision + 1, deadline):
                return False
        # The line is empty before us, but are we still in it? Our own key tells, as of now; and
        # only then the lease, since it ends here before its key does (etcd #11456).
        own = await self._steps.get(self.key)
        if own is None or own.create_revision != self.revision:
            raise LeaseLost(self._lease.id, "it ended while waiting in line; its key is gone")
        self._lease.check()
        return True

    async def _wait_until_gone(self, key: bytes, revision: int, deadline: float) -> bool:
        """Whether it may have gone; False at the deadline."""
        with suppress(Compacted):  # then we have to look again
            async with self._steps.watch(key, b"", revision, ["put"]) as watch:
                while True:
                    self._lease.check()
                    remaining_s = deadline - time.monotonic()
                    if remaining_s <= 0:
                        return False
                    if await watch.get(min(LOOK_S, remaining_s)) is not None:
                        return True
        return True

    async def leave(self) -> None:
        """Gives the place up, to whoever is next."""
        revision, self.revision = self.revision, 0
        if revision:
            await self._steps.txn(create_revision(self.key) == revision, [ops.delete(self.key)])
        elif self._was_asked_for:  # and the answer never came: the key may stand there
            await self._steps.delete(self.key)


class Holder:
    """A place, and the lease under it: made when it is needed, unless one is given."""

    def __init__(self, steps: Steps, name: str | bytes, ttl_s: int, lease: Belief | None) -> None:
        self.prefix = key_prefix(name)
        self._steps = steps
        self._ttl_s = ttl_s
        self._given = lease
        self._lease: Belief | None = None
        self._place: Place | None = None
        self._is_held = False

    @property
    def place(self) -> Place:
        """Raises ClientMisused unless it is held."""
        if self._place is None or not self._is_held:
            raise ClientMisused("it is not held: get hold of it first")
        return self._place

    @property
    def is_held(self) -> bool:
        """So far as this side knows; see `check`."""
        return self._is_held

    def check(self) -> None:
        """Raises LeaseLost if it may not be relied on, ClientMisused if it is not held."""
        if self.place.revision and self._lease is not None:
            self._lease.check()

    async def obtain(self, value: bytes, timeout_s: float | None) -> bool:
        if self._is_held:
            raise ClientMisused("it is held already; it cannot be had twice")
        self._lease = self._given or await self._steps.lease(self._ttl_s)
        self._place = Place(self._steps, self.prefix, self._lease)
        try:
            await self._place.take(value)
            self._is_held = await self._place.wait_for_front(timeout_s)
        finally:
            if not self._is_held:
                # Whatever happened: nobody shall have to wait for one who does not want it.
                with suppress(Unavailable, OutcomeUnknown, LeaseLost):
                    await self.let_go()
        return self._is_held

    async def let_go(self) -> None:
        """Gives it to the next. Raises LeaseLost if it was lost before, Unavailable and
        OutcomeUnknown if the cluster could not be told: the lease then ends by itself."""
        lease, place = self._lease, self._place
        was_held, self._is_held = self._is_held, False
        self._lease = self._place = None
        if lease is None or place is None:
            raise ClientMisused("it is not held")
        is_alive = lease.is_alive
        try:
            if lease is self._given:
                await place.leave()
            else:
                await self._steps.revoke(lease)  # and the key with it
        finally:
            if was_held and not is_alive:
                lease.check()
