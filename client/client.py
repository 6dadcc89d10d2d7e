"""The client: the calls of the store as methods, for any number of threads.

Reading order 10 of the client. Every call waits for its outcome, at most `timeout_s` seconds; what
the errors mean is drawn in errors.py, what is retried in routing.py.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import zmq

from metastore.client.calls import Call, to_level
from metastore.client.discovery import Discovery
from metastore.client.driver import Driver
from metastore.client.errors import InvalidRequest, Unavailable
from metastore.client.futures import (
    WINDOW_COUNT,
    Pipeline,
    decode_call,
    decode_delete,
    decode_get,
    decode_put,
    decode_range,
)
from metastore.client.keys import to_bytes
from metastore.client.paging import scan_pages
from metastore.client.results import (
    BatchResult,
    DeleteResult,
    KeyValue,
    Member,
    PutResult,
    RangeResult,
)
from metastore.client.statuses import ask_statuses
from metastore.transport import schema
from metastore.transport.addresses import parse_connect_address
from metastore.transport.envelope import ReadLevel
from metastore.transport.errors import BadAddress

TIMEOUT_S = 5.0


class Client:
    """Talks to one cluster. Knowing one node is enough: the others are learned from it.

    endpoints: "tcp://host:port" of client sockets, in order of preference; a sequence, or one text
        with commas.
    timeout_s: seconds until a call gives up, unless the call says otherwise.
    is_pinned: never talk to any node but those given.
    context: a ZeroMQ context to share; by default the process's own.

    Raises InvalidRequest for endpoints that are no addresses. Nothing is sent before the first
    call.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        timeout_s: float = TIMEOUT_S,
        is_pinned: bool = False,
        context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._context = context if context is not None else zmq.Context.instance()
        self._discovery = Discovery(_parse_endpoints(endpoints), is_pinned)
        self._driver = Driver(self._context, self._discovery)

    def put(
        self,
        key: str | bytes,
        value: str | bytes,
        *,
        prev_kv: bool = False,
        timeout_s: float | None = None,
    ) -> PutResult:
        operation = schema.put(to_bytes(key, "key"), to_bytes(value, "value"), prev_kv=prev_kv)
        return decode_put(self._do([operation], timeout_s))

    def get(
        self, key: str | bytes, *, level: str = "linearizable", timeout_s: float | None = None
    ) -> KeyValue | None:
        """None if there is no such key."""
        operation = schema.range_(to_bytes(key, "key"))
        return decode_get(self._do([operation], timeout_s, to_level(level)))

    def range(
        self,
        key: str | bytes,
        range_end: str | bytes = b"",
        *,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
        level: str = "linearizable",
        timeout_s: float | None = None,
    ) -> RangeResult:
        """Keys of [key, range_end); keys.prefix_range gives the range of a prefix. `limit` 0: all
        of them, `revision` 0: the newest. Large ranges: see scan."""
        operation = schema.range_(
            to_bytes(key, "key"),
            to_bytes(range_end, "range end"),
            limit=limit,
            revision=revision,
            keys_only=keys_only,
            count_only=count_only,
        )
        return decode_range(self._do([operation], timeout_s, to_level(level)))

    def scan(
        self,
        key: str | bytes,
        range_end: str | bytes,
        *,
        keys_only: bool = False,
        level: str = "linearizable",
        on_change: Callable[[], None] | None = None,
    ) -> Iterator[KeyValue]:
        """The keys of [key, range_end) in order, in pages, all as of one revision. If keys change
        meanwhile and the node does not keep old revisions, the rest is read as it is then, after
        calling `on_change`; without one InvalidRequest is raised: begin again."""
        start, end = to_bytes(key, "key"), to_bytes(range_end, "range end")
        return scan_pages(self, start, end, keys_only=keys_only, level=level, on_change=on_change)

    def delete(
        self, key: str | bytes, *, prev_kv: bool = False, timeout_s: float | None = None
    ) -> DeleteResult:
        return self.delete_range(key, prev_kv=prev_kv, timeout_s=timeout_s)

    def delete_range(
        self,
        key: str | bytes,
        range_end: str | bytes = b"",
        *,
        prev_kv: bool = False,
        timeout_s: float | None = None,
    ) -> DeleteResult:
        start, end = to_bytes(key, "key"), to_bytes(range_end, "range end")
        operation = schema.delete_range(start, end, prev_kv=prev_kv)
        return decode_delete(self._do([operation], timeout_s))

    def batch(
        self,
        operations: Sequence[schema.Operation],
        *,
        level: str = "linearizable",
        timeout_s: float | None = None,
    ) -> list[BatchResult]:
        """Operations made by transport.schema, applied in order, each at its own revision; not a
        transaction. A refused one appears as Refused in its place."""
        return self._do(operations, timeout_s, to_level(level))

    def pipeline(self, *, window: int = WINDOW_COUNT, timeout_s: float | None = None) -> Pipeline:
        """Requests without waiting for each; leaving the context waits for all. `timeout_s` counts
        from the moment a request is added."""

        def make_call(operations: Sequence[schema.Operation], level: ReadLevel) -> Call:
            return self._make_call(operations, timeout_s, level)

        return Pipeline(self._driver, make_call, window)

    def members(self, *, timeout_s: float | None = None) -> tuple[Member, ...]:
        """The nodes of the cluster, by id, as the first node that answers knows them."""
        discovery = self._discovery
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        if not self._driver.wait(lambda: bool(discovery.members), deadline, asks=True):
            raise Unavailable(f"no node answered; {discovery.reason}")
        return tuple(discovery.members[node_id] for node_id in sorted(discovery.members))

    def status(self, *, timeout_s: float | None = None) -> dict[int, dict[str, Any]]:
        """What the status socket of every member says, by node id. A node that does not answer has
        {"error": {"code", "message"}}."""
        members = self.members(timeout_s=timeout_s)
        addresses = [member.status_address for member in members]
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        answers = ask_statuses(self._context, addresses, limit_s)
        return {member.node_id: answers[member.status_address] for member in members}

    def close(self) -> None:
        """Ends calls under way with an error. The client is of no use afterwards."""
        self._driver.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(
        self,
        operations: Sequence[schema.Operation],
        timeout_s: float | None,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
    ) -> list[BatchResult]:
        call = self._make_call(operations, timeout_s, level)
        self._driver.submit([call])
        # The driver itself ends the call at its deadline, and knows better what is then known of
        # it.
        if not self._driver.wait(lambda: call.is_done, call.deadline + 1.0):
            raise Unavailable("the request outlived its time-out; the client cannot go on")
        return decode_call(call)

    def _make_call(
        self, operations: Sequence[schema.Operation], timeout_s: float | None, level: ReadLevel
    ) -> Call:
        if not operations:
            raise InvalidRequest("a request needs at least one operation")
        if len(operations) > schema.OPERATIONS_MAX:
            count_max = schema.OPERATIONS_MAX
            raise InvalidRequest(f"{len(operations)} operations are too many; at most {count_max}")
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        call = Call(operations, level, time.monotonic() + limit_s)
        if len(call.request) > schema.REQUEST_BYTES_MAX:
            bytes_max = schema.REQUEST_BYTES_MAX
            raise InvalidRequest(f"{len(call.request)} bytes are too many; at most {bytes_max}")
        return call


def _parse_endpoints(endpoints: str | Sequence[str]) -> list[str]:
    texts = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    stripped = [text.strip() for text in texts if text.strip()]
    if not stripped:
        raise InvalidRequest("no endpoint given; name at least one, such as tcp://127.0.0.1:7002")
    try:
        return [str(parse_connect_address(text)) for text in stripped]
    except BadAddress as error:
        raise InvalidRequest(str(error)) from None
