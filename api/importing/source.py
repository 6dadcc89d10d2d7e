"""A running etcd as a source: every key as of one revision, and what its leases were granted.

First of importing/. Reads only. A page is as large as the keys before it let expect; the first one
fixes the revision of all the others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc

from metastore.api.protocol.messages import rpc
from metastore.client.errors import (
    InvalidRequest,
    MetastoreError,
    PermissionDenied,
    Unavailable,
)

PAGE_BYTES = 1 << 20  # aimed at
PAGE_KEYS_FIRST, PAGE_KEYS_MAX = 16, 5000
KEY_OVERHEAD_BYTES = 48
LEASES_AT_ONCE = 64  # questions about leases under way
AUTH_OFF = "etcdserver: authentication is not enabled"
BAD_TOKEN = "etcdserver: invalid auth token"
COMPACTED = "etcdserver: mvcc: required revision has been compacted"

_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0))
_OK, _EVERYTHING = 0, (b"\0", b"\0")

Reply = TypeVar("Reply")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """`endpoint`: HOST:PORT, http://HOST:PORT or https://HOST:PORT; a file means https."""

    endpoint: str
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    user: str = ""
    password: str = ""
    timeout_s: float = 10.0


class Source:
    """One connection; a context manager. Raises InvalidRequest (PermissionDenied), Unavailable,
    OSError for files that cannot be read."""

    def __init__(self, options: SourceOptions) -> None:
        self._options = options
        self._channel = _open(options)
        self._token = ""
        self._calls: dict[str, Any] = {}

    def __enter__(self) -> "Source":
        try:
            self._authenticate()
        except BaseException:
            self._channel.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def revision(self, key: bytes) -> int:
        """The newest. `key`: one that the user may read, be it there or not."""
        request = rpc.RangeRequest(key=key, count_only=True)
        return int(self._ask("KV/Range", request, rpc.RangeResponse).header.revision)

    def count(self, key: bytes, range_end: bytes, revision: int) -> int:
        request = rpc.RangeRequest(key=key, range_end=range_end, count_only=True, revision=revision)
        return int(self._ask("KV/Range", request, rpc.RangeResponse).count)

    def keys(self, key: bytes, range_end: bytes, revision: int) -> Iterator[Sequence[Any]]:
        """mvccpb.KeyValue, page by page in key order, all as of `revision`."""
        limit = PAGE_KEYS_FIRST
        while True:
            request = rpc.RangeRequest(key=key, range_end=range_end, revision=revision, limit=limit)
            page = self._ask("KV/Range", request, rpc.RangeResponse)
            if page.kvs:
                yield page.kvs
            if not page.more or not page.kvs:
                return
            key = page.kvs[-1].key + b"\0"  # the smallest key after it
            limit = _next_limit(page, limit)

    def leases(self) -> list[int]:
        """Of the whole etcd."""
        reply = self._ask("Lease/LeaseLeases", rpc.LeaseLeasesRequest(), rpc.LeaseLeasesResponse)
        return [lease.ID for lease in reply.leases]

    def granted(self, leases: Sequence[int]) -> Iterator[tuple[int, int]]:
        """(lease, granted time to live in seconds) of those that there are still."""
        for start in range(0, len(leases), LEASES_AT_ONCE):
            some = leases[start : start + LEASES_AT_ONCE]
            requests = [rpc.LeaseTimeToLiveRequest(ID=lease) for lease in some]
            for lease, reply in zip(some, self._ask_all(requests), strict=True):
                if reply.TTL >= 0 and reply.grantedTTL > 0:
                    yield lease, int(reply.grantedTTL)

    # Calls

    def _ask(self, method: str, request: Any, reply_class: Any) -> Any:
        call = self._call(method, reply_class)
        return self._settle(lambda: call(request, **self._how()))

    def _ask_all(self, requests: Sequence[Any]) -> list[Any]:
        call = self._call("Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveResponse)
        return self._settle(
            lambda: [
                future.result()
                for future in [call.future(request, **self._how()) for request in requests]
            ]
        )

    def _settle(self, ask: Callable[[], Reply]) -> Reply:
        """Once more with another token, should the first have grown old."""
        try:
            return ask()
        except grpc.RpcError as error:
            if not self._token or error.details() != BAD_TOKEN:
                raise self._translated(error) from None
        self._authenticate()
        try:
            return ask()
        except grpc.RpcError as error:
            raise self._translated(error) from None

    def _how(self) -> dict[str, Any]:
        metadata = (("token", self._token),) if self._token else ()
        return {"timeout": self._options.timeout_s, "metadata": metadata}

    def _call(self, method: str, reply_class: Any) -> Any:
        if method not in self._calls:
            self._calls[method] = self._channel.unary_unary(
                f"/etcdserverpb.{method}",
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=reply_class.FromString,
            )
        return self._calls[method]

    def _authenticate(self) -> None:
        """Not with an etcd whose authentication is off: it asks nobody's name."""
        options = self._options
        self._token = ""
        if not options.user:
            return
        request = rpc.AuthenticateRequest(name=options.user, password=options.password)
        call = self._call("Auth/Authenticate", rpc.AuthenticateResponse)
        try:
            self._token = call(request, timeout=options.timeout_s).token
        except grpc.RpcError as error:
            if error.details() != AUTH_OFF:
                raise self._translated(error) from None

    def _translated(self, error: Any) -> MetastoreError:
        text = f"{self._options.endpoint}: {error.details() or error.code().name}"
        code = error.code()
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return Unavailable(text)
        if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
            return PermissionDenied(text)
        if error.details() == COMPACTED:
            return InvalidRequest(f"{text}: while it was read; begin again", 11)
        return InvalidRequest(text, code.value[0])


def _open(options: SourceOptions) -> Any:
    scheme, separator, rest = options.endpoint.partition("://")
    target = rest if separator else scheme
    files = (options.ca_file, options.cert_file, options.key_file)
    uses_tls = scheme == "https" if separator else any(files)
    if (separator and scheme not in ("http", "https")) or not target or "/" in target.rstrip("/"):
        raise InvalidRequest(f"{options.endpoint!r} is no endpoint such as http://10.0.0.1:2379")
    target = target.rstrip("/")
    if not uses_tls:
        if any(files):
            raise InvalidRequest(f"{options.endpoint}: certificates are for https")
        return grpc.insecure_channel(target, _OPTIONS)
    if (options.cert_file is None) != (options.key_file is None):
        raise InvalidRequest("--cert and --key belong together")
    ca, cert, key = (None if path is None else path.read_bytes() for path in files)
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, cert), _OPTIONS)


def _next_limit(page: Any, limit: int) -> int:
    """Growing slowly, shrinking at once: large values may follow small ones."""
    size_bytes = sum(len(kv.key) + len(kv.value) + KEY_OVERHEAD_BYTES for kv in page.kvs)
    fitting = PAGE_BYTES * len(page.kvs) // size_bytes
    return max(1, min(fitting, limit * 2, PAGE_KEYS_MAX))
