"""Watch fan-out: one writer, many watchers of one prefix, events delivered per second.

All watchers stand on one follower, each on its own connection, and are read by one thread; what
is counted are events that arrived, until every watcher has the last one.
"""

import time
from collections.abc import Sequence

import zmq
from benchmark import load

from metastore.transport import envelope, watch_frames

WATCHERS = 100
CREDIT = 64  # frames that the node may send before it hears from us


class Watcher:
    """One watch; counts what arrives and gives credit back."""

    def __init__(self, context: load.Context, endpoint: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)
        self.socket.send(watch_frames.encode_watch(1, b"bench/", b"bench0", 0, 0, CREDIT))
        self.events_count = 0
        self.revision = 0
        self._owed = 0

    def receive(self) -> None:
        for data in self.socket.recv_multipart():
            frame = envelope.decode_node_frame(data)
            self.revision = getattr(frame, "revision", self.revision)
            if isinstance(frame, watch_frames.Events):
                self.events_count += len(watch_frames.decode_event_list(frame.events))
                self._owed += 1
        if self._owed >= CREDIT // 2:
            self.socket.send(watch_frames.encode_credit(1, self._owed))
            self._owed = 0


def run(endpoints: Sequence[str], seconds: float) -> float:
    """Events per second over all watchers, while puts are written in batches as fast as it goes."""
    leader = load.wait_for_leader(endpoints, 10)
    follower = next(endpoint for endpoint in endpoints if endpoint != leader)
    context: load.Context = zmq.Context()
    watchers = [Watcher(context, follower) for _ in range(WATCHERS)]
    poller = zmq.Poller()
    by_socket = {watcher.socket: watcher for watcher in watchers}
    for watcher in watchers:
        poller.register(watcher.socket, zmq.POLLIN)
    writer = load.Connection(context, leader, "put")
    try:
        while not all(watcher.revision for watcher in watchers):
            _receive(poller, by_socket)
        poller.register(writer.socket, zmq.POLLIN)
        started = time.monotonic()
        writer.send(16)
        unanswered = 16
        while time.monotonic() - started < seconds:
            if writer.socket in _receive(poller, by_socket):
                count = writer.receive()
                writer.send(count)
        while unanswered:
            if writer.socket in _receive(poller, by_socket):
                unanswered -= writer.receive()
        last = max(watcher.revision for watcher in watchers)
        while any(watcher.revision < last for watcher in watchers):
            _receive(poller, by_socket)
        elapsed = time.monotonic() - started
        return sum(watcher.events_count for watcher in watchers) / elapsed
    finally:
        for socket in (*by_socket, writer.socket):
            socket.close(0)
        context.term()


def _receive(
    poller: zmq.Poller, by_socket: "dict[zmq.Socket[bytes], Watcher]"
) -> "set[zmq.Socket[bytes]]":
    ready = {socket for socket, _ in poller.poll(10_000)}
    if not ready:
        raise RuntimeError("neither events nor replies for 10 seconds")
    for socket in ready & by_socket.keys():
        by_socket[socket].receive()
    return ready
