"""The load generator for MetaStore: many client connections in one thread, as h2load is for etcd.

Each connection is a DEALER of its own and keeps `in_flight` requests unanswered. What one
connection has to send at a time travels in one message, each request on its own with its own reply.
Writes carry no session: the load is measured as etcd's is, without exactly-once.
"""

import time
from collections.abc import Callable, Sequence

import zmq

from metastore.transport import envelope, schema

VALUE = b"v" * 128
KEYS = 10_000
BATCH = 100  # puts of one request
RANGE = 1_000  # keys of one range

Context = zmq.Context["zmq.Socket[bytes]"]


def key_of(number: int) -> bytes:
    return b"bench/key-%06d" % (number % KEYS)


def _put(number: int) -> bytes:
    return schema.encode_request((schema.put(key_of(number), VALUE),))


def _batch(number: int) -> bytes:
    return schema.encode_request([schema.put(key_of(number + n), VALUE) for n in range(BATCH)])


def _get(number: int) -> bytes:
    return schema.encode_request((schema.range_(key_of(number)),))


def _range(number: int) -> bytes:
    return schema.encode_request((schema.range_(key_of(0), b"bench/l", limit=RANGE),))


REQUESTS: dict[str, Callable[[int], bytes]] = {
    "put": _put,
    "batch": _batch,
    "get": _get,
    "range": _range,
}


class Connection:
    """One client: sends `in_flight` requests, and a new one for every reply."""

    def __init__(self, context: Context, endpoint: str, kind: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)
        self._request = REQUESTS[kind]
        self._next = id(self) % KEYS

    def send(self, count: int) -> None:
        frames = []
        for _ in range(count):
            self._next = (self._next + 7919) % KEYS
            request = self._request(self._next)
            frames.append(envelope.encode_request_frame(self._next, 0, request))
        self.socket.send_multipart(frames)

    def receive(self) -> int:
        """Replies that have arrived; a refusal ends the measurement."""
        replies = self.socket.recv_multipart()
        for reply in replies:
            frame = envelope.decode_node_frame(reply)
            if isinstance(frame, envelope.Error):
                raise RuntimeError(f"the node refused: {frame.code}: {frame.message}")
        return len(replies)


def run(endpoints: Sequence[str], kind: str, clients: int, in_flight: int, seconds: float) -> float:
    """Requests per second against the leader."""
    leader = wait_for_leader(endpoints, 10)
    context: Context = zmq.Context()
    connections = {}
    poller = zmq.Poller()
    try:
        for _ in range(clients):
            connection = Connection(context, leader, kind)
            connections[connection.socket] = connection
            poller.register(connection.socket, zmq.POLLIN)
        started = time.monotonic()
        for connection in connections.values():
            connection.send(in_flight)
        done = 0
        while (now := time.monotonic()) - started < seconds:
            ready = poller.poll(10_000)
            if not ready:
                raise RuntimeError("no reply for 10 seconds")
            for socket, _ in ready:
                connection = connections[socket]
                count = connection.receive()
                done += count
                connection.send(count)
        return done / (now - started)
    finally:
        for socket in connections:
            socket.close(0)
        context.term()


def fill(endpoints: Sequence[str], count: int, key: Callable[[int], bytes] = key_of) -> None:
    """Writes `count` keys in order, in requests of BATCH puts, a few under way."""
    leader = wait_for_leader(endpoints, 10)
    context: Context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    try:
        socket.linger = 0
        socket.connect(leader)
        sent = answered = 0
        requests = -(-count // BATCH)
        while answered < requests:
            while sent < requests and sent - answered < 32:
                numbers = range(sent * BATCH, min(count, (sent + 1) * BATCH))
                request = schema.encode_request([schema.put(key(n), VALUE) for n in numbers])
                socket.send(envelope.encode_request_frame(sent, 0, request))
                sent += 1
            for reply in socket.recv_multipart():
                frame = envelope.decode_node_frame(reply)
                if not isinstance(frame, envelope.Results):
                    raise RuntimeError(f"the node refused: {frame}")
                answered += 1
    finally:
        socket.close(0)
        context.term()


def wait_for_leader(endpoints: Sequence[str], timeout_s: float) -> str:
    """The client endpoint of the node that leads."""
    deadline = time.monotonic() + timeout_s
    context: Context = zmq.Context()
    try:
        while time.monotonic() < deadline:
            for endpoint in endpoints:
                welcome = _hello(context, endpoint)
                if welcome is not None and welcome.leader_id:
                    return next(m.client for m in welcome.members if m.node_id == welcome.leader_id)
            time.sleep(0.1)
    finally:
        context.term()
    raise RuntimeError("MetaStore found no leader in time; see the logs of its nodes")


def _hello(context: Context, endpoint: str) -> envelope.Welcome | None:
    socket = context.socket(zmq.DEALER)
    try:
        socket.linger = 0
        socket.connect(endpoint)
        socket.send(envelope.encode_hello(1))
        if not socket.poll(1000):
            return None
        frame = envelope.decode_node_frame(socket.recv())
        return frame if isinstance(frame, envelope.Welcome) else None
    finally:
        socket.close(0)
