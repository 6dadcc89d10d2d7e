"""An etcd of a few lines on a real port, and a cluster without one, for tests of the import."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from metastore.api.importing.source import Source, SourceOptions
from metastore.api.protocol.messages import mvcc, rpc
from metastore.client.results import (
    BatchResult,
    KeepAlive,
    KeyValue,
    LeaseGrant,
    PutResult,
    RangeResult,
    Refused,
    TimeToLive,
    TxnResult,
)
from metastore.transport.schema import LEASE_EXISTS, LEASE_NOT_FOUND, Op, Operation

REQUESTS = {
    "Range": rpc.RangeRequest,
    "LeaseLeases": rpc.LeaseLeasesRequest,
    "LeaseTimeToLive": rpc.LeaseTimeToLiveRequest,
    "Authenticate": rpc.AuthenticateRequest,
}


def kv(key: bytes, mod_revision: int, value: bytes = b"v", lease: int = 0) -> Any:
    return mvcc.KeyValue(key=key, value=value, mod_revision=mod_revision, lease=lease)


class ScriptedEtcd(grpc.GenericRpcHandler):  # type: ignore[misc]
    """`failures`: (code, text) by method, each once."""

    def __init__(self, keys: Sequence[Any] = (), leases: dict[int, int] | None = None) -> None:
        self.keys = sorted(keys, key=lambda kv: kv.key)
        self.leases = leases or {}
        self.revision = max((kv.mod_revision for kv in keys), default=1)
        self.requests: list[Any] = []
        self.tokens: list[str] = []
        self.given_out = 0
        self.failures: dict[str, tuple[grpc.StatusCode, str]] = {}
        self.is_auth_on = False

    def service(self, call: Any) -> Any:
        method = call.method.rpartition("/")[2]

        def answer(request: Any, context: Any) -> Any:
            self.requests.append(request)
            self.tokens.append(dict(context.invocation_metadata()).get("token", ""))
            if method in self.failures:
                context.abort(*self.failures.pop(method))
            return getattr(self, method)(request, context)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=REQUESTS[method].FromString,
            response_serializer=lambda reply: reply.SerializeToString(),
        )

    def Range(self, request: Any, context: Any) -> Any:
        end = request.range_end
        found = [
            kv
            for kv in self.keys
            if kv.key == request.key or (end and request.key <= kv.key and _is_before(kv.key, end))
        ]
        header = rpc.ResponseHeader(revision=self.revision)
        if request.count_only:
            return rpc.RangeResponse(header=header, count=len(found))
        cut = found[: request.limit or None]
        return rpc.RangeResponse(
            header=header, kvs=cut, more=len(cut) < len(found), count=len(found)
        )

    def LeaseLeases(self, request: Any, context: Any) -> Any:
        return rpc.LeaseLeasesResponse(leases=[rpc.LeaseStatus(ID=one) for one in self.leases])

    def LeaseTimeToLive(self, request: Any, context: Any) -> Any:
        ttl = self.leases.get(request.ID)
        if ttl is None:
            return rpc.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
        return rpc.LeaseTimeToLiveResponse(ID=request.ID, TTL=1, grantedTTL=ttl)

    def Authenticate(self, request: Any, context: Any) -> Any:
        if not self.is_auth_on:
            text = "etcdserver: authentication is not enabled"
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
        self.given_out += 1
        return rpc.AuthenticateResponse(token=f"{request.name} {self.given_out}")


def _is_before(key: bytes, end: bytes) -> bool:
    return end == b"\0" or key < end


@contextmanager
def connected(etcd: ScriptedEtcd, **options: Any) -> Iterator[Source]:
    server = grpc.server(ThreadPoolExecutor(4), handlers=[etcd])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with Source(SourceOptions(f"http://127.0.0.1:{port}", **options)) as source:
            yield source
    finally:
        server.stop(None)


class ScriptedCluster:
    """What the import uses of a client. `failures` are raised by the next requests, one each."""

    def __init__(self) -> None:
        self.revision = 1
        self.keys: dict[bytes, tuple[bytes, int, int]] = {}  # value, mod revision, lease
        self.leases: dict[int, int] = {}
        self.renewed: list[int] = []
        self.failures: list[Exception] = []
        self.before_request: Callable[[], object] = lambda: None

    def range(self, key: bytes, range_end: bytes, **_: Any) -> RangeResult:
        found = [one for one in sorted(self.keys) if key <= one and _is_before(one, range_end)]
        items = tuple(KeyValue(one, b"", 0, 0, 0, 0) for one in found[:1])
        return RangeResult(self.revision, items, False, len(found))

    def batch(self, operations: Sequence[Operation]) -> list[BatchResult]:
        self.before_request()
        if self.failures:
            raise self.failures.pop(0)
        return [self._do(operation) for operation in operations]

    def _do(self, operation: Operation) -> BatchResult:
        kind = operation[0]
        if kind == Op.TXN:
            self.revision += 1
            results = tuple(self._put(put) for put in operation[2])
            return TxnResult(self.revision, True, results)
        if kind == Op.PUT:
            if operation[3] and operation[3] not in self.leases:
                return Refused(5, LEASE_NOT_FOUND)
            self.revision += 1
            return self._put(operation)
        if kind == Op.LEASE_GRANT:
            return self._grant(*operation[1:])
        if kind == Op.LEASE_TIME_TO_LIVE:
            ttl_s = self.leases[operation[1]]
            return TimeToLive(self.revision, ttl_s, ttl_s, ())
        self.renewed.append(operation[1])
        return KeepAlive(self.revision, self.leases.get(operation[1], 0))

    def _put(self, operation: Operation) -> PutResult:
        _, key, value, lease, _ = operation
        self.keys[key] = (value, self.revision, lease)
        return PutResult(self.revision, None)

    def _grant(self, lease: int, ttl_s: int) -> BatchResult:
        if lease in self.leases:
            return Refused(9, LEASE_EXISTS)
        chosen = lease or 1000 + len(self.leases)
        self.leases[chosen] = ttl_s
        return LeaseGrant(self.revision, chosen, ttl_s)
