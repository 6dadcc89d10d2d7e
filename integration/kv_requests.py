"""Requests of etcd's KV and Lease services for test_etcd_kv.py: drawn from a seed, or made by hand.

Few keys, so that they meet often. What differs from etcd on purpose is not among them
(docs/guide/differences-from-etcd.md). A request is (method, message); methods are those of the
services in snake_case.
"""

import random
from collections.abc import Iterator
from typing import Any

from metastore.api.protocol.messages import rpc
from metastore.api.services.translation import MESSAGE_BYTES_MAX

KEYS = (b"a", b"ab", b"abc", b"b", b"b\x00", b"c", b"\xfe", b"\xff")
NEVER_PUT_IN_TXN = b"bb"
VALUES = (b"", b"0", b"1", b"x", b"\x00\xff")
LEASES = (1, 2, 3)
UNKNOWN_LEASE = 9
EVERYTHING = {"key": b"\0", "range_end": b"\0"}
MANY = 1300  # more than a page of the gateway's

Request = tuple[str, Any]


class Drawing:
    """`revision` is what the last answer said; revisions are drawn around it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.revision = 1

    def request(self) -> Request:
        kinds = ("put", "put", "put", "range", "range", "range", "delete_range", "txn", "txn")
        kind = self._random.choice((*kinds, *kinds, "compact", "lease"))
        if kind == "compact":
            revision = max(1, self.revision - self._random.choice((-1, 0, 3, 9, 20, 40)))
            return kind, rpc.CompactionRequest(revision=revision, physical=self._coin())
        if kind == "lease":
            return self._lease()
        make = {"put": self._put, "range": self._range, "delete_range": self._delete}
        if kind == "txn":
            return kind, self._txn(0)
        return kind, make[kind](maybe_empty=True)

    def _coin(self, chance: float = 0.5) -> bool:
        return self._random.random() < chance

    def _key(self, maybe_empty: bool) -> bytes:
        if maybe_empty and self._coin(0.04):
            return b""
        return self._random.choice(KEYS)

    def _revision(self) -> int:
        if self._coin(0.7):
            return 0
        return max(-1, self.revision + self._random.choice((-20, -9, -5, -3, -1, 0, 1, 3)))

    def _lease_id(self) -> int:
        return self._random.choice((0, 0, 0, 0, *LEASES, UNKNOWN_LEASE))

    def _put(self, maybe_empty: bool = False) -> Any:
        request = rpc.PutRequest(
            key=self._key(maybe_empty),
            value=self._random.choice(VALUES),
            lease=self._lease_id(),
            prev_kv=self._coin(),
        )
        if self._coin(0.15):
            request.ignore_value = True
            request.value = b"" if self._coin(0.8) else b"v"
        if self._coin(0.15):
            request.ignore_lease = True
            request.lease = 0 if self._coin(0.8) else 1
        return request

    def _delete(self, maybe_empty: bool = False) -> Any:
        end = self._random.choice((b"", b"", b"\0", *KEYS))
        return rpc.DeleteRangeRequest(
            key=self._key(maybe_empty), range_end=end, prev_kv=self._coin()
        )

    def _range(self, maybe_empty: bool = False) -> Any:
        request = rpc.RangeRequest(
            key=self._key(maybe_empty),
            range_end=self._random.choice((b"", b"\0", *KEYS)),
            limit=self._random.choice((0, 0, 1, 2, 5, -1)),
            revision=self._revision(),
            serializable=self._coin(0.2),
            keys_only=self._coin(0.2),
            count_only=self._coin(0.1),
        )
        if self._coin():
            request.sort_order = self._random.randrange(3)
            request.sort_target = self._random.randrange(5)
        for name in ("min_mod_", "max_mod_", "min_create_", "max_create_"):
            if self._coin(0.15):
                bound = self.revision - self._random.randrange(12)
                setattr(request, name + "revision", max(0, bound))
        return request

    def _compare(self) -> Any:
        target = self._random.randrange(5)
        request = rpc.Compare(
            key=self._random.choice(KEYS), target=target, result=self._random.randrange(4)
        )
        request.range_end = self._random.choice((b"", b"", b"", b"\0", b"b", b"c"))
        number = self._random.randrange(4)
        if target == 3:
            request.value = self._random.choice(VALUES)
        elif target == 4:
            request.lease = number
        elif target == 0:
            request.version = number
        else:
            name = "create_revision" if target == 1 else "mod_revision"
            setattr(request, name, max(0, self.revision - number) if number else 0)
        return request

    def _txn(self, depth: int) -> Any:
        return rpc.TxnRequest(
            compare=[self._compare() for _ in range(self._random.randrange(3))],
            success=[self._part(depth) for _ in range(self._random.randrange(4))],
            failure=[self._part(depth) for _ in range(self._random.randrange(4))],
        )

    def _part(self, depth: int) -> Any:
        kind = self._random.randrange(8)
        if kind < 3:
            return rpc.RequestOp(request_put=self._put(maybe_empty=True))
        if kind < 5:
            read = self._range()
            # Ties are in no promised order; outside of transactions that is seen to.
            read.sort_target = 0
            # Below 0 is compacted here; in etcd -1 is not, until something was.
            read.revision = max(0, read.revision)
            return rpc.RequestOp(request_range=read)
        if kind == 5 and depth < 2:
            return rpc.RequestOp(request_txn=self._txn(depth + 1))
        delete = self._delete()
        if depth:
            delete.key, delete.range_end = NEVER_PUT_IN_TXN, b""
        elif delete.range_end == b"\0":
            delete.range_end = b"c"
        return rpc.RequestOp(request_delete_range=delete)

    def _lease(self) -> Request:
        lease = self._random.choice((*LEASES, UNKNOWN_LEASE))
        kind = self._random.randrange(5)
        if kind < 2 and lease != UNKNOWN_LEASE:
            ttl_s = self._random.choice((60, 600, 9_000_000_001))
            return "lease_grant", rpc.LeaseGrantRequest(ID=lease, TTL=ttl_s)
        if kind == 2:
            return "lease_revoke", rpc.LeaseRevokeRequest(ID=lease)
        if kind == 3:
            return "lease_leases", rpc.LeaseLeasesRequest()
        return "lease_time_to_live", rpc.LeaseTimeToLiveRequest(ID=lease, keys=self._coin())


def _txn(*parts: Any, compare: tuple[Any, ...] = ()) -> Request:
    return "txn", rpc.TxnRequest(compare=compare, success=parts)


def _put(key: bytes, value: bytes = b"") -> Any:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value))


def limits() -> Iterator[Request]:
    """The largest requests that are let through, and the smallest that are not. Of etcd the line
    lies up to three bytes higher, by the member's id."""
    for total in (MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 4):
        put = rpc.PutRequest(key=b"large", value=bytes(total - 100), lease=0)
        put.value += bytes(total - put.ByteSize())
        yield "put", put
        request = rpc.TxnRequest(success=[_put(b"large", bytes(total - 200))])
        request.success[0].request_put.value += bytes(total - request.ByteSize())
        yield "txn", request
        delete = rpc.DeleteRangeRequest(key=bytes(total - 100))
        delete.key += bytes(total - delete.ByteSize())
        yield "delete_range", delete
    yield "delete_range", rpc.DeleteRangeRequest(key=b"large")
    read = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))
    for count in (128, 129):
        yield _txn(*[_put(b"%d" % number) for number in range(count)])
        yield _txn(*[read] * count)
        yield _txn(compare=(rpc.Compare(key=b"k"),) * count)
    for count in (127, 128):
        inner = rpc.RequestOp(request_txn=rpc.TxnRequest(success=[read] * count))
        yield _txn(inner)


def oddities() -> Iterator[Request]:
    """Requests that no sensible client sends."""
    yield _txn(rpc.RequestOp())
    yield _txn(rpc.RequestOp(request_txn=rpc.TxnRequest(success=[rpc.RequestOp()])))
    yield _txn()
    yield _txn(compare=(rpc.Compare(),))
    yield "put", rpc.PutRequest(key=b"odd", value=b"v", lease=-5)
    yield _txn(_put(b"odd", b"1"), _put(b"odd", b"2"))
    for is_there in (False, True):
        if is_there:
            yield "put", rpc.PutRequest(key=b"odd", value=b"v")
        for target in (0, 3, 9):
            for result in (0, 1, 2, 3, 7):
                compare = rpc.Compare(key=b"odd", target=target, result=result, version=99)
                yield _txn(compare=(compare,))
        yield _txn(compare=(rpc.Compare(key=b"odd", target=3, version=7),))
        yield _txn(compare=(rpc.Compare(key=b"odd", target=0, result=3, value=b"x"),))
    for lease, ttl_s in ((-5, 60), (7, -3), (7, 9), (7, 9_000_000_001), (0, 9_000_000_001)):
        yield "lease_grant", rpc.LeaseGrantRequest(ID=lease, TTL=ttl_s)
    yield "lease_revoke", rpc.LeaseRevokeRequest(ID=7)  # before it ends by itself
    yield "lease_time_to_live", rpc.LeaseTimeToLiveRequest(ID=-5)
    yield "lease_revoke", rpc.LeaseRevokeRequest(ID=-5)
    yield "lease_time_to_live", rpc.LeaseTimeToLiveRequest()
    yield "lease_revoke", rpc.LeaseRevokeRequest()
    yield "lease_grant", rpc.LeaseGrantRequest(TTL=60)


def many_keys() -> Iterator[Request]:
    """A range of several pages, in every way to ask for it."""
    for first in range(0, MANY, 100):
        yield _txn(*[_put(b"m%05d" % n, b"%d" % (n % 7)) for n in range(first, first + 100)])
    many = {"key": b"m", "range_end": b"n"}
    for options in (
        *({}, {"limit": MANY - 1}, {"limit": MANY}, {"limit": 1000}, {"limit": 1001}),
        *({"keys_only": True}, {"count_only": True}, {"serializable": True}, {"limit": 7}),
        *({"sort_order": 2}, {"sort_order": 2, "limit": 1200}, {"sort_target": 1}),
        *({"min_mod_revision": 5}, {"revision": 3}),
    ):
        yield "range", rpc.RangeRequest(**many, **options)
    yield "delete_range", rpc.DeleteRangeRequest(**many, prev_kv=True)
    yield "range", rpc.RangeRequest(**many)
