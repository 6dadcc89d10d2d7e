"""The status socket: a ROUTER in a thread of its own that answers any REQ from a published state.

Reading order 11. Never calls the loop and never waits for it: `answer` reads what was published. A
ROUTER and not a REP, because malformed input can leave a REP waiting for a reply that never comes.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgpack
import zmq

from metastore.transport import limits
from metastore.transport.counters import ANYBODY, Counters
from metastore.transport.errors import Malformed
from metastore.transport.security import CurveServer
from metastore.transport.socket_thread import Died, SocketThread
from metastore.transport.sockets import Context, open_router

MALFORMED = "malformed"
UNKNOWN_METHOD = "unknown_method"
INTERNAL = "internal"

_log = logging.getLogger("metastore.transport.status")


class UnknownMethod(Exception):
    """Raised by `answer` for a method it does not have."""


class StatusServer:
    """Listens and answers from the constructor on; raises BindFailed. `answer(method)` runs on the
    server's thread and must not wait; it gives a msgpack-able map or raises UnknownMethod. `died`
    hears from that thread what ended it, unless it was `close`. With `curve`, whoever has a key
    that the ZAP handler lets in may ask; there is nothing to protect beyond that."""

    def __init__(
        self,
        bind: str,
        answer: Callable[[str], dict[str, Any]],
        context: Context,
        died: Died,
        curve: CurveServer | None = None,
    ) -> None:
        self._answer = answer
        self._counters = Counters()
        self._router, self.address = open_router(
            context,
            bind,
            frame_bytes_max=limits.STATUS_REQUEST_BYTES_MAX,
            send_max=limits.STATUS_QUEUE_MAX,
            receive_max=limits.STATUS_QUEUE_MAX,
            curve=curve,
        )
        self._thread = SocketThread(context, self._router, "status", self._serve_one, died)
        self._thread.start()

    def counters(self) -> dict[str, int]:
        """{"answered" | "malformed" | "unknown_method" | "internal" | "gone": count}; a copy."""
        return self._counters.as_dict().get(ANYBODY, {})

    def close(self) -> None:
        """Stops the thread and frees the port. Safe to call twice."""
        self._thread.close()

    def _serve_one(self) -> None:
        try:
            parts = self._router.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        # REQ wraps its frame as [identity, "", body]; without the delimiter the answer has none.
        envelope = parts[:2] if len(parts) > 1 and parts[1] == b"" else parts[:1]
        reply = self._reply_to(parts[len(envelope) :])
        try:
            self._router.send_multipart([*envelope, reply], zmq.NOBLOCK)
        except zmq.ZMQError:
            self._counters.count(ANYBODY, "gone")

    def _reply_to(self, body: list[bytes]) -> bytes:
        try:
            reply = msgpack.packb(self._answer(decode_method(body)))
            self._counters.count(ANYBODY, "answered")
            return bytes(reply)
        except Malformed as error:
            return self._error(MALFORMED, error.reason)
        except UnknownMethod as error:
            return self._error(UNKNOWN_METHOD, f"unknown method {error}")
        except Exception as error:  # status must go on answering when the rest of the node is ill
            _log.exception("status: the answer failed")
            return self._error(INTERNAL, f"{type(error).__name__}: {error}")

    def _error(self, code: str, message: str) -> bytes:
        self._counters.count(ANYBODY, code)
        return bytes(msgpack.packb({"error": {"code": code, "message": message}}))


def decode_method(body: list[bytes]) -> str:
    """The method of a request's frames. Raises Malformed, never anything else."""
    if len(body) != 1:
        raise Malformed("a request is one frame")
    try:
        request = msgpack.unpackb(body[0], object_pairs_hook=_refuse_duplicates)
    except Malformed:
        raise
    except Exception as error:  # the decoder's own errors have no common base
        raise Malformed(f"not msgpack: {type(error).__name__}") from None
    if not isinstance(request, dict) or set(request) != {"method"}:
        raise Malformed('a request is the map {"method": name}')
    method = request["method"]
    if type(method) is not str:
        raise Malformed("the method is a string")
    return method


def _refuse_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed("a key appears twice in a map")
    return result
