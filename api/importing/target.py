"""The cluster that the keys go into: refused if it is in use, leases granted, writes in order.

Third of importing/. One request at a time: only so do the revisions follow each other as they did
in the source, whoever leads meanwhile.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from metastore.api.importing.plan import Batch, Put
from metastore.client import ops
from metastore.client.client import Client
from metastore.client.errors import InvalidRequest, OutcomeUnknown, Unavailable
from metastore.client.futures import decode_only
from metastore.client.results import BatchResult, KeepAlive, LeaseGrant, Refused, TimeToLive
from metastore.transport.schema import LEASE_EXISTS, Operation

PATIENCE_S = 60.0  # without any batch stored, before giving up
RETRY_S = 0.5
LEASES_AT_ONCE = 128  # of one request
RENEWALS_PER_TTL = 3

Item = TypeVar("Item")


class Granted(NamedTuple):
    """`ids`: what each lease of the source is here; another id where its own was taken."""

    ids: Mapping[int, int]
    ttl_s_min: int  # 0: there are none


class Target:
    """Through a client that stays the caller's. Raises MetastoreError."""

    def __init__(
        self,
        client: Client,
        *,
        patience_s: float = PATIENCE_S,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._client = client
        self._patience_s = patience_s
        self._now = now
        self._sleep = sleep

    def has_keys(self, key: bytes, range_end: bytes) -> bool:
        """Whether there is any in the range already."""
        return bool(self._client.range(key, range_end, limit=1, keys_only=True).items)

    def grant(self, leases: Sequence[tuple[int, int]]) -> Granted:
        """Of (lease, ttl in seconds), with the same ids where they are free. One that is there with
        the same time to live is taken for the same lease, as after an import that was broken off;
        one with another is somebody else's, and a new id is chosen."""
        ids: dict[int, int] = {}
        granted = []
        for some in _in_parts(leases):
            results = self._do([ops.lease_grant(ttl_s, lease) for lease, ttl_s in some])
            for (lease, ttl_s), result in zip(some, results, strict=True):
                if isinstance(result, Refused) and result.message == LEASE_EXISTS:
                    result = self._grant_beside(lease, ttl_s)
                made = decode_only([result], LeaseGrant)
                granted.append(made.ttl_s)
                ids[lease] = made.lease
        return Granted(ids, min(granted, default=0))

    def write(self, batch: Batch, ids: Mapping[int, int]) -> None:
        """All of it, in order, at the end of everything there is; changes of several keys at one
        revision each."""
        operations = [_operation(change, ids) for change in batch]
        results = self._do(operations)
        for change, result in zip(batch, results, strict=True):
            if isinstance(result, Refused):
                raise InvalidRequest(f"key {change[0].key!r}: {result.message}", result.code)

    def keep_alive(self, leases: Iterable[int]) -> int:
        """How many of them are gone."""
        gone = 0
        for some in _in_parts(list(leases)):
            results = self._do([ops.lease_keep_alive(lease) for lease in some])
            gone += sum(decode_only([result], KeepAlive).ttl_s <= 0 for result in results)
        return gone

    def _grant_beside(self, lease: int, ttl_s: int) -> BatchResult:
        there = decode_only(self._do([ops.lease_time_to_live(lease)]), TimeToLive)
        if there.granted_ttl_s == ttl_s:
            return LeaseGrant(there.revision, lease, ttl_s)
        return self._do([ops.lease_grant(ttl_s)])[0]

    def _do(self, operations: Sequence[Operation]) -> list[BatchResult]:
        """Again and again while the cluster is away. What may have been carried out is sent again
        whole: the same keys, once more at the end and in the same order."""
        give_up_at = self._now() + self._patience_s
        while True:
            try:
                return self._client.batch(operations)
            except (Unavailable, OutcomeUnknown):
                if self._now() > give_up_at:
                    raise
            self._sleep(RETRY_S)


class Renewing:
    """Keeps leases alive by being called often enough: between two batches."""

    def __init__(
        self, target: Target, granted: Granted, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._target = target
        self._granted = granted
        self._now = now
        self._renewed_at = now()

    def renew_if_due(self) -> None:
        ttl_s = self._granted.ttl_s_min
        if ttl_s and self._now() - self._renewed_at >= ttl_s / RENEWALS_PER_TTL:
            self.renew()

    def renew(self) -> int:
        """How many are gone."""
        self._renewed_at = self._now()
        return self._target.keep_alive(self._granted.ids.values())


def _in_parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), LEASES_AT_ONCE):
        yield items[start : start + LEASES_AT_ONCE]


def _operation(change: Sequence[Put], ids: Mapping[int, int]) -> Operation:
    puts = [ops.put(put.key, put.value, lease=ids.get(put.lease)) for put in change]
    return puts[0] if len(puts) == 1 else ops.txn([], puts)
