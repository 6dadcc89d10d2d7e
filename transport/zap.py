"""Who may connect: the handler that libzmq asks about the key of each new connection (ZAP, RFC 27).

Reading order 9. One per context, on a thread of its own, because a handshake waits for the answer.
Decides nothing by itself: `allow` does. Connections that never get as far as showing a key are
handshake_watch.py's.

libzmq asks   [connection, "", "1.0", request id, domain, address, routing id, "CURVE", key]
and hears     [connection, "", "1.0", request id, status, text, user id, metadata]
"""

import logging
from collections.abc import Callable, Sequence

import zmq
from zmq.utils import z85

from metastore.transport import limits
from metastore.transport.refusals import Counts, Refusals
from metastore.transport.socket_thread import Died, SocketThread
from metastore.transport.sockets import Context

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"
KEY_BYTES = 32

BROKEN = "the check of keys failed"
NOT_CURVE = "it does not use a key"
MALFORMED = "malformed"

_ALLOWED, _REFUSED, _FAILED = b"200", b"400", b"500"
_QUESTION_FRAMES = 8  # before the credentials
_TEXT_BYTES_MAX = 255

Allow = Callable[[str, str], str]
"""(domain, public key in Z85) -> "" or why not. Runs on the handler's thread and must not wait."""

_log = logging.getLogger("metastore.transport.zap")


class ZapHandler:
    """Answers from the constructor on; the user id of a connection is its public key in Z85. The
    text of a refusal stays here: the refused side learns only that it was. `died` hears what ended
    the thread, unless it was `close`. Raises zmq.ZMQError if the context has a handler."""

    def __init__(self, context: Context, allow: Allow, died: Died) -> None:
        self._allow = allow
        self._refusals = Refusals()
        self._router = context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 0)
        # Unlimited: a question that is lost would hang its connection.
        self._router.setsockopt(zmq.RCVHWM, 0)
        self._router.setsockopt(zmq.SNDHWM, 0)
        try:
            self._router.bind(ZAP_ENDPOINT)
        except zmq.ZMQError:
            self._router.close(0)
            raise
        self._thread = SocketThread(
            context, self._router, "keys", self._serve, died, finish=self._leave
        )
        self._thread.start()

    def counters(self) -> Counts:
        """{domain: {reason: refused connections}}; a copy, any thread may ask."""
        return self._refusals.as_dict()

    def close(self) -> None:
        """Stops the thread. Nobody new is let in from here on; who is connected stays. Another
        handler may be started on the same context at once. Safe to call twice."""
        self._thread.close()

    def _leave(self) -> None:
        # Closing alone frees the name late, and a new handler could not take it.
        self._router.unbind(ZAP_ENDPOINT)

    def _serve(self) -> None:
        for _ in range(limits.ZAP_QUESTIONS_PER_TURN):
            try:
                question = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            answer = self._answer_or_none(question)
            if answer is None:
                self._refusals.count("", MALFORMED)
                continue
            try:
                self._router.send_multipart(answer, zmq.NOBLOCK)
            except zmq.Again:  # cannot be: the queue has no limit
                self._refusals.count("", "unanswered")

    def _answer_or_none(self, question: Sequence[bytes]) -> list[bytes] | None:
        """None: there is nothing in it that could be answered."""
        if len(question) < 4 or question[1] != b"":
            return None
        head = [*question[:2], VERSION, question[3]]
        if len(question) < _QUESTION_FRAMES or question[2] != VERSION:
            return [*head, _FAILED, b"malformed question", b"", b""]
        domain, address = (frame.decode("utf-8", "replace") for frame in question[4:6])
        mechanism, credentials = question[7], question[8:]
        if mechanism != b"CURVE":
            self._refusals.note(domain, address, NOT_CURVE)
            return [*head, _REFUSED, NOT_CURVE.encode(), b"", b""]
        if len(credentials) != 1 or len(credentials[0]) != KEY_BYTES:
            return [*head, _FAILED, b"malformed key", b"", b""]
        key = z85.encode(credentials[0])
        reason = self._why_not(domain, key.decode("ascii"), address)
        if reason:
            text = reason.encode("utf-8", "replace")[:_TEXT_BYTES_MAX]
            return [*head, _REFUSED, text, b"", b""]
        return [*head, _ALLOWED, b"", key, b""]

    def _why_not(self, domain: str, key: str, address: str) -> str:
        try:
            reason = self._allow(domain, key)
        except Exception:  # a broken check lets nobody in, and must be seen, but ends nothing
            _log.exception("the check of a key for the %s socket failed", domain)
            reason = BROKEN
        if reason:
            self._refusals.note(domain, f"key {key}", reason, address)
        return reason
