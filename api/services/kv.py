"""etcd's KV service: reads, writes and transactions of keys.

What is asked goes to the node as one operation (translation.py), a long range as several
(ranges.py). Linearizable unless the caller says that old is good enough.
"""

from collections.abc import AsyncIterator
from typing import Any

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.failures import AnswerTooLarge
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.services import ranges
from metastore.api.services.translation import (
    check_size,
    fill_delete_range,
    fill_put,
    fill_range,
    fill_txn,
    is_serializable,
    to_compact,
    to_delete_range,
    to_put,
    to_range,
    to_txn,
)
from metastore.transport import shapes
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import Flag, Operation, Result, SortOrder, SortTarget, is_read_only

STREAM_KEYS_FIRST = 100  # of a stream: its reader wants to begin
# etcd 3.7's, without the prefix that its other errors have.
NO_SORTED_STREAM = "RangeStream does not support custom sort orders"
NO_FILTERED_STREAM = "RangeStream does not support revision filters"

_RANGE = shapes.RANGE
_COUNT_ONLY = int(Flag.COUNT_ONLY)


class Kv:
    """`etcdserverpb.KV`."""

    def __init__(self, link: NodeLink) -> None:
        self._link = link

    async def range(self, request: Any, caller: Caller) -> Any:
        operation = to_range(request)
        level = ReadLevel.LOCAL if request.serializable else ReadLevel.LINEARIZABLE
        reply = rpc.RangeResponse()
        if operation[0] != _RANGE:
            result = await self._sorted(operation, caller, level)
        elif operation[2] and not operation[5] & _COUNT_ONLY:
            revision = await self._range_in_pages(reply, operation, caller, level)
            self._link.fill_header(reply.header, revision)
            return reply
        else:
            result = await self._link.ask(caller, operation, level=level)
        self._link.fill_header(reply.header, result[1])
        fill_range(reply, result)
        return reply

    async def _sorted(self, operation: Operation, caller: Caller, level: ReadLevel) -> Result:
        async def ask(page: Operation) -> Result:
            return await self._link.ask(caller, page, level=level)

        try:
            return await ask(operation)
        except AnswerTooLarge:
            return await ranges.collect_sorted(ask, operation)

    async def _range_in_pages(
        self, reply: Any, operation: Operation, caller: Caller, level: ReadLevel
    ) -> int:
        async def ask(page: Operation) -> Result:
            return await self._link.ask(caller, page, level=level)

        def take(part: Result) -> None:
            if part[0]:
                del reply.kvs[:]
            fill_range(reply, part)

        return await ranges.collect(ask, operation, take)

    async def range_stream(self, request: Any, caller: Caller) -> AsyncIterator[Any]:
        """As etcd 3.7: parts that make the RangeResponse when they are merged. What is said of the
        whole (header, count, more) comes with the last one."""
        operation = _to_stream(request)
        level = ReadLevel.LOCAL if request.serializable else ReadLevel.LINEARIZABLE

        async def ask(page: Operation) -> Result:
            return await self._link.ask(caller, page, level=level)

        if operation[5] & _COUNT_ONLY:
            held = await ask(operation)
        else:
            parts = ranges.pages(ask, operation, STREAM_KEYS_FIRST)
            held = await anext(parts)
            async for part in parts:
                reply = rpc.RangeStreamResponse()
                fill_range(reply.range_response, (0, 0, held[2], False, 0))
                yield reply
                held = part
        last = rpc.RangeStreamResponse()
        fill_range(last.range_response, held)
        self._link.fill_header(last.range_response.header, held[1])
        yield last

    async def put(self, request: Any, caller: Caller) -> Any:
        result = await self._link.ask(caller, to_put(request))
        reply = rpc.PutResponse()
        self._link.fill_header(reply.header, result[1])
        fill_put(reply, result)
        return reply

    async def delete_range(self, request: Any, caller: Caller) -> Any:
        result = await self._link.ask(caller, to_delete_range(request))
        reply = rpc.DeleteRangeResponse()
        self._link.fill_header(reply.header, result[1])
        fill_delete_range(reply, result)
        return reply

    async def txn(self, request: Any, caller: Caller) -> Any:
        operation = to_txn(request)
        level = ReadLevel.LINEARIZABLE
        if not is_read_only((operation,)):
            check_size(request)
        elif is_serializable(request):
            level = ReadLevel.LOCAL
        result = await self._link.ask(caller, operation, level=level)
        reply = rpc.TxnResponse()
        self._link.fill_header(reply.header, result[1])
        fill_txn(reply, result, operation)
        return reply

    async def compact(self, request: Any, caller: Caller) -> Any:
        result = await self._link.ask(caller, to_compact(request))
        reply = rpc.CompactionResponse()
        self._link.fill_header(reply.header, result[1])
        return reply


def _to_stream(request: Any) -> Operation:
    """A plain range; raises ApiError for what has to be seen as a whole first."""
    operation = to_range(request)
    if operation[0] == _RANGE:
        return operation
    order, target, *bounds = operation[6:]
    # A target without an order is passed over here, and by etcd.
    if order != SortOrder.NONE and (order, target) != (SortOrder.ASCEND, SortTarget.KEY):
        raise ApiError(Status.UNIMPLEMENTED, NO_SORTED_STREAM)
    if any(bounds):
        raise ApiError(Status.UNIMPLEMENTED, NO_FILTERED_STREAM)
    return (_RANGE, *operation[1:6])
