"""Many requests in flight: futures, and the bounded window that hands them out.

Reading order 12 of the client. Drives the sockets only through the driver; `Client.pipeline()`
makes it.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from metastore.client import ops
from metastore.client.calls import Call, to_level
from metastore.client.comparisons import Comparison
from metastore.client.driver import Driver
from metastore.client.errors import InvalidRequest, MetastoreError, Unavailable
from metastore.client.results import (
    BatchResult,
    DeleteResult,
    KeyValue,
    PutResult,
    RangeResult,
    TxnResult,
    decode_result,
    raise_if_refused,
)
from metastore.transport import schema
from metastore.transport.envelope import ReadLevel

WINDOW_COUNT = 128  # requests in flight of one pipeline, unless told otherwise

Value = TypeVar("Value")
Decoder = Callable[[list[BatchResult]], Value]
MakeCall = Callable[[Sequence[schema.Operation], ReadLevel], Call]


def decode_call(call: Call) -> list[BatchResult]:
    """The results of a finished call, in the order of its operations. Raises what it failed
    with."""
    if call.error is not None:
        # A fresh traceback for every caller: one error may belong to many calls.
        raise call.error.with_traceback(None)
    if len(call.results) != len(call.operations):
        raise InvalidRequest(
            f"the node sent {len(call.results)} results for {len(call.operations)} operations"
        )
    pairs = zip(call.operations, call.results, strict=True)
    return [decode_result(operation, result) for operation, result in pairs]


class Future(Generic[Value]):
    """A request under way. Nothing happens behind it: `result` drives the sockets."""

    __slots__ = ("_call", "_decode", "_driver")

    def __init__(self, driver: Driver, call: Call, decode: "Decoder[Value]") -> None:
        self._driver = driver
        self._call = call
        self._decode = decode

    def is_done(self) -> bool:
        return self._call.is_done

    def result(self, timeout_s: float | None = None) -> Value:
        """Waits for the outcome and returns or raises it. Raises TimeoutError if `timeout_s`
        seconds pass before the request's own time-out does; the request then stays under way."""
        call = self._call
        if not call.is_done:
            deadline = call.deadline + 1.0 if timeout_s is None else time.monotonic() + timeout_s
            if not self._driver.wait(lambda: call.is_done, deadline):
                raise TimeoutError(f"no outcome within {timeout_s} s; the request is under way")
        return self._decode(decode_call(call))

    def exception(self) -> MetastoreError | None:
        """Waits for the outcome; None if it is a success."""
        try:
            self.result()
        except MetastoreError as error:
            return error
        return None


class Pipeline:
    """Requests sent without waiting for the ones before; at most `window` are under way at a time.

    Requests of one pipeline reach the leader in order as long as the leader stays the same; after a
    redirect they may be applied in another order. Not for use by several threads at once.
    """

    def __init__(self, driver: Driver, make_call: MakeCall, window: int) -> None:
        if window < 1:
            raise InvalidRequest(f"a window of {window} lets nothing through; give at least 1")
        self._driver = driver
        self._make_call = make_call
        self._window = window
        self._under_way: deque[Call] = deque()
        self._unsent: list[Call] = []

    def put(
        self, key: str | bytes, value: str | bytes, *, lease: ops.LeaseLike = None
    ) -> "Future[PutResult]":
        return self._add([ops.put(key, value, lease=lease)], decode_put)

    def get(self, key: str | bytes, *, level: str = "linearizable") -> "Future[KeyValue | None]":
        return self._add([ops.get(key)], decode_get, to_level(level))

    def delete(self, key: str | bytes) -> "Future[DeleteResult]":
        return self._add([ops.delete(key)], decode_delete)

    def txn(
        self,
        compares: Comparison | Sequence[Comparison],
        success: Sequence[schema.Operation] = (),
        failure: Sequence[schema.Operation] = (),
    ) -> "Future[TxnResult]":
        return self._add([ops.txn(compares, success, failure)], decode_txn)

    def batch(
        self, operations: Sequence[schema.Operation], *, level: str = "linearizable"
    ) -> "Future[list[BatchResult]]":
        return self._add(operations, lambda results: results, to_level(level))

    def finish(self) -> None:
        """Waits until every request has its outcome. Raises nothing for the failed ones: their
        futures do."""
        self.send()
        self._wait_below(1)

    def send(self) -> None:
        """Lets everything added so far leave now, without waiting for answers."""
        if self._unsent:
            self._driver.submit(self._unsent)
            self._unsent = []
            self._driver.pump()

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None:
            self.finish()

    def _add(
        self,
        operations: Sequence[schema.Operation],
        decode: "Decoder[Value]",
        level: ReadLevel = ReadLevel.LINEARIZABLE,
    ) -> "Future[Value]":
        call = self._make_call(operations, level)
        if len(self._under_way) >= self._window:
            self.send()
            self._wait_below(self._window)
        self._under_way.append(call)
        self._unsent.append(call)
        # A quarter of the window in one message: few system calls, and the node is never idle.
        if len(self._unsent) * 4 >= self._window:
            self.send()
        return SubmittingFuture(self._driver, call, decode, self)

    def _wait_below(self, count: int) -> None:
        def is_below() -> bool:
            while self._under_way and self._under_way[0].is_done:
                self._under_way.popleft()
            if len(self._under_way) >= count:
                self._under_way = deque(call for call in self._under_way if not call.is_done)
            return len(self._under_way) < count

        while self._under_way and not is_below():
            last = max(call.deadline for call in self._under_way)
            if not self._driver.wait(is_below, last + 1.0):
                raise Unavailable("requests outlived their time-outs; the client cannot go on")


class SubmittingFuture(Future[Value]):
    """A future of a pipeline: what the pipeline still holds back leaves before the waiting
    begins."""

    __slots__ = ("_pipeline",)

    def __init__(
        self, driver: Driver, call: Call, decode: "Decoder[Value]", pipeline: Pipeline
    ) -> None:
        super().__init__(driver, call, decode)
        self._pipeline = pipeline

    def result(self, timeout_s: float | None = None) -> Value:
        if not self._call.is_done:
            self._pipeline.send()
        return super().result(timeout_s)


def decode_put(results: list[BatchResult]) -> PutResult:
    return decode_only(results, PutResult)


def decode_delete(results: list[BatchResult]) -> DeleteResult:
    return decode_only(results, DeleteResult)


def decode_range(results: list[BatchResult]) -> RangeResult:
    return decode_only(results, RangeResult)


def decode_txn(results: list[BatchResult]) -> TxnResult:
    return decode_only(results, TxnResult)


def decode_get(results: list[BatchResult]) -> KeyValue | None:
    items = decode_range(results).items
    return items[0] if items else None


def decode_only(results: list[BatchResult], expected: type[Value]) -> Value:
    """The one result of a one-operation request. Raises InvalidRequest if the store refused it."""
    result = results[0]
    raise_if_refused(result)
    if not isinstance(result, expected):
        raise InvalidRequest(f"the node answered with a {type(result).__name__}")
    return result
