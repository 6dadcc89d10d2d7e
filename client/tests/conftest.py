"""A small real node for the client's tests: a ROUTER in a thread, speaking the wire, with a script.

What it stores is a plain dictionary shared by the nodes of one fake cluster, with its sessions.
Each request takes the next act of the node's script; without one, the leader serves and the others
redirect. Opening and closing sessions takes no act. Watches are recorded and answered with WATCHED;
what else they get the test sends itself. This folder goes on sys.path, for `line_store`.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from metastore.transport import envelope, schema, watch_frames
from metastore.transport.envelope import ErrorCode, ReadLevel

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)

WAIT_S = 10.0  # for something that must happen; never waited out in a passing test


class FakeNode:
    """Acts: "serve", "ignore", "hold" (until release), "hang_up", "serve_and_hang_up", "garbage",
    or an error code."""

    def __init__(self, cluster: "FakeCluster", node_id: int) -> None:
        self.cluster = cluster
        self.node_id = node_id
        self.script: deque[str] = deque()
        self.default_act = ""
        self.requests: list[tuple[int, Any]] = []  # (read level, operations without header)
        self.headers: list[Any] = []  # SESSION headers, of the requests that have one
        self.watch_frames: list[Any] = []  # every frame about watches, in order
        self.watchers: dict[int, bytes] = {}  # request id of a WATCH -> who sent it
        self.answers_watches = True
        self.frames_of_messages: list[int] = []
        self.hellos_count = 0
        self.held: list[tuple[bytes, envelope.Request]] = []
        self.changed = threading.Condition()
        self._router = cluster.context.socket(zmq.ROUTER)
        self._router.linger = 200
        self.client_address = (
            f"tcp://127.0.0.1:{self._router.bind_to_random_port('tcp://127.0.0.1')}"
        )
        self._status = cluster.context.socket(zmq.REP)
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
        code = self.cluster.greeting_error
        if code:
            self._send(identity, envelope.encode_error(hello.request_id, code, "no entry"))
            return
        members = [
            (node.node_id, node.client_address, node.status_address) for node in self.cluster.nodes
        ]
        self._send(
            identity,
            envelope.encode_welcome(
                hello.request_id,
                self.cluster.cluster_id,
                self.node_id,
                self.cluster.leader_id,
                members,
            ),
        )

    def _act(self, identity: bytes, request: envelope.Request) -> bool:
        operations = schema.decode_request(request.request)
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
        self._router = self.cluster.context.socket(zmq.ROUTER)
        self._router.linger = 200
        while True:
            try:
                self._router.bind(self.client_address)
                return
            except zmq.ZMQError:  # the closed socket lets go of the port a moment later
                continue


class FakeCluster:
    """Nodes that share one dictionary and always agree."""

    def __init__(self, nodes_count: int, leader_id: int) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.cluster_id = 77
        self.leader_id = leader_id
        self.greeting_error = ""
        self.revision = 1
        self.data: dict[bytes, tuple[Any, ...]] = {}
        self.sessions: dict[int, dict[int, bytes]] = {}  # session -> kept replies
        self.session_changes: list[Any] = []  # SESSION_OPEN and SESSION_CLOSE, in order
        self.answers: dict[int, Any] = {}  # operation code -> result; for what is not played here
        self.applied: list[Any] = []  # every operation that changed something, in order
        self.lock = threading.Lock()
        self.nodes: list[FakeNode] = []
        for node_id in range(1, nodes_count + 1):
            self.nodes.append(FakeNode(self, node_id))

    def __getitem__(self, node_id: int) -> FakeNode:
        return self.nodes[node_id - 1]

    @property
    def leader(self) -> FakeNode:
        return self[self.leader_id]

    def apply(self, request: bytes) -> bytes:
        with self.lock:
            operations = schema.decode_request(request)
            if operations[0][0] != schema.Op.SESSION:
                return schema.encode_results([self._apply(operation) for operation in operations])
            _, session, sequence, _ = operations[0]
            kept = self.sessions.get(session)
            if kept is None:
                refusal = (int(schema.Code.FAILED_PRECONDITION), schema.SESSION_NOT_FOUND)
                return schema.encode_results([refusal])
            if sequence not in kept:
                results = [self._apply(operation) for operation in operations[1:]]
                kept[sequence] = schema.encode_results(results)
            return kept[sequence]

    def _apply(self, operation: Any) -> Any:
        code = operation[0]
        if code in self.answers:
            answer = self.answers[code]
            return answer(operation) if callable(answer) else answer
        if code == schema.Op.SESSION_OPEN:
            self.session_changes.append(operation)
            self.sessions.setdefault(operation[1], {})
            return [0, self.revision]
        if code == schema.Op.SESSION_CLOSE:
            self.session_changes.append(operation)
            self.sessions.pop(operation[1], None)
            return [0, self.revision]
        return self._apply_to_keys(operation)

    def _apply_to_keys(self, operation: Any) -> Any:
        code, key = operation[0], operation[1]
        if not key:
            return [schema.Code.INVALID_ARGUMENT, schema.KEY_NOT_PROVIDED]
        if code == schema.Op.PUT:
            self.applied.append(operation)
            self.revision += 1
            old = self.data.get(key)
            created, version = (old[2], old[4] + 1) if old else (self.revision, 1)
            self.data[key] = (key, operation[2], created, self.revision, version, operation[3])
            return [0, self.revision, old if operation[4] & schema.Flag.PREV_KV else None]
        found = sorted(k for k in self.data if _is_within(k, key, operation[2]))
        if code == schema.Op.DELETE_RANGE:
            self.applied.append(operation)
            self.revision += bool(found)
            gone = [self.data.pop(k) for k in found]
            return [0, self.revision, len(gone), gone if operation[3] else []]
        limit, revision, flags = operation[3], operation[4], operation[5]
        if 0 < revision < self.revision:
            return [schema.Code.OUT_OF_RANGE, schema.COMPACTED]
        taken = found[:limit] if limit else found
        records = [self.data[k] for k in taken]
        if flags & schema.Flag.KEYS_ONLY:
            records = [(r[0], b"", *r[2:]) for r in records]
        return [0, self.revision, records, len(taken) < len(found), len(found)]

    def close(self) -> None:
        for node in self.nodes:
            node.stop()
        self.context.destroy(linger=0)


def _is_within(key: bytes, start: bytes, end: bytes) -> bool:
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


@pytest.fixture
def make_cluster() -> Iterator[Callable[..., FakeCluster]]:
    made: list[FakeCluster] = []

    def make(nodes_count: int = 1, leader_id: int = 1) -> FakeCluster:
        made.append(FakeCluster(nodes_count, leader_id))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(make_cluster: Callable[..., FakeCluster]) -> FakeCluster:
    """One node, which leads."""
    return make_cluster()


@pytest.fixture
def unused_address() -> str:
    """Where nobody listens."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    socket.close(0)
    context.term()
    return f"tcp://127.0.0.1:{port}"
