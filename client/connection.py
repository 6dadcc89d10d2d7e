"""One connection to one node: a DEALER, what waits to leave on it, and what waits for its answers.

Reading order 7 of the client. Lives as long as its TCP connection and is never mended: a broken
one is dropped and a new one made, so that what was under way on it is known to be cut off. Not
thread-safe: the driver calls it under its lock.
"""

import time
from collections import deque
from collections.abc import Iterator

import zmq
from zmq.utils.monitor import recv_monitor_message

from metastore.client.calls import Call
from metastore.client.security import HANDSHAKE_FAILURES, is_of_server_key, why_failed
from metastore.client.streams import Stream
from metastore.transport import envelope
from metastore.transport.security import CurveClient
from metastore.transport.sockets import set_curve_client

CONNECT_S_MAX = 2.0  # until the node must have answered our greeting
SILENCE_S_MAX = 1.0  # with answers owed; a node that says nothing for so long is greeted
DOUBT_S_MAX = 0.5  # for a greeting to be answered: a node at work does so in its next turn
FRAMES_MAX = 512  # of one multipart message
FRAMES_BYTES_MAX = 1 << 20  # of one multipart message, unless a single frame is larger
RECEIVE_MESSAGES_MAX = 256  # of one turn
FAREWELL_MS_MAX = 200  # for what leaves last to leave, while the process goes on or ends
NO_ANSWER = 0  # in place of the request id of a frame that is not answered

ENDINGS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | HANDSHAKE_FAILURES


class Connection:
    """`is_ready` once the node has greeted us; `is_broken` for ever once the TCP connection
    ended."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str,
        curve: CurveClient | None = None,
    ) -> None:
        """Raises zmq.ZMQError for an endpoint that is not an address. `curve`: encrypts."""
        self.endpoint = endpoint
        self.curve = curve
        self.refusal = ""  # why the node does not let us in, if that is why it is broken
        self.is_other_key = False  # it is, and another server key may do
        self.is_ready = False
        self.is_broken = False
        self.is_closed = False
        self.is_blocked = False  # the socket took no more; wait for POLLOUT
        self.waiting: dict[int, Call] = {}
        self.streams: dict[int, Stream] = {}  # by the request id of the WATCH
        self.greeting_ids: set[int] = set()  # request ids of greetings without an answer yet
        self.made_at = time.monotonic()
        self.heard_at = self.made_at
        self._unanswered_since = 0.0  # the first sending after heard_at
        self._greeted_at = 0.0  # the first greeting after heard_at, should there be one
        self._outbox: deque[tuple[int, bytes]] = deque()
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        # No reconnecting behind our back: requests lost with a connection must be seen to be lost.
        self.socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self.monitor = self.socket.get_monitor_socket(ENDINGS)
        try:
            if curve is not None:
                set_curve_client(self.socket, curve)
            self.socket.connect(endpoint)
        except zmq.ZMQError:
            self.close()
            raise

    def greet(self, request_id: int, cluster_id: int) -> None:
        """Asks who is there and who leads."""
        self.greeting_ids.add(request_id)
        if not self._is_greeted():
            # Now, not when it leaves: the socket to a node that is stopped may be full.
            self._greeted_at = time.monotonic()
        self._outbox.append((request_id, envelope.encode_hello(request_id, cluster_id)))

    def queue(self, request_id: int, call: Call) -> None:
        frame = envelope.encode_request_frame(request_id, int(call.level), call.request)
        self.waiting[request_id] = call
        self._outbox.append((request_id, frame))

    def queue_watch(self, request_id: int, stream: Stream, frame: bytes) -> None:
        self.streams[request_id] = stream
        self._outbox.append((request_id, frame))

    def queue_notice(self, frame: bytes) -> None:
        """A frame that no answer is owed for."""
        self._outbox.append((NO_ANSWER, frame))

    def send_queued(self) -> None:
        """Sends everything queued, many frames in one message, until the socket takes no more."""
        while self._outbox and not self.is_broken:
            batch = self._next_batch()
            if not batch:
                return
            now = time.monotonic()  # before: a lease counts from a time that is surely not later
            try:
                self.socket.send_multipart([frame for _, frame in batch], zmq.NOBLOCK, copy=True)
            except zmq.Again:
                self._outbox.extendleft(reversed(batch))
                self.is_blocked = True
                return
            self.is_blocked = False
            is_owed = any(request_id != NO_ANSWER for request_id, _ in batch)
            if is_owed and self._unanswered_since <= self.heard_at:
                self._unanswered_since = now
            for request_id, _ in batch:
                call = self.waiting.get(request_id)
                if call is not None:
                    call.is_sent = True
                    call.sent_at = now

    def _next_batch(self) -> list[tuple[int, bytes]]:
        batch: list[tuple[int, bytes]] = []
        size_bytes = 0
        while self._outbox and len(batch) < FRAMES_MAX:
            request_id, frame = self._outbox[0]
            size_bytes += len(frame)
            if batch and size_bytes > FRAMES_BYTES_MAX:
                break
            self._outbox.popleft()
            if request_id == NO_ANSWER or self._is_wanted(request_id):
                batch.append((request_id, frame))
        return batch

    def _is_wanted(self, request_id: int) -> bool:
        """A call that gave up before it left was reported as "did not happen": it must not leave.
        Nor need a watch that was closed."""
        return (
            request_id in self.waiting
            or request_id in self.greeting_ids
            or request_id in self.streams
        )

    def receive(self) -> Iterator[bytes]:
        """Every frame that has arrived, up to a budget."""
        for _ in range(RECEIVE_MESSAGES_MAX):
            if self.is_closed:
                return
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.heard_at = time.monotonic()
            yield from frames

    def check_broken(self) -> bool:
        """Reads the monitor. Whatever arrived before the end must be received after this call."""
        while not self.is_broken:
            try:
                event = recv_monitor_message(self.monitor, zmq.NOBLOCK)
            except zmq.Again:
                break
            # The first of them tells why; the end of the TCP connection follows in any case.
            self.is_broken = bool(event["event"] & ENDINGS)
            if event["event"] & HANDSHAKE_FAILURES:
                self.refusal = why_failed(event["event"], event["value"], self.curve)
                self.is_other_key = is_of_server_key(event["event"])
        return self.is_broken

    @property
    def ending(self) -> str:
        """Why it is broken."""
        return self.refusal or ("the connection broke" if self.is_ready else "connection refused")

    def is_doubtful(self, now: float) -> bool:
        """Whether the node owes an answer for so long that it should be greeted. It may be stopped,
        or have much to do for one answer (HASH): only the one that works answers a greeting."""
        return self._owes_for_long(now) and not self._is_greeted()

    def is_silent(self, now: float) -> bool:
        """Whether the node owes an answer for long and does not answer a greeting either: it may
        have been stopped. Giving up on the calls does not end the silence; only an answer does."""
        is_ignored = self._is_greeted() and now - self._greeted_at > DOUBT_S_MAX
        return is_ignored and self._owes_for_long(now)

    def _owes_for_long(self, now: float) -> bool:
        is_owing = bool(self.waiting) or self._unanswered_since > self.heard_at
        return is_owing and now - max(self.heard_at, self._unanswered_since) > SILENCE_S_MAX

    def _is_greeted(self) -> bool:
        """Whether a greeting is under way that nothing was heard after."""
        return self._greeted_at > self.heard_at

    def is_overdue(self, now: float) -> bool:
        return not self.is_ready and now - self.made_at > CONNECT_S_MAX

    def close(self, linger_ms: int = 0) -> None:
        """linger_ms: how long what has left here may take to leave the process. Closing twice is
        fine."""
        if self.is_closed:
            return
        self.is_broken = self.is_closed = True
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(linger_ms)
