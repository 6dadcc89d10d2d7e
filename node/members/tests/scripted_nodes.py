"""Nodes that answer a registration by a script, over real sockets, and a registrar to ask them."""

import socket as sockets
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import zmq

from metastore.node.members.records import MemberRecord
from metastore.node.members.registration import Registrar
from metastore.transport import envelope, schema
from metastore.transport.envelope import Hello, Request
from metastore.transport.member_ops import MemberInfo, decode_member_request
from metastore.transport.security import CurveServer
from metastore.transport.socket_thread import SocketThread
from metastore.transport.sockets import open_router
from metastore.transport.zap import ZapHandler

CLUSTER = 7
OWN = MemberRecord(4, "learner", "tcp://d:1", "tcp://d:2", "tcp://d:3", "tcp://d:4", 99)
INFO = MemberInfo(4, "learner", "member", "tcp://d:1", "tcp://d:2", "tcp://d:3", "tcp://d:4", 99, 0)
REPORT_S = 20.0  # for a report that must come; a report that is missing fails the test then

Answer = Callable[[int], bytes]
"""From a request id to the frame."""


def accepted(leader_id: int = 1) -> Answer:
    result = (0, leader_id, CLUSTER, 3, (tuple(INFO),))
    return lambda id: envelope.encode_results_frame(id, schema.encode_results((result,)))


def refused(code: int, message: str) -> Answer:
    return lambda id: envelope.encode_results_frame(id, schema.encode_results(((code, message),)))


def failed(code: str, message: str = "", leader_id: int = 0) -> Answer:
    return lambda id: envelope.encode_error(id, code, message, leader_id)


class ScriptedNode:
    """Answers each JOIN with the next of `answers`, the last one for ever."""

    def __init__(self, node_id: int, bind: str = "tcp://127.0.0.1:*", *, keys: Any = None) -> None:
        self.node_id, self.cluster_id, self.leader_id = node_id, CLUSTER, node_id
        self.shown: list[tuple[int, str, str]] = []
        self.answers: list[Answer] = [accepted()]
        self.greeting: Answer = self.welcome
        self.before_answer: Callable[[], None] = lambda: None
        self.hellos, self.joins = 0, list[Any]()
        self._context: zmq.Context[Any] = zmq.Context()
        self._zap = keys and ZapHandler(self._context, lambda *_: "", self._died)
        self._socket, self.address = open_router(
            self._context,
            bind,
            frame_bytes_max=1 << 20,
            send_max=100,
            receive_max=100,
            curve=keys and CurveServer(keys, "client"),
        )
        self._thread = SocketThread(
            self._context, self._socket, f"node-{node_id}", self._serve, self._died
        )
        self._thread.start()

    def welcome(self, request_id: int) -> bytes:
        return envelope.encode_welcome(
            request_id, self.cluster_id, self.node_id, self.leader_id, self.shown
        )

    def _died(self, error: BaseException) -> None:
        raise error

    def _serve(self) -> None:
        while True:
            try:
                identity, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            for data in frames:
                answer = self._answer(data)
                with suppress(zmq.ZMQError):  # whoever asked has gone
                    self._socket.send_multipart([identity, answer])

    def _answer(self, data: bytes) -> bytes:
        frame = envelope.decode_client_frame(data)
        if isinstance(frame, Hello):
            self.hellos += 1
            return self.greeting(frame.request_id)
        assert isinstance(frame, Request)
        self.joins.append(decode_member_request(frame.request))
        self.before_answer()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(frame.request_id)

    def close(self) -> None:
        self._thread.close()
        if self._zap:
            self._zap.close()
        self._context.term()


class Recorder:
    """In place of the logger."""

    def __init__(self) -> None:
        self.reasons: SimpleQueue[str] = SimpleQueue()
        self.on_reason: Callable[[], None] = lambda: None

    def warning(self, event: str, *, reason: str, advice: str = "") -> None:
        assert event == "waiting to register with the cluster"
        self.on_reason()
        self.reasons.put(reason)


class Asking:
    """A registrar and what it reported."""

    def __init__(self, addresses: Sequence[str], curves: Any = None) -> None:
        self.addresses = list(addresses)
        self.reports: SimpleQueue[Any] = SimpleQueue()
        self.deaths: SimpleQueue[BaseException] = SimpleQueue()
        self.context: zmq.Context[Any] = zmq.Context()
        self.registrar = Registrar(
            self.context,
            CLUSTER,
            OWN,
            lambda: self.addresses,
            self.reports.put,
            self.deaths.put,
            curves=curves,
        )

    def answer(self) -> Any:
        self.registrar.ask()
        return self.reports.get(timeout=REPORT_S)

    def close(self) -> None:
        self.registrar.close()
        self.context.term()  # returns only if no socket was left open


def free_address() -> str:
    with sockets.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"
