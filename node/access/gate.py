"""The gate: whether a client's frame gets to the parts that carry it out, or an error goes back.

On top of node/access; on the loop, for every frame, so what everybody does is kept cheap. It counts
the connections that are in use and what each of them waits for, by what the loop tells it: every
frame that comes, and every answer that leaves. It counts and logs whom it refuses, and why; what
it remembers is bounded, whoever comes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

from metastore.node.access.file import AccessFile
from metastore.node.access.permissions import (
    KeysOfLease,
    Reason,
    why_not,
    why_not_range,
)
from metastore.transport.envelope import ClientFrame, encode_error
from metastore.transport.framing import ErrorCode
from metastore.transport.schema import MalformedRequest
from metastore.transport.watch_frames import Cancel, Credit, ProgressRequest, Watch

IDLE_MS_MAX: Final = 60_000  # a connection that says nothing for so long counts no more
LOOKED_AT: Final = 256  # connections in one tick, at least, whether they are idle
REFUSED_MAX: Final = 256  # names and keys that refusals are counted by; the rest are OTHERS
ANYBODY: Final = "(anybody)"  # without keys nobody has a name
OTHERS: Final = "(others)"
NODES: Final = "(nodes)"

UNKNOWN_KEY: Final = "this key is not in the access file of the node"
FOREIGN_KEY: Final = "the id of this connection is that of another key's"

# What the watches answer by themselves; everything else gets exactly one answer through the loop's
# replies.
_OF_WATCHES = frozenset((Watch, Credit, Cancel, ProgressRequest))

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """`requests_in_flight_max`: of one connection. `tick_ms`: how often tick() is called."""

    connections_max: int
    requests_in_flight_max: int
    tick_ms: int


class Refusal(NamedTuple):
    """What the client is told."""

    code: ErrorCode
    text: str


class _Connection:
    """One that is in use. `user`: the public key that it came with, "" without keys."""

    __slots__ = ("in_flight", "last_tick", "user")

    def __init__(self, user: str, tick: int) -> None:
        self.user = user
        self.last_tick = tick
        self.in_flight = 0


class Gate:
    """Asked by `refusal` (or `refuses`, which answers by itself) about each frame; told by `ended`
    (or `answering`) of each answer. One thread. Without `access` everybody may do everything."""

    def __init__(
        self,
        access: AccessFile | None,
        keys_of_lease: KeysOfLease,
        limits: GateLimits,
        *,
        answer: Callable[[bytes, bytes], None],
        has_watches: Callable[[bytes], bool],
        logger: Any,
    ) -> None:
        """`answer(identity, frame)`: to the replies of the loop. `has_watches(identity)`: such a
        connection is in use, however long it says nothing."""
        self._access = access
        self._keys_of_lease = keys_of_lease
        self._limits = limits
        self._in_flight_max = limits.requests_in_flight_max
        self._idle_ticks_max = max(1, IDLE_MS_MAX // limits.tick_ms)
        # All of them within the time that makes one idle.
        self._looked_at = max(LOOKED_AT, limits.connections_max // self._idle_ticks_max + 1)
        self._answer = answer
        self._has_watches = has_watches
        self._log = logger
        self._tick = 0
        self._connections: dict[bytes, _Connection] = {}  # in the order of being looked at
        self._refused: dict[str, dict[str, int]] = {}  # by who, by reason

    def refuses(self, identity: bytes, frame: ClientFrame, user: str) -> bool:
        """Whether it is refused; then the client has its answer."""
        refusal = self.refusal(identity, user, frame)
        if refusal is None:
            return False
        self._answer(identity, encode_error(frame.request_id, refusal.code, refusal.text))
        return True

    def refusal(self, identity: bytes, user: str, frame: ClientFrame) -> Refusal | None:
        """None: it may pass, and counts as in flight until `ended`. A refusal, too, is an answer
        that `ended` has to be told of."""
        connection = self._connections.get(identity)
        if connection is None:
            if self._is_full(user):
                return self._too_many_connections(user)
            connection = self._connections[identity] = _Connection(user, self._tick)
        is_answered = type(frame) not in _OF_WATCHES
        if is_answered:
            connection.in_flight += 1
        refusal = self._refusal(connection, user, frame)
        if refusal is not None and not is_answered:
            connection.in_flight += 1
        return refusal

    def _refusal(self, connection: _Connection, user: str, frame: ClientFrame) -> Refusal | None:
        if connection.user != user:
            return self._refuse(self._who(user), Reason.KEY, FOREIGN_KEY)
        connection.last_tick = self._tick
        if connection.in_flight > self._in_flight_max:
            return self._too_much_in_flight(user)
        return None if self._access is None else self._denial(self._access, user, frame)

    def ended(self, identity: bytes, count: int = 1) -> None:
        """So many answers have left for this connection, or nobody is there to take them."""
        connection = self._connections.get(identity)
        if connection is not None:
            connection.in_flight = max(0, connection.in_flight - count)

    def answering(
        self, reply: Callable[[bytes, Sequence[bytes]], T]
    ) -> Callable[[bytes, Sequence[bytes]], T]:
        """`reply`, with `ended` for what it sends."""

        def counted(identity: bytes, frames: Sequence[bytes]) -> T:
            self.ended(identity, len(frames))
            return reply(identity, frames)

        return counted

    def tick(self) -> None:
        """Looks at some connections: those that have been idle for long count no more."""
        self._tick += 1
        connections = self._connections
        for identity in list(islice(connections, self._looked_at)):
            connection = connections.pop(identity)
            is_idle = self._tick - connection.last_tick > self._idle_ticks_max
            if not is_idle or connection.in_flight or self._has_watches(identity):
                connections[identity] = connection  # to the end of the queue

    def why_not_watch(self, identity: bytes, key: bytes, range_end: bytes) -> str:
        """Of a watch that a connection has already, after the access file has changed; "": it may
        keep it."""
        if self._access is None:
            return ""
        connection = self._connections.get(identity)
        access, user = self._access.current, connection.user if connection else ""
        if user in access.node_keys:
            return ""
        grants = access.clients.get(user)
        if grants is None:
            return UNKNOWN_KEY
        denial = why_not_range(grants, key, range_end)
        return denial.text if denial else ""

    def counters(self) -> dict[str, Any]:
        """{"connections": in use, "refused": {name or key: {reason: count}}}; a copy."""
        refused = {who: dict(reasons) for who, reasons in self._refused.items()}
        return {"connections": len(self._connections), "refused": refused}

    def _is_full(self, user: str) -> bool:
        """The cluster's own nodes always find room."""
        if len(self._connections) < self._limits.connections_max:
            return False
        return self._access is None or user not in self._access.current.node_keys

    def _denial(self, access_file: AccessFile, user: str, frame: ClientFrame) -> Refusal | None:
        access = access_file.current
        if user in access.node_keys:
            return None
        grants = access.clients.get(user)
        if grants is None:
            return self._refuse(self._who(user), Reason.KEY, UNKNOWN_KEY)
        try:
            denial = why_not(grants, frame, self._keys_of_lease)
        except MalformedRequest as error:
            # Here and now: what cannot be read cannot be judged.
            return self._refuse(grants.name, Reason.MALFORMED, str(error), ErrorCode.INVALID)
        return denial and self._refuse(grants.name, denial.reason, denial.text)

    def _too_many_connections(self, user: str) -> Refusal:
        count = self._limits.connections_max
        text = f"this node serves {count} connections at most (setting connections_max)"
        return self._refuse(self._who(user), Reason.CONNECTIONS, text, ErrorCode.UNAVAILABLE)

    def _too_much_in_flight(self, user: str) -> Refusal:
        text = (
            f"{self._in_flight_max} requests of this connection wait for their answers; wait for "
            "some of them"
        )
        return self._refuse(self._who(user), Reason.IN_FLIGHT, text, ErrorCode.UNAVAILABLE)

    def _who(self, user: str) -> str:
        if self._access is None:
            return ANYBODY
        access = self._access.current
        if user in access.node_keys:
            return NODES
        grants = access.clients.get(user)
        return grants.name if grants else f"key {user}"

    def _refuse(
        self, who: str, reason: Reason, text: str, code: ErrorCode = ErrorCode.PERMISSION_DENIED
    ) -> Refusal:
        if who not in self._refused and len(self._refused) >= REFUSED_MAX:
            who = OTHERS
        counts = self._refused.setdefault(who, {})
        if reason not in counts:
            self._log.warning("client refused", who=who, reason=reason.value, why=text)
        counts[reason.value] = counts.get(reason.value, 0) + 1
        return Refusal(code, text)
