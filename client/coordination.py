"""The calls by which programs work together: leases, watches, locks, elections.

Reading order 22 of the client: a part of Client, on top of key_calls.py.
"""

import time
from collections.abc import Sequence

from metastore.client import ops
from metastore.client.calls import to_level
from metastore.client.election import ELECTION_TTL_S, Election
from metastore.client.futures import decode_only
from metastore.client.key_calls import KeyCalls
from metastore.client.lease import Lease
from metastore.client.lock import LOCK_TTL_S, Lock
from metastore.client.results import LeaseGrant, LeaseList, TimeToLive
from metastore.client.watch import Watch, make_stream, open_watch


class Coordination(KeyCalls):
    """`name` and `key` are text or bytes; times are seconds."""

    def lease(
        self,
        ttl_s: int,
        lease_id: int = 0,
        *,
        keep_alive: bool = True,
        timeout_s: float | None = None,
    ) -> Lease:
        """A new lease, kept alive by a thread of its own until it is revoked or the client is
        closed. lease_id 0: the cluster chooses. The cluster may grant more than `ttl_s`."""
        asked_at = time.monotonic()  # it may be granted at the first of several sendings
        granted = decode_only(self._do([ops.lease_grant(ttl_s, lease_id)], timeout_s), LeaseGrant)
        lease = Lease(self._perform, granted.lease, granted.ttl_s, asked_at)
        if keep_alive:
            lease.keep_alive()
        return lease

    def leases(
        self, *, level: str = "linearizable", timeout_s: float | None = None
    ) -> tuple[int, ...]:
        """The ids of all leases."""
        return decode_only(self._do([ops.leases()], timeout_s, to_level(level)), LeaseList).leases

    def time_to_live(
        self, lease: ops.LeaseLike, *, keys: bool = False, timeout_s: float | None = None
    ) -> TimeToLive:
        """What the cluster thinks that the lease has left; with `keys`, what hangs on it."""
        operation = ops.lease_time_to_live(lease, keys=keys)
        return decode_only(self._do([operation], timeout_s), TimeToLive)

    def watch(
        self,
        key: str | bytes,
        range_end: str | bytes = b"",
        *,
        prefix: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: str | Sequence[str] = (),
        progress: bool = False,
        timeout_s: float | None = None,
    ) -> Watch:
        """Every change of the key, of [key, range_end), or of all keys that start with it, from
        `start_revision` on; 0: what comes after now. Returns once a node watches.

        prev_kv: events tell what was there before. filters: kinds of events to leave out, "put" or
        "delete". progress: revisions() also yields signs of progress."""
        stream = make_stream(
            key,
            range_end,
            prefix=prefix,
            start_revision=start_revision,
            prev_kv=prev_kv,
            filters=filters,
            progress=progress,
        )
        return open_watch(self._driver, stream, self._timeout_s if timeout_s is None else timeout_s)

    def lock(
        self, name: str | bytes, *, ttl_s: int = LOCK_TTL_S, lease: Lease | None = None
    ) -> Lock:
        """A lock by name, not acquired yet. Read in lock.py what a lock cannot do."""
        return Lock(self, name, ttl_s=ttl_s, lease=lease)

    def election(
        self, name: str | bytes, *, ttl_s: int = ELECTION_TTL_S, lease: Lease | None = None
    ) -> Election:
        """An election by name: to stand in, or to look on."""
        return Election(self, name, ttl_s=ttl_s, lease=lease)
