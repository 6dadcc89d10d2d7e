"""One short talk with one node, as a client has it: a greeting, then a request, each answered.

Below registration.py, whose thread it runs on. Waits only through the function it is given, which
knows when the node stops; what answers may be anybody, so nothing it says is taken on trust.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import zmq

from metastore.transport import envelope
from metastore.transport.envelope import Error, ReadLevel, Results, Welcome
from metastore.transport.errors import Malformed
from metastore.transport.security import CurveClient
from metastore.transport.sockets import Context, Socket, open_dealer

FRAME_BYTES_MAX = 1 << 20  # the whole list of members is far smaller
QUEUE_MAX = 16

Wait: TypeAlias = Callable[[Socket, int, float], bool]
"""(socket, zmq.POLLIN or POLLOUT, seconds): whether the socket is ready for it by then."""

_request_ids = itertools.count(1)


class Conversation:
    """Owns its connection, from the first call to `close`; of one thread. Raises BadAddress."""

    def __init__(
        self, context: Context, address: str, curve: CurveClient | None, wait: Wait
    ) -> None:
        self._wait = wait
        self._socket = open_dealer(
            context,
            address,
            routing_id=b"",
            frame_bytes_max=FRAME_BYTES_MAX,
            send_max=QUEUE_MAX,
            receive_max=QUEUE_MAX,
            curve=curve,
        )

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close(0)

    def greet(self, cluster_id: int, patience_s: float) -> Welcome | Error | None:
        """None: nobody answers, or something that is no answer to this."""
        request_id = next(_request_ids)
        answer = self._ask(request_id, envelope.encode_hello(request_id, cluster_id), patience_s)
        return answer if isinstance(answer, Welcome | Error) else None

    def request(self, request: bytes, patience_s: float) -> Results | Error | None:
        """None: no answer came, and what was asked for may have happened or not."""
        request_id = next(_request_ids)
        frame = envelope.encode_request_frame(request_id, ReadLevel.LINEARIZABLE, request)
        answer = self._ask(request_id, frame, patience_s)
        return answer if isinstance(answer, Results | Error) else None

    def _ask(self, request_id: int, frame: bytes, patience_s: float) -> envelope.NodeFrame | None:
        deadline = time.monotonic() + patience_s
        if not self._wait(self._socket, zmq.POLLOUT, patience_s):
            return None  # not connected
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return None  # it was, a moment ago
        while (left_s := deadline - time.monotonic()) > 0:
            if not self._wait(self._socket, zmq.POLLIN, left_s):
                return None
            for answer in _decoded(self._socket.recv_multipart(zmq.NOBLOCK)):
                if answer.request_id == request_id:
                    return answer
        return None


def _decoded(frames: Sequence[bytes]) -> list[envelope.NodeFrame]:
    found = []
    for frame in frames:
        try:
            found.append(envelope.decode_node_frame(frame))
        except Malformed:
            continue  # whoever says such things has not answered
    return found
