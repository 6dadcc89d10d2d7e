"""One call, from its bytes to its status: what all methods have in common.

A service says ApiError; whatever else it raises is a defect of ours, which costs one line in the
log and that call, never the server. Texts are etcd's.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any

import grpc

from metastore.api.calls import ApiError, Method, Status
from metastore.api.front.peers import Peers
from metastore.api.grpc.callers import caller_of
from metastore.api.grpc.decoding import decoded
from metastore.api.grpc.running import Running, RunningCall
from metastore.api.metrics import Metrics

FAILED = "etcdserver: the gateway failed to answer; its log says why"
NO_MESSAGE = "EOF"  # etcd's, for a unary call that ends before its message

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_log = logging.getLogger("metastore.api.grpc")

Serve = Callable[[Any, Any], Awaitable[Any]]


class Handlers(grpc.GenericRpcHandler):
    """The handlers of all methods; also of those that do not exist."""

    def __init__(
        self,
        methods: Iterable[Method],
        peers: Peers | None,
        running: Running,
        metrics: Metrics | None = None,
    ) -> None:
        self._peers = peers
        self._metrics = metrics or Metrics()
        self._running = running
        self._handlers: dict[str, Any] = {}
        self._services: set[str] = set()
        for method in methods:
            self._handlers[method.path] = self._handler_of(method)
            self._services.add(method.service)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        return self._handlers.get(path) or self._unknown(path)

    def _handler_of(self, method: Method) -> Any:
        """All as streams of requests, of which a unary call's has one: the library's own unary
        handlers leave a call hanging that ends before its message."""
        serve = self._guarded(method, _body_of(method, self._metrics))
        if method.sends_stream:
            return grpc.stream_stream_rpc_method_handler(serve)
        return grpc.stream_unary_rpc_method_handler(serve)

    def _guarded(self, method: Method, body: Callable[..., Awaitable[Any]]) -> Serve:
        """The body within the rules of all calls: counted, ended in time, never more than a
        status."""
        running, peers = self._running, self._peers
        is_stream = method.takes_stream or method.sends_stream
        counts = self._metrics.of(method)

        async def serve(request: Any, context: Any) -> Any:
            call = None
            counts.begin()
            try:
                caller = caller_of(context, peers)
                with running.call(is_stream, caller.requires_leader) as call:
                    reply = await body(request, caller, context, call)
                counts.end(Status.OK)
                return reply
            except ApiError as error:
                fault = error
            except asyncio.CancelledError:
                if call is None or call.fault is None:
                    counts.end(Status.CANCELLED)
                    raise  # by the client, or its time is over: nobody listens
                fault = call.fault
            except Exception:
                _log.exception("a call failed", extra={"method": method.path})
                fault = ApiError(Status.INTERNAL, FAILED)
            counts.end(fault.code)
            await context.abort(_CODES[fault.code], fault.message)

        return serve

    def _unknown(self, path: str) -> Any:
        service, _, name = path.removeprefix("/").rpartition("/")
        text = f"unknown service {service}"
        if "/" not in path.removeprefix("/"):
            text = f'malformed method name: "{path}"'
        elif service in self._services:
            text = f"unknown method {name} for service {service}"

        async def refuse(requests: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)

        # As a stream: it is refused before its message has come.
        return grpc.stream_stream_rpc_method_handler(refuse)


def _body_of(method: Method, metrics: Metrics) -> Callable[..., Awaitable[Any]]:
    """What is done with (received requests, caller, context, call)."""

    async def incoming(received: Any, context: Any, call: RunningCall) -> Any:
        if method.takes_stream:
            return _requests(method, received, call, metrics)
        data = await context.read()
        if data is grpc.aio.EOF:
            raise ApiError(Status.UNKNOWN, NO_MESSAGE)
        metrics.received(len(data))
        call.hold(len(data))
        return decoded(method, data)

    async def answer_once(received: Any, caller: Any, context: Any, call: RunningCall) -> bytes:
        reply = await method.handler(await incoming(received, context, call), caller)
        data: bytes = reply.SerializeToString()
        metrics.sent(len(data))
        return data

    async def answer_often(received: Any, caller: Any, context: Any, call: RunningCall) -> None:
        request = await incoming(received, context, call)
        # Closed with the call, not when it is collected: a watch ends when its client leaves.
        async with aclosing(method.handler(request, caller)) as replies:
            async for reply in replies:
                call.is_writing = True
                data = reply.SerializeToString()
                metrics.sent(len(data))
                await context.write(data)
                call.is_writing = False
                if call.fault is not None:
                    raise call.fault

    return answer_often if method.sends_stream else answer_once


async def _requests(
    method: Method, received: Any, call: RunningCall, metrics: Metrics
) -> AsyncIterator[Any]:
    """The messages of a stream. One that is none ends the call, whichever task of the service reads
    them and whatever it does with the error."""
    async for data in received:
        metrics.received(len(data))
        try:
            request = decoded(method, data)
        except ApiError as fault:
            call.end_from_within(fault)
            raise
        yield request
