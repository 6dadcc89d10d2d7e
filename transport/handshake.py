"""Who is speaking: the header that opens every message between nodes, and whether it is let in.

Reading order 6. The header is frame 0 of every peer and snapshot message, so there is no state of a
connection to lose: each message proves its cluster, node and incarnation by itself.
"""

import struct
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from metastore.transport.limits import STRANGERS_MAX

MAGIC = b"MSTP"
PEER_PROTOCOL_VERSION = 1
_HEADER = struct.Struct(">4sBQQQ")
HEADER_BYTES = _HEADER.size


class Refusal(StrEnum):
    """Why a message was not let in; the texts travel in verdicts and appear in counters."""

    MALFORMED = "malformed"
    OTHER_VERSION = "other version"
    STRANGER_CLUSTER = "stranger cluster"
    UNKNOWN_NODE = "unknown node"
    DUPLICATE_NODE = "duplicate node"  # another process carries our own id
    OLD_INCARNATION = "old incarnation"
    OVERSIZED = "oversized"


ACCEPTED = b""  # a verdict's text when an earlier refusal no longer holds
_REFUSALS = {refusal.value.encode(): refusal for refusal in Refusal}


class Header(NamedTuple):
    cluster_id: int
    node_id: int
    incarnation: int  # grows at every start of the node's process


def encode_header(header: Header, version: int = PEER_PROTOCOL_VERSION) -> bytes:
    return _HEADER.pack(MAGIC, version, *header)


def decode_header(data: bytes) -> Header | Refusal:
    """Never raises, whatever the bytes."""
    # Magic and version come first in every version to come; the length may change with the version.
    if len(data) <= len(MAGIC) or data[: len(MAGIC)] != MAGIC:
        return Refusal.MALFORMED
    if data[len(MAGIC)] != PEER_PROTOCOL_VERSION:
        return Refusal.OTHER_VERSION
    if len(data) != HEADER_BYTES:
        return Refusal.MALFORMED
    return Header(*_HEADER.unpack(data)[2:])


def decode_verdict(parts: list[bytes]) -> Refusal | None:
    """A verdict from the other side: a refusal, or None for "accepted again". Raises ValueError."""
    if len(parts) != 2 or parts[0][: len(MAGIC)] != MAGIC:
        raise ValueError("no verdict")
    if parts[1] == ACCEPTED:
        return None
    if parts[1] not in _REFUSALS:
        raise ValueError("unknown verdict")
    return _REFUSALS[parts[1]]


class Admission:
    """Judges headers for one listening socket. `accepted` maps the exact bytes of each peer's
    newest header to its id, so that the usual case is one dictionary look-up."""

    __slots__ = ("_cluster_id", "_known", "_newest", "_node_id", "_refused", "accepted")

    def __init__(self, cluster_id: int, node_id: int, known: Iterable[int]) -> None:
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._known = set(known) - {node_id}
        self._newest: dict[int, tuple[int, bytes]] = {}
        self._refused: dict[bytes, None] = {}
        self.accepted: dict[bytes, int] = {}

    def add(self, node_id: int) -> None:
        if node_id != self._node_id:
            self._known.add(node_id)

    def remove(self, node_id: int) -> None:
        """Forgets the incarnation too: the id may come back with another disk."""
        self._known.discard(node_id)
        _, data = self._newest.pop(node_id, (0, b""))
        self.accepted.pop(data, None)

    def judge(self, data: bytes) -> int | Refusal:
        """The sender's id, or why it is refused. Remembers the newest incarnation of each peer."""
        node_id = self.accepted.get(data)
        if node_id is not None:
            return node_id
        header = decode_header(data)
        if isinstance(header, Refusal):
            return header
        refusal = self._refusal_or_none(header)
        if refusal is not None:
            return refusal
        _, previous = self._newest.get(header.node_id, (0, b""))
        self.accepted.pop(previous, None)
        self._newest[header.node_id] = (header.incarnation, data)
        self.accepted[data] = header.node_id
        return header.node_id

    def _refusal_or_none(self, header: Header) -> Refusal | None:
        if header.cluster_id != self._cluster_id:
            return Refusal.STRANGER_CLUSTER
        if header.node_id == self._node_id:
            return Refusal.DUPLICATE_NODE
        if header.node_id not in self._known:
            return Refusal.UNKNOWN_NODE
        # An older process of the same node, or one whose disk was wiped, must not speak for it.
        if header.incarnation < self._newest.get(header.node_id, (0, b""))[0]:
            return Refusal.OLD_INCARNATION
        return None

    def counted_as(self, data: bytes) -> int:
        """The peer a refused header is counted under: its id if we know it, else 0."""
        header = decode_header(data)
        if isinstance(header, Refusal) or header.cluster_id != self._cluster_id:
            return 0
        return header.node_id if header.node_id in self._known else 0

    def note_refused(self, data: bytes) -> None:
        """Remembers, for a bounded number of senders, that a verdict is outstanding."""
        self._refused[data] = None
        if len(self._refused) > STRANGERS_MAX:
            del self._refused[next(iter(self._refused))]

    def was_refused(self, data: bytes) -> bool:
        """True once after note_refused of the same header."""
        if not self._refused or data not in self._refused:
            return False
        del self._refused[data]
        return True
