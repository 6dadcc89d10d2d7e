"""Elections: one leader among the users of a name, and everybody can see who.

Reading order 19 of the client. What a lock cannot promise, an election cannot either: a leader that
was paused may act after another one was elected. Use the `fencing_token` at the resource; see
lock.py.
"""

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from metastore.client.contention import Holder, first_in_line
from metastore.client.errors import Compacted
from metastore.client.keys import prefix_range, to_bytes
from metastore.client.lease import Lease
from metastore.client.results import KeyValue

if TYPE_CHECKING:
    from metastore.client.coordination import Coordination

ELECTION_TTL_S = 10


class Election:
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
        self._client = client
        self._holder = Holder(client, name, ttl_s, lease)

    def campaign(self, value: str | bytes, timeout_s: float | None = None) -> bool:
        """Stands for election with a value for all to see, and waits until elected, at most
        `timeout_s` seconds; False if not. Raises LeaseLost if our lease ended meanwhile."""
        return self._holder.obtain(to_bytes(value, "value"), timeout_s)

    def proclaim(self, value: str | bytes) -> None:
        """Changes the value while leading. Raises LeaseLost if we do not lead any more."""
        self._holder.check()
        self._holder.place.set_value(to_bytes(value, "value"))

    def resign(self) -> None:
        """Lets the next one lead. Raises LeaseLost if we were leading no more; Unavailable,
        OutcomeUnknown: the next one leads when the lease has ended."""
        self._holder.let_go()

    @property
    def is_leader(self) -> bool:
        """Whether elected and not resigned; whether that still holds, `check` says."""
        return self._holder.is_held

    @property
    def fencing_token(self) -> int:
        """Greater than that of every leader before. Raises ClientMisused unless elected."""
        return self._holder.place.revision

    def check(self) -> None:
        """Raises LeaseLost if another one may lead by now, ClientMisused unless elected."""
        self._holder.check()

    def leader(self) -> KeyValue | None:
        """The leader's key and value; None if nobody leads."""
        return first_in_line(self._client, self._holder.prefix)[1]

    def observe(self, timeout_s: float | None = None) -> Iterator[KeyValue]:
        """The leader now and every leader to come, again whenever its value changes. Ends after
        `timeout_s` seconds without news; None: never. Leaders that come and go while this is not
        read may be passed over."""
        while True:
            revision, leader = first_in_line(self._client, self._holder.prefix)
            if leader is not None:
                yield leader
            try:
                if not (yield from self._follow(leader, revision + 1, timeout_s)):
                    return
            except Compacted:
                continue

    def _follow(
        self, leader: KeyValue | None, revision: int, timeout_s: float | None
    ) -> Generator[KeyValue, None, bool]:
        """Until the leader is gone, or there is one: True. False at the time-out."""
        start, end = prefix_range(self._holder.prefix) if leader is None else (leader.key, b"")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._client.watch(start, end, start_revision=revision) as watch:
            while True:
                remaining_s = None if deadline is None else max(0.0, deadline - time.monotonic())
                event = watch.get(remaining_s)
                if event is None:
                    return False
                if leader is None or event.kind == "delete":
                    return True
                deadline = None if timeout_s is None else time.monotonic() + timeout_s
                yield event.item
