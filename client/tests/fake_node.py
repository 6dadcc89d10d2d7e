"""A small real node for the client's tests: a ROUTER in a thread, speaking the wire, with a script.

Each request takes the next act of the node's script; without one, the leader serves and the others
redirect. Opening and closing sessions takes no act. Watches are recorded and answered with WATCHED;
what else they get the test sends itself (watch_talk.py). What is stored is its cluster's.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgpack
import zmq

from metastore.transport import envelope, schema, watch_frames
from metastore.transport.envelope import ErrorCode, ReadLevel

if TYPE_CHECKING:
    from fake_cluster import FakeCluster

WAIT_S = 10.0  # for something that must happen; never waited out in a passing test


class FakeNode:
    """Acts: "serve", "ignore", "hold" (until release), "hang_up", "serve_and_hang_up", "garbage",
    or an error code."""

    def __init__(self, cluster: FakeCluster, node_id: int) -> None:
        self.cluster = cluster
        self.node_id = node_id
        self.script: deque[str] = deque()
        self.default_act = ""
        self.requests: list[tuple[int, Any]] = []  # (read level, operations without header)
        self.headers: list[Any] = []  # SESSION headers, of the requests that have one
        self.watch_frames: list[Any] = []  # every frame about watches, in order
        self.watchers: dict[int, bytes] = {}  # request id of a WATCH -> who sent it
        self.answers_watches = True
        self.answers_greetings = True
        self.frames_of_messages: list[int] = []
        self.hellos_count = 0
        self.held: list[tuple[bytes, envelope.Request]] = []
        self.changed = threading.Condition()
        self._router = cluster.open(zmq.ROUTER, node_id)
        self._router.linger = 200
        self.client_address = (
            f"tcp://127.0.0.1:{self._router.bind_to_random_port('tcp://127.0.0.1')}"
        )
        self._status = cluster.open(zmq.REP, node_id)
        self._status.linger = 0
        self.status_address = (
            f"tcp://127.0.0.1:{self._status.bind_to_random_port('tcp://127.0.0.1')}"
        )
        self._orders = cluster.context.socket(zmq.PULL)
        self._orders.bind(f"inproc://orders-{id(self)}")
        self._give_order = cluster.context.socket(zmq.PUSH)
        self._give_order.connect(f"inproc://orders-{id(self)}")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Serves everything held."""
        self._give_order.send(b"release")

    def tell(self, frame: bytes) -> None:
        """Sends a frame to whoever watches: the last one who made a watch."""
        self._give_order.send_multipart([b"tell", frame])

    def break_connections(self) -> None:
        self._give_order.send(b"hang_up")

    def stop(self) -> None:
        if self._thread.is_alive():
            self._give_order.send(b"stop")
            self._thread.join(WAIT_S)
            self._give_order.close(0)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_S), "it did not happen"

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._status, self._orders):
            poller.register(socket, zmq.POLLIN)
        poller.register(self._router, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._orders in ready:
                order, *frames = self._orders.recv_multipart()
                if order == b"stop":
                    break
                if order == b"tell":
                    self._send(list(self.watchers.values())[-1], frames[0])
                elif order == b"hang_up":
                    poller.unregister(self._router)
                    self._hang_up()
                    poller.register(self._router, zmq.POLLIN)
                else:
                    for identity, request in self.held:
                        self._serve(identity, request)
                    self.held.clear()
                continue
            if self._status in ready:
                self._status.recv()
                self._status.send(msgpack.packb(self._status_answer()))
            if self._router in ready:
                identity, *frames = self._router.recv_multipart()
                with self.changed:
                    if self._take(identity, frames):
                        poller.unregister(self._router)
                        self._hang_up()
                        poller.register(self._router, zmq.POLLIN)
                    self.changed.notify_all()
        for socket in (self._router, self._status, self._orders):
            socket.close()

    def _status_answer(self) -> dict[str, Any]:
        leads = self.node_id == self.cluster.leader_id
        return {
            "node_id": self.node_id,
            "term": 7,
            "leader_id": self.cluster.leader_id,
            "state": "leader" if leads else "follower",
            "applied": 12,
            "commit": 12,
            "members": [member._asdict() for member in self.cluster.members()],
        }

    def _take(self, identity: bytes, frames: list[bytes]) -> bool:
        """True: the connections are to be broken now."""
        self.frames_of_messages.append(len(frames))
        hangs_up = False
        for data in frames:
            frame = envelope.decode_client_frame(data)
            if isinstance(frame, envelope.Hello):
                self._greet(identity, frame)
            elif isinstance(frame, envelope.Request):
                hangs_up |= self._act(identity, frame)
            else:
                self._on_watch_frame(identity, frame)
        return hangs_up

    def _on_watch_frame(self, identity: bytes, frame: Any) -> None:
        self.watch_frames.append(frame)
        if isinstance(frame, watch_frames.Watch):
            self.watchers[frame.request_id] = identity
            if self.answers_watches:
                revision = self.cluster.revision
                self._send(identity, watch_frames.encode_watched(frame.request_id, revision))

    def _greet(self, identity: bytes, hello: envelope.Hello) -> None:
        self.hellos_count += 1
        if not self.answers_greetings:
            return
        code = self.cluster.greeting_error
        if code:
            self._send(identity, envelope.encode_error(hello.request_id, code, "no entry"))
            return
        self._send(
            identity,
            envelope.encode_welcome(
                hello.request_id,
                self.cluster.cluster_id,
                self.node_id,
                self.cluster.leader_id,
                self.cluster.shown(),
            ),
        )

    def _act(self, identity: bytes, request: envelope.Request) -> bool:
        operations = self.cluster.decode(request.request)
        if operations[0][0] in (schema.Op.SESSION_OPEN, schema.Op.SESSION_CLOSE):
            is_leading = self.node_id == self.cluster.leader_id
            if is_leading:
                self._serve(identity, request)
            else:
                self._refuse(identity, request, ErrorCode.NOT_LEADER)
            return False
        if operations[0][0] == schema.Op.SESSION:
            self.headers.append(operations[0])
            operations = operations[1:]
        self.requests.append((request.read_level, operations))
        act = self.script.popleft() if self.script else self.default_act
        is_local = request.read_level == ReadLevel.LOCAL
        if not act:
            leads = is_local or self.node_id == self.cluster.leader_id
            act = "serve" if leads else ErrorCode.NOT_LEADER
        if act == "hold":
            self.held.append((identity, request))
        elif act == "garbage":
            self._send(identity, b"\xc1")
        elif act in ("serve", "serve_and_hang_up"):
            if act == "serve":
                self._serve(identity, request)
            else:
                self.cluster.apply(request.request)
        elif act not in ("ignore", "hang_up"):
            self._refuse(identity, request, act)
        return act in ("hang_up", "serve_and_hang_up")

    def _serve(self, identity: bytes, request: envelope.Request) -> None:
        results = self.cluster.apply(request.request)
        self._send(identity, envelope.encode_results_frame(request.request_id, results))

    def _refuse(self, identity: bytes, request: envelope.Request, code: str) -> None:
        leader_id = self.cluster.leader_id
        self._send(
            identity, envelope.encode_error(request.request_id, code, "so it says", leader_id)
        )

    def _send(self, identity: bytes, frame: bytes) -> None:
        self._router.send_multipart([identity, frame])

    def _hang_up(self) -> None:
        """Breaks every connection and listens again at the same address."""
        self._router.close(0)
        self._router = self.cluster.open(zmq.ROUTER, self.node_id)
        self._router.linger = 200
        while True:
            try:
                self._router.bind(self.client_address)
                return
            except zmq.ZMQError:  # the closed socket lets go of the port a moment later
                continue
