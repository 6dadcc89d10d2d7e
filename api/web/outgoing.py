"""The answer of one call, from its status line on: one message, or lines that come and go.

Below calls.py, which serves. Knows of messages only that they become JSON.
"""

from typing import Any

from aiohttp import HttpVersion11, web

from metastore.api.calls import ApiError
from metastore.api.metrics import Metrics
from metastore.api.web.answers import (
    HEADERS,
    JSON,
    answer,
    last_line_of,
    line_of,
    refusal,
    refusal_of_stream,
)
from metastore.api.web.json_messages import to_json


class Outgoing:
    """For one request."""

    def __init__(self, request: web.BaseRequest, metrics: Metrics, *, is_stream: bool) -> None:
        self._request = request
        self._metrics = metrics
        self._is_stream = is_stream
        self._stream: web.StreamResponse | None = None

    @property
    def is_cut(self) -> bool:
        """Nobody is there to be answered."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def reply(self, message: Any) -> web.StreamResponse:
        """The one answer."""
        self._metrics.sent(message.ByteSize())
        return answer(to_json(message))

    async def send(self, message: Any) -> None:
        """One of many, written whole and at once: a client waits for the first before it acts.
        Waits while the client does not read."""
        self._metrics.sent(message.ByteSize())
        stream = await self._begun()
        await stream.write(line_of(to_json(message)))

    async def finish(self) -> web.StreamResponse:
        """After the last of many, also when there was none."""
        stream = await self._begun()
        await stream.write_eof()
        return stream

    async def refuse(self, error: ApiError, *, is_answered_once: bool) -> web.StreamResponse:
        """The end of a call that failed. `is_answered_once`: nothing of the stream has begun."""
        if self._stream is not None:
            await self._stream.write(last_line_of(error))
            return await self.finish()
        if self._is_stream and not is_answered_once:
            return refusal_of_stream(error)
        return refusal(error)

    async def _begun(self) -> web.StreamResponse:
        if self._stream is None:
            self._stream = web.StreamResponse(headers={**HEADERS, "Content-Type": JSON})
            if self._request.version >= HttpVersion11:  # before, its end is the connection's
                self._stream.enable_chunked_encoding()
            await self._stream.prepare(self._request)
        return self._stream
