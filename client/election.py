"""Elections: one leader among the users of a name, and everybody can see who.

Reading order 19 of the client. What a lock cannot promise, an election cannot either: a leader that
was paused may act after another one was elected. Use the `fencing_token` at the resource; see
lock.py.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from metastore.client.contention import Holder, first_in_line
from metastore.client.errors import Compacted
from metastore.client.keys import prefix_range, to_bytes
from metastore.client.lease import Lease
from metastore.client.results import KeyValue
from metastore.client.running import run, run_each
from metastore.client.steps import BlockingSteps, Steps

if TYPE_CHECKING:
    from metastore.client.coordination import Coordination

ELECTION_TTL_S = 10


class Standing:
    """What the elections of threads and of asyncio can say about themselves, and how both look
    on."""

    _steps: Steps
    _holder: Holder

    @property
    def is_leader(self) -> bool:
        """Whether elected and not resigned; whether that still holds, `check` says."""
        return self._holder.is_held

    @property
    def fencing_token(self) -> int:
        """Greater than that of every leader before. Raises ClientMisused unless elected."""
        return self._holder.place.revision

    @property
    def key(self) -> bytes:
        """Our key in the store. Raises ClientMisused unless elected."""
        return self._holder.place.key

    def check(self) -> None:
        """Raises LeaseLost if another one may lead by now, ClientMisused unless elected."""
        self._holder.check()

    async def _proclaim(self, value: str | bytes) -> None:
        self._holder.check()
        await self._holder.place.set_value(to_bytes(value, "value"))

    async def _leader(self) -> KeyValue | None:
        return (await first_in_line(self._steps, self._holder.prefix))[1]

    async def _observe(self, timeout_s: float | None) -> AsyncGenerator[KeyValue, None]:
        while True:
            revision, leader = await first_in_line(self._steps, self._holder.prefix)
            if leader is not None:
                yield leader
            start, end = prefix_range(self._holder.prefix)
            if leader is not None:
                start, end = leader.key, b""
            with suppress(Compacted):  # then look again
                async with self._steps.watch(start, end, revision + 1) as watch:
                    while (event := await watch.get(timeout_s)) is not None:
                        if leader is None or event.kind == "delete":
                            break  # somebody else leads, or somebody at all
                        yield event.item
                    else:
                        return


class Election(Standing):
    """One candidate of the election `name`, or a mere spectator. Shares its line with etcd's
    clients."""

    def __init__(
        self,
        client: "Coordination",
        name: str | bytes,
        *,
        ttl_s: int = ELECTION_TTL_S,
        lease: Lease | None = None,
    ) -> None:
        """ttl_s: seconds until another one is elected when this process is gone. lease: stand with
        this one instead of one of its own."""
        self._steps = BlockingSteps(client)
        self._holder = Holder(self._steps, name, ttl_s, lease)

    def campaign(self, value: str | bytes, timeout_s: float | None = None) -> bool:
        """Stands for election with a value for all to see, and waits until elected, at most
        `timeout_s` seconds; False if not. Raises LeaseLost if our lease ended meanwhile."""
        return run(self._holder.obtain(to_bytes(value, "value"), timeout_s))

    def proclaim(self, value: str | bytes) -> None:
        """Changes the value while leading. Raises LeaseLost if we do not lead any more."""
        run(self._proclaim(value))

    def resign(self) -> None:
        """Lets the next one lead. Raises LeaseLost if we were leading no more; Unavailable,
        OutcomeUnknown: the next one leads when the lease has ended."""
        run(self._holder.let_go())

    def leader(self) -> KeyValue | None:
        """The leader's key and value; None if nobody leads."""
        return run(self._leader())

    def observe(self, timeout_s: float | None = None) -> Iterator[KeyValue]:
        """The leader now and every leader to come, again whenever its value changes. Ends after
        `timeout_s` seconds without news; None: never. Leaders that come and go while this is not
        read may be passed over."""
        return run_each(self._observe(timeout_s))
