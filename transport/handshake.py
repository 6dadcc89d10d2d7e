"""Who is speaking: the header that opens every message between nodes, and whether it is let in.

Reading order 6. The header is frame 0 of every peer and snapshot message, so there is no state of a
connection to lose: each message proves its cluster, node, data directory and incarnation by itself.
"""

import struct
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple

from metastore.transport.limits import STRANGERS_MAX

MAGIC = b"MSTP"
PEER_PROTOCOL_VERSION = 2
_HEADER = struct.Struct(">4sBQQQQQ")
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
    REMOVED = "removed"  # from the cluster, for ever
    LOST_DATA = "lost data"  # its data directory is not the one of the record
    WRONG_NODE = "wrong node"  # meant for another member, whose address we have now
    UNKNOWN_KEY = "unknown key"  # of the connection; nodes have others


# Who answers at that address is not the node that was dialled.
MISPLACED = frozenset((Refusal.STRANGER_CLUSTER, Refusal.DUPLICATE_NODE, Refusal.WRONG_NODE))

ACCEPTED = b""  # a verdict's text when an earlier refusal no longer holds
_REFUSALS = {refusal.value.encode(): refusal for refusal in Refusal}


class Header(NamedTuple):
    """`to` is the member that was dialled: addresses move, and another one may listen there by
    now. 0: whoever it is, as in answers."""

    cluster_id: int
    node_id: int
    directory_id: int  # names the data directory; a node whose disk was emptied has another
    incarnation: int  # grows at every start of the node's process
    to: int = 0


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
    """Judges headers for one listening socket; lets nobody in before `set_members`. `accepted` maps
    the exact bytes of each peer's newest header to its id, so that the usual case is one dictionary
    look-up."""

    __slots__ = ("_cluster_id", "_known", "_newest", "_node_id", "_refused", "_removed", "accepted")

    def __init__(self, cluster_id: int, node_id: int, known: Mapping[int, int]) -> None:
        """`known`: as in set_members."""
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._known: Mapping[int, int] = {}
        self._removed: Collection[int] = ()
        self._newest: dict[int, tuple[Header, bytes]] = {}
        self._refused: dict[bytes, None] = {}
        self.accepted: dict[bytes, int] = {}
        self.set_members(known, ())

    def set_members(self, known: Mapping[int, int], removed: Collection[int]) -> None:
        """`known`: {member: the data directory that it must have, 0 for any}; nobody else is one.
        `removed`: ids that must never speak again, also if they are in `known`."""
        before = self._known
        self._removed = frozenset(removed)
        self._known = {
            member: directory_id
            for member, directory_id in known.items()
            if member != self._node_id and member not in self._removed
        }
        for member, (header, data) in list(self._newest.items()):
            directory_id = self._known.get(member)
            # A record that only now names the directory it was heard from changes nothing; in any
            # other the node starts to count its incarnations anew.
            if directory_id not in (before.get(member), header.directory_id):
                del self._newest[member]
                self.accepted.pop(data, None)

    def judge_again(self) -> None:
        """The next message of everybody goes by `judge`, so that a verdict that was not about its
        header can be taken back."""
        self.accepted.clear()

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
        previous = self._newest.get(header.node_id)
        if previous is not None:
            self.accepted.pop(previous[1], None)
        self._newest[header.node_id] = (header, data)
        self.accepted[data] = header.node_id
        return header.node_id

    def _refusal_or_none(self, header: Header) -> Refusal | None:
        if header.cluster_id != self._cluster_id:
            return Refusal.STRANGER_CLUSTER
        if header.node_id == self._node_id:
            return Refusal.DUPLICATE_NODE
        if header.node_id in self._removed:
            return Refusal.REMOVED  # before all that follows: it must not merely wait and try again
        if header.to not in (0, self._node_id):
            return Refusal.WRONG_NODE
        directory_id = self._known.get(header.node_id)
        if directory_id is None:
            return Refusal.UNKNOWN_NODE
        # A disk that forgot what it had promised must not vote under its old name.
        if directory_id not in (0, header.directory_id):
            return Refusal.LOST_DATA
        # An older process of the same node must not speak for it.
        newest = self._newest.get(header.node_id)
        if newest is not None and header.incarnation < newest[0].incarnation:
            return Refusal.OLD_INCARNATION
        return None

    def counted_as(self, data: bytes) -> int:
        """The peer a refused header is counted under: its id if we know it, else 0."""
        header = decode_header(data)
        if isinstance(header, Refusal) or header.cluster_id != self._cluster_id:
            return 0
        is_ours = header.node_id in self._known or header.node_id in self._removed
        return header.node_id if is_ours else 0

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
