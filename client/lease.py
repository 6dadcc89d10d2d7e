"""Leases: what lives as long as this process keeps saying that it does.

Reading order 16 of the client. The one thread of this package is here, one for each lease that is
kept alive: if it ends, the lease says so (`is_alive`, `check`).

What this side believes is the safe side of the truth: a lease is taken to end a time to live after
the last confirmed keep-alive was *sent*, by a clock that cannot be set (time.monotonic). The
cluster counts from a later moment, so that it never ends a lease that is still believed in here -
as long as this process runs. A process that was stopped finds out with its next look, not before.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from metastore.client import ops
from metastore.client.calls import Call
from metastore.client.errors import (
    InvalidRequest,
    LeaseLost,
    MetastoreError,
    OutcomeUnknown,
    Unavailable,
)
from metastore.client.futures import decode_call, decode_only
from metastore.client.results import Done, KeepAlive
from metastore.transport.schema import LEASE_NOT_FOUND, Operation

KEEP_ALIVES_PER_TTL = 3
RETRY_S = 0.1  # between keep-alives that failed

# Runs a request and waits for its end, at most so many seconds.
Perform = Callable[[Sequence[Operation], float | None], Call]


class Belief:
    """What this side believes about a lease: what the leases of threads and of asyncio share.

    `ttl_s`: seconds granted. Once lost it stays lost: what relied on it must begin anew, with
    another one. Any thread may ask.
    """

    def __init__(self, lease_id: int, ttl_s: int, confirmed_at: float) -> None:
        """confirmed_at: of time.monotonic(), not after the cluster began to count."""
        self.id = lease_id
        self.ttl_s = ttl_s
        self._lock = threading.Lock()
        self._ends_at = confirmed_at + ttl_s
        self._lost_reason = ""

    @property
    def is_alive(self) -> bool:
        """Whether it may be relied on at this moment."""
        return not self._lost_reason_now()

    def check(self) -> None:
        """Raises LeaseLost, with the reason, if it may not be relied on any more."""
        if reason := self._lost_reason_now():
            raise LeaseLost(self.id, reason)

    def remaining(self) -> float:
        """Seconds for which it may be relied on without another keep-alive; 0.0 if lost."""
        return 0.0 if self._lost_reason_now() else max(0.0, self._ends_at - time.monotonic())

    def _renewed(self, call: Call) -> int:
        """Takes in a finished keep-alive; the seconds it has from now. Raises LeaseLost."""
        ttl_s = decode_only(decode_call(call), KeepAlive).ttl_s
        if ttl_s <= 0:
            self._lose("the cluster has ended it")
        with self._lock:
            self._ends_at = max(self._ends_at, call.sent_at + ttl_s)
        self.check()
        return ttl_s

    @property
    def _pause_s(self) -> float:
        return self.ttl_s / KEEP_ALIVES_PER_TTL

    @property
    def _attempt_s(self) -> float:
        """For one keep-alive. A few short attempts rather than a long one: each counts from its
        own sending."""
        return min(self._pause_s, max(RETRY_S, self.remaining()))

    def _lost_reason_now(self) -> str:
        with self._lock:
            if not self._lost_reason and time.monotonic() >= self._ends_at:
                # For good, although a keep-alive may yet come through: it has been believed ended.
                self._lost_reason = f"no keep-alive was confirmed for {self.ttl_s} s"
            return self._lost_reason

    def _lose(self, reason: str) -> None:
        with self._lock:
            self._lost_reason = self._lost_reason or reason


class Lease(Belief):
    """A lease of the cluster's. As a context it is revoked at the end, and its keys are deleted
    with it. Any thread may use it."""

    def __init__(self, perform: Perform, lease_id: int, ttl_s: int, confirmed_at: float) -> None:
        """confirmed_at: see Belief."""
        super().__init__(lease_id, ttl_s, confirmed_at)
        self._perform = perform
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def keep_alive_once(self, timeout_s: float | None = None) -> int:
        """Renews it; the seconds it has from now. Raises LeaseLost, Unavailable."""
        self.check()
        return self._renewed(self._perform([ops.lease_keep_alive(self.id)], timeout_s))

    def keep_alive(self) -> None:
        """Renews it from now on, in a thread of its own, until it is revoked or lost."""
        if self._thread is None:
            name = f"metastore-lease-{self.id:x}"
            self._thread = threading.Thread(target=self._keep, name=name, daemon=True)
            self._thread.start()

    def stop_keep_alive(self) -> None:
        """It then ends by itself. The thread is not waited for."""
        self._stopping.set()

    def revoke(self, timeout_s: float | None = None) -> None:
        """Ends it and deletes its keys. It counts as lost from now on, even if this raises
        Unavailable or OutcomeUnknown: then it ends by itself. Revoking what has ended is fine."""
        self._stopping.set()
        self._lose("it was revoked")
        with may_have_ended():
            decode_only(decode_call(self._perform([ops.lease_revoke(self.id)], timeout_s)), Done)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Unavailable, OutcomeUnknown):  # it ends by itself
            self.revoke()

    def _keep(self) -> None:
        try:
            pause_s = self._pause_s
            while not self._stopping.wait(pause_s):
                pause_s = self._renew()
        except LeaseLost:
            pass
        except MetastoreError as error:
            self._lose(f"it could not be kept alive: {error}")
        except BaseException as error:
            self._lose(f"its thread died of {error!r}")
            raise

    def _renew(self) -> float:
        """Seconds until the next time."""
        try:
            self.keep_alive_once(self._attempt_s)
        except Unavailable:
            return RETRY_S
        return self._pause_s


@contextmanager
def may_have_ended() -> Iterator[None]:
    """Around a revocation: that the lease had ended before is fine."""
    try:
        yield
    except InvalidRequest as error:
        if str(error) != LEASE_NOT_FOUND:
            raise
