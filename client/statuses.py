"""Asking nodes for their status: a REQ socket each, all at once.

Reading order 14 of the client. A status socket answers even when its node can serve nothing else,
so this goes beside the driver. Any REQ socket does; ours also gives up in time, says why a node
does not let it in, and tries each key that the node may have.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgpack
import zmq
from zmq.utils.monitor import recv_monitor_message

from metastore.client.security import (
    HANDSHAKE_FAILURES,
    ClientSecurity,
    is_of_server_key,
    why_failed,
)
from metastore.transport.sockets import set_curve_client

NOT_LET_IN = "not_let_in"  # code of an error: the node is there, and refuses us
STATUS_QUESTION = msgpack.packb({"method": "status"})


def ask_statuses(
    context: "zmq.Context[zmq.Socket[bytes]]",
    addresses: Iterable[str],
    timeout_s: float,
    security: ClientSecurity | None = None,
) -> dict[str, dict[str, Any]]:
    """The answers by address; {"error": …} where none came within `timeout_s` seconds in all."""
    deadline = time.monotonic() + timeout_s
    questions = [_Question(context, address, security) for address in dict.fromkeys(addresses)]
    try:
        while unanswered := [question for question in questions if question.answer is None]:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                break
            poller = zmq.Poller()
            for question in unanswered:
                for socket in question.sockets:
                    poller.register(socket, zmq.POLLIN)
            poller.poll(int(remaining_s * 1000) + 1)
            for question in unanswered:
                question.proceed()
    finally:
        for question in questions:
            question.close()
    return {
        question.address: question.answer
        or _error("no_answer", f"no answer within {timeout_s:g} s{question.trouble}")
        for question in questions
    }


class _Question:
    """To one node, on one connection after the other: one for each key that it may have. It is
    asked from the constructor on, until there is an `answer`."""

    def __init__(
        self, context: "zmq.Context[Any]", address: str, security: ClientSecurity | None
    ) -> None:
        self.address = address
        self.answer: dict[str, Any] | None = None
        self.trouble = ""  # why there may never be one
        self.sockets: tuple[Any, ...] = ()  # what to wait for: the REQ and its monitor
        self._context = context
        self._security = security
        self._tries_left = 1 if security is None else security.server_keys_count
        self._ask()

    def proceed(self) -> None:
        """Takes in what has arrived, if anything has."""
        request, monitor = self.sockets
        try:
            self.answer = _decode(request.recv(zmq.NOBLOCK))
            if self._security is not None and self._curve is not None:
                self._security.on_worked(self.address, self._curve)
            return
        except zmq.Again:
            pass
        try:
            failure = recv_monitor_message(monitor, zmq.NOBLOCK)
        except zmq.Again:
            return
        self._on_failed(failure["event"], failure["value"])

    def close(self) -> None:
        if self.sockets:
            request, monitor = self.sockets
            self.sockets = ()
            request.disable_monitor()
            monitor.close(0)
            request.close(0)

    def _ask(self) -> None:
        self._curve = None if self._security is None else self._security.curve(self.address)
        request = self._context.socket(zmq.REQ)
        request.linger = 0
        self.sockets = (request, request.get_monitor_socket(HANDSHAKE_FAILURES))
        try:
            if self._curve is not None:
                set_curve_client(request, self._curve)
            request.connect(self.address)
        except zmq.ZMQError as error:
            self.answer = _error("bad_address", str(error))
            return
        with suppress(zmq.Again):  # refused that fast: the monitor says why
            request.send(STATUS_QUESTION, zmq.NOBLOCK)

    def _on_failed(self, event: int, value: int) -> None:
        self._tries_left -= 1
        why = why_failed(event, value, self._curve)
        if self._security is None or self._curve is None:
            self.trouble = f"; {why}"  # or it is just ending: the socket connects again by itself
            return
        if is_of_server_key(event):
            self._security.on_failed(self.address, self._curve)
            if self._tries_left:
                self.close()
                self._ask()
                return
        self.answer = _error(NOT_LET_IN, why)


def _decode(data: bytes) -> dict[str, Any]:
    try:
        answer = msgpack.unpackb(data, strict_map_key=False)
    except Exception as error:
        return _error("malformed", f"the answer is not msgpack: {type(error).__name__}")
    if not isinstance(answer, dict):
        return _error("malformed", "the answer is not a map")
    return answer


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}
