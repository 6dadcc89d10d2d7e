"""The messages of one request: its body, read no further than it has to be.

Below calls.py, which serves.
"""

import codecs
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from metastore.api.calls import ApiError, Method, Status
from metastore.api.grpc.limits import MESSAGE_BYTES_MAX, REQUEST_BYTES_FREE
from metastore.api.metrics import Metrics
from metastore.api.web.json_messages import to_message
from metastore.api.web.json_text import JsonStream, Malformed, first_value, text_of
from metastore.api.web.limits import BODY_BYTES_MAX

_NO_MORE = object()

_log = logging.getLogger("metastore.api.web")


class RequestRefused(ApiError):
    """Of a call that never began: its request is none."""


class Incoming:
    """For one request."""

    def __init__(
        self,
        method: Method,
        request: web.BaseRequest,
        metrics: Metrics,
        hold: Callable[[int], None],
    ) -> None:
        """`hold` is told of bytes that the call has to keep; raises ApiError for too many."""
        self._method = method
        self._hold = hold
        self._held_bytes = 0
        self._content = request.content
        self._length = request.content_length or 0
        self._metrics = metrics

    async def message(self) -> Any:
        """The one message of the body. Raises RequestRefused."""
        if self._length > BODY_BYTES_MAX:
            raise _too_large(self._length)
        pieces, size = [], 0
        try:
            async for piece in self._content.iter_any():
                size += len(piece)
                if size > BODY_BYTES_MAX:
                    raise _too_large(size)
                self._keep(size)
                pieces.append(piece)
            return self._made(first_value(text_of(b"".join(pieces))))
        except (Malformed, RequestPayloadError) as error:
            raise RequestRefused(Status.INVALID_ARGUMENT, str(error)) from None

    async def messages(self) -> AsyncIterator[Any]:
        """All messages of the body, which may stay open as long as the client likes. Its first is
        waited for here; returns an iterator of all. Raises RequestRefused."""
        values = self._values()
        try:
            first = await anext(values, _NO_MORE)
            begun = [] if first is _NO_MORE else [self._made(first)]
        except (Malformed, RequestPayloadError) as error:
            # etcd gives this one no code of its own.
            raise RequestRefused(Status.UNKNOWN, str(error)) from None
        return self._all(begun, values)

    async def _all(self, begun: list[Any], values: AsyncIterator[Any]) -> AsyncIterator[Any]:
        for message in begun:
            yield message
        try:
            async for value in values:
                yield self._made(value)
        except (Malformed, RequestPayloadError) as error:
            # As in etcd: to the call, the client has no more to say.
            _log.debug("a stream of requests ended early", extra={"reason": str(error)})

    async def _values(self) -> AsyncIterator[Any]:
        stream = JsonStream()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        async for piece in self._content.iter_any():
            for value in stream.add(decoder.decode(piece)):
                yield value
            if stream.size > BODY_BYTES_MAX:
                raise _too_large(stream.size)
            self._keep(stream.size)
        stream.finish()

    def _keep(self, size: int) -> None:
        """So much of the body is held now; the most that ever was is what counts. In steps, since
        what is smaller always finds room."""
        if size - self._held_bytes > REQUEST_BYTES_FREE:
            self._hold(size - self._held_bytes)
            self._held_bytes = size

    def _made(self, value: Any) -> Any:
        message = to_message(self._method.request_class, value)
        size = message.ByteSize()
        if size > MESSAGE_BYTES_MAX:
            raise _too_large(size)
        self._metrics.received(size)
        return message


def _too_large(size: int) -> RequestRefused:
    """`size`: of the message, or of a body that is not read as far as one."""
    return RequestRefused(
        Status.RESOURCE_EXHAUSTED,
        f"grpc: received message larger than max ({size} vs. {MESSAGE_BYTES_MAX})",
    )
