"""Locks: one holder at a time, as far as a lock in a cluster can promise that.

Reading order 18 of the client.

What it cannot promise: that a holder which was paused (a stopped process, a long pause of the
machine) does nothing after its lease ended. Such a holder goes on where it stood, while the next
one already has the lock, and no look at a clock just before the deed prevents it. If what is locked
must never be touched by two, the resource itself has to help: send it the lock's `fencing_token`
with every change, and let it refuse a token lower than one that it has seen. Tokens only grow.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from metastore.client.contention import Holder
from metastore.client.errors import OutcomeUnknown, Unavailable
from metastore.client.lease import Lease
from metastore.client.running import run
from metastore.client.steps import BlockingSteps

if TYPE_CHECKING:
    from metastore.client.coordination import Coordination

LOCK_TTL_S = 10


class Held:
    """What the locks of threads and of asyncio can say about themselves."""

    _holder: Holder

    @property
    def is_held(self) -> bool:
        """Whether it was acquired and not released; whether that still holds, `check` says."""
        return self._holder.is_held

    @property
    def fencing_token(self) -> int:
        """Greater than that of every holder before: the revision at which our key was created.
        Raises ClientMisused if not held."""
        return self._holder.place.revision

    @property
    def key(self) -> bytes:
        """Our key in the store. Compare its create revision with the fencing token in a
        transaction: then the transaction happens only while the lock is held."""
        return self._holder.place.key

    def check(self) -> None:
        """Raises LeaseLost if the lock may be another's by now."""
        self._holder.check()


class Lock(Held):
    """A lock by name; `with client.lock("name") as lock: ...`. See the module for what it cannot
    do. One object stands for one holder; it is not reentrant. Excludes etcd's clients, too."""

    def __init__(
        self,
        client: "Coordination",
        name: str | bytes,
        *,
        ttl_s: int = LOCK_TTL_S,
        lease: Lease | None = None,
    ) -> None:
        """ttl_s: seconds until another one gets it when this process is gone. lease: hold it with
        this one instead of one of its own."""
        self._holder = Holder(BlockingSteps(client), name, ttl_s, lease)

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Waits for its turn, at most `timeout_s` seconds; False if it did not come. Raises
        LeaseLost if our lease ended while we waited."""
        return run(self._holder.obtain(b"", timeout_s))

    def release(self) -> None:
        """Raises LeaseLost if it was lost while it was held: the work done under it may have met
        another's. Unavailable, OutcomeUnknown: the next one gets it when the lease has ended."""
        run(self._holder.let_go())

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if not self._holder.is_held:
            return
        if error_type is None:
            with suppress(Unavailable, OutcomeUnknown):  # the lease ends by itself
                self.release()
        else:
            with suppress(Exception):  # the error of the work done is the one to be seen
                self.release()
