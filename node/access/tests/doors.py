"""What the tests of the gate share: a gate, the loop's side of it, and an access file."""

from collections.abc import Sequence
from typing import Any

from metastore.node import logs
from metastore.node.access import gate as gates
from metastore.node.access.file import AccessFile
from metastore.node.access.gate import Gate, GateLimits
from metastore.transport import schema
from metastore.transport.envelope import ClientFrame, Error, Request, decode_node_frame
from metastore.transport.framing import ErrorCode

NODE, WEB, NEW_WEB, JOB, OPS, STRANGER = (letter * 40 for letter in "abcdef")
A, B, C = b"A", b"B", b"C"
TICK_MS = 1_000
IDLE_TICKS = gates.IDLE_MS_MAX // TICK_MS
GET = Request(5, 0, schema.encode_request([schema.range_(b"app/k")]))
PUT = Request(6, 0, schema.encode_request([schema.put(b"app/k", b"")]))
FULL = (
    ErrorCode.UNAVAILABLE,
    "this node serves 2 connections at most (setting connections_max)",
)
BUSY = (
    ErrorCode.UNAVAILABLE,
    "3 requests of this connection wait for their answers; wait for some of them",
)
TEXT = f"""
[nodes]
keys = ["{NODE}"]
[clients.web]
keys = ["{WEB}"]
role = "read"
prefixes = ["app/"]
[clients.job]
keys = ["{JOB}"]
role = "write"
[clients.ops]
keys = ["{OPS}"]
role = "admin"
"""


class Door:
    """A gate, and what is behind it."""

    def __init__(self, access: AccessFile | None = None, connections_max: int = 2) -> None:
        self.answers: list[tuple[bytes, Error]] = []
        self.watching: set[bytes] = set()
        self.keys: dict[int, Sequence[bytes]] = {}
        self.gate = Gate(
            access,
            lambda lease: self.keys.get(lease, ()),
            GateLimits(connections_max=connections_max, requests_in_flight_max=3, tick_ms=TICK_MS),
            answer=self._answer,
            has_watches=self.watching.__contains__,
            logger=logs.get_logger(),
        )

    def _answer(self, identity: bytes, frame: bytes) -> None:
        decoded = decode_node_frame(frame)
        assert isinstance(decoded, Error)
        self.answers.append((identity, decoded))
        self.gate.ended(identity)

    def comes(self, identity: bytes, frame: ClientFrame = GET, user: str = "") -> Any:
        """The refusal, or None; its answer has left then."""
        refusal = self.gate.refusal(identity, user, frame)
        if refusal is not None:
            self.gate.ended(identity)
        return refusal

    def is_done(self, identity: bytes, frame: ClientFrame = GET, user: str = "") -> bool:
        """Comes, and is answered at once if it may pass."""
        refusal = self.comes(identity, frame, user)
        if refusal is None:
            self.gate.ended(identity)
        return refusal is None

    def ticks(self, count: int) -> None:
        for _ in range(count):
            self.gate.tick()

    @property
    def connections(self) -> int:
        return int(self.gate.counters()["connections"])

    @property
    def refused(self) -> dict[str, dict[str, int]]:
        refused: dict[str, dict[str, int]] = self.gate.counters()["refused"]
        return refused
