"""One HTTP request, as a call of the table: within the rules of all calls.

Between app.py, which finds the method, and the services, which know nothing of HTTP. A service says
ApiError; whatever else it raises is a defect of ours, which costs a line in the log and that call.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from aiohttp import web

from metastore.api.calls import ApiError, Caller, Method, Status
from metastore.api.grpc.handlers import FAILED
from metastore.api.grpc.running import Running
from metastore.api.metrics import Metrics
from metastore.api.web.call_headers import caller_of, timeout_s_of
from metastore.api.web.incoming import Incoming, RequestRefused
from metastore.api.web.outgoing import Outgoing

OVERDUE = "context deadline exceeded"  # etcd's

_log = logging.getLogger("metastore.api.web")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Serve = Callable[[Method, Incoming, Outgoing, Caller], Awaitable[web.StreamResponse]]


def handler_of(method: Method, metrics: Metrics, running: Running) -> Handler:
    """Counted, ended in time, answered whatever happens; unless the client has gone."""
    serve: Serve = _serve_stream if method.sends_stream else _serve_once
    is_stream = method.takes_stream or method.sends_stream
    counts = metrics.of(method)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        outgoing = Outgoing(request, metrics, is_stream=method.sends_stream)
        call = None
        counts.begin()
        try:
            caller = caller_of(request)
            timeout_s = timeout_s_of(request.headers)
            with running.call(is_stream, caller.requires_leader) as call:
                incoming = Incoming(method, request, metrics, call.hold)
                response = await _in_time(timeout_s, serve(method, incoming, outgoing, caller))
            counts.end(Status.OK)
            return response
        except ApiError as error:
            fault = error
        except asyncio.CancelledError:
            if call is None or call.fault is None:
                counts.end(Status.CANCELLED)
                raise  # the client has gone: nobody listens
            fault = call.fault
        except Exception as error:
            if isinstance(error, ConnectionError) and outgoing.is_cut:
                counts.end(Status.CANCELLED)
                raise
            _log.exception("a call failed", extra={"method": method.path})
            fault = ApiError(Status.INTERNAL, FAILED)
        counts.end(fault.code)
        return await outgoing.refuse(fault, is_answered_once=isinstance(fault, RequestRefused))

    return handle


async def _in_time(
    timeout_s: float | None, serving: Awaitable[web.StreamResponse]
) -> web.StreamResponse:
    """Raises ApiError when the time that the caller gave is over."""
    try:
        async with asyncio.timeout(timeout_s) as timeout:
            return await serving
    except TimeoutError:
        if not timeout.expired():
            raise
        raise ApiError(Status.DEADLINE_EXCEEDED, OVERDUE) from None


async def _serve_once(
    method: Method, incoming: Incoming, outgoing: Outgoing, caller: Caller
) -> web.StreamResponse:
    return outgoing.reply(await method.handler(await incoming.message(), caller))


async def _serve_stream(
    method: Method, incoming: Incoming, outgoing: Outgoing, caller: Caller
) -> web.StreamResponse:
    requests = await (incoming.messages() if method.takes_stream else incoming.message())
    # Closed with the call, not when it is collected: a watch ends when its client leaves.
    async with aclosing(method.handler(requests, caller)) as replies:
        async for reply in replies:
            await outgoing.send(reply)
    return await outgoing.finish()
