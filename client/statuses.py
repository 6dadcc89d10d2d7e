"""Asking nodes for their status: a REQ socket each, all at once.

Reading order 14 of the client. A status socket answers even when its node can serve nothing else,
so this goes beside the driver. Any REQ socket does; ours also gives up in time.
"""

import time
from collections.abc import Iterable
from typing import Any

import msgpack
import zmq

STATUS_QUESTION = msgpack.packb({"method": "status"})


def ask_statuses(
    context: "zmq.Context[zmq.Socket[bytes]]", addresses: Iterable[str], timeout_s: float
) -> dict[str, dict[str, Any]]:
    """The answers by address; {"error": …} where none came within `timeout_s` seconds in all."""
    answers: dict[str, dict[str, Any]] = {}
    asked: dict[Any, str] = {}
    poller = zmq.Poller()
    deadline = time.monotonic() + timeout_s
    try:
        for address in dict.fromkeys(addresses):
            socket = context.socket(zmq.REQ)
            socket.linger = 0
            asked[socket] = address
            try:
                socket.connect(address)
            except zmq.ZMQError as error:
                answers[address] = _error("bad_address", str(error))
                continue
            socket.send(STATUS_QUESTION)
            poller.register(socket, zmq.POLLIN)
        while len(answers) < len(asked) and (remaining_s := deadline - time.monotonic()) > 0:
            for socket, _ in poller.poll(int(remaining_s * 1000) + 1):
                answers[asked[socket]] = _decode(socket.recv())
                poller.unregister(socket)
    finally:
        for socket in asked:
            socket.close(0)
    for address in asked.values():
        answers.setdefault(address, _error("no_answer", f"no answer within {timeout_s:g} s"))
    return answers


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
