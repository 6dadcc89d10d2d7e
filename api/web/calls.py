"""One HTTP request, as a call of the table: unary, or with messages that come and go in lines.

Between app.py, which finds the method, and the services, which know nothing of HTTP.
"""

import asyncio
import codecs
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from aiohttp import web

from metastore.api.calls import ApiError, Caller, Method, Status
from metastore.api.grpc.handlers import FAILED
from metastore.api.metrics import Metrics
from metastore.api.web.answers import answer, last_line_of, line_of, refusal
from metastore.api.web.json_messages import JsonStream, parse, to_json, to_message

BODY_BYTES_MAX = 4 << 20  # base64 of the 1.5 MiB that a request may have, and its names
TOO_LARGE = "etcdserver: request is too large"

_log = logging.getLogger("metastore.api.web")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def handler_of(method: Method, metrics: Metrics) -> Handler:
    """For the router of aiohttp."""
    serve = _serve_stream if method.sends_stream else _serve_once

    counts = metrics.of(method)

    async def handle(request: web.Request) -> web.StreamResponse:
        counts.begin()
        code = Status.OK
        try:
            return await serve(method, request)
        except ApiError as error:
            code = error.code
            return refusal(error, is_stream=method.sends_stream)
        except (ConnectionError, asyncio.CancelledError):
            code = Status.CANCELLED
            raise
        except Exception:
            _log.exception("a call failed", extra={"method": method.path})
            code = Status.INTERNAL
            return refusal(ApiError(code, FAILED), is_stream=method.sends_stream)
        finally:
            counts.end(code)

    return handle


def caller_of(request: web.Request) -> Caller:
    token = request.headers.get("Authorization", "")
    return Caller(token=token, address=request.remote or "")


async def _serve_once(method: Method, request: web.Request) -> web.StreamResponse:
    message = to_message(method, parse(await _text_of(request)))
    return answer(to_json(await method.handler(message, caller_of(request))))


async def _serve_stream(method: Method, request: web.Request) -> web.StreamResponse:
    incoming: Any
    if method.takes_stream:
        incoming = _messages(method, request)
    else:
        incoming = to_message(method, parse(await _text_of(request)))
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    async with aclosing(method.handler(incoming, caller_of(request))) as replies:
        try:
            async for reply in replies:
                if not response.prepared:
                    await response.prepare(request)
                # Written whole and at once: a client waits for the first line before it acts.
                await response.write(line_of(to_json(reply)))
        except ApiError as error:
            if not response.prepared:
                raise
            await response.write(last_line_of(error))
    if not response.prepared:
        await response.prepare(request)
    await response.write_eof()
    return response


async def _messages(method: Method, request: web.Request) -> AsyncIterator[Any]:
    """Those of a body that may stay open for as long as the client likes."""
    stream = JsonStream()
    decoder = codecs.getincrementaldecoder("utf-8")()
    async for piece in request.content.iter_any():
        for value in stream.add(_decoded(piece, decoder.decode)):
            yield to_message(method, value)
        if stream.size > BODY_BYTES_MAX:
            raise ApiError(Status.INVALID_ARGUMENT, TOO_LARGE)
    stream.finish()


async def _text_of(request: web.Request) -> str:
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise ApiError(Status.INVALID_ARGUMENT, TOO_LARGE)
    pieces, size = [], 0
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > BODY_BYTES_MAX:
            raise ApiError(Status.INVALID_ARGUMENT, TOO_LARGE)
        pieces.append(piece)
    return _decoded(b"".join(pieces))


def _decoded(data: bytes, decode: Callable[[bytes], str] = bytes.decode) -> str:
    try:
        return decode(data)
    except UnicodeDecodeError as error:
        raise ApiError(Status.INVALID_ARGUMENT, str(error)) from None
