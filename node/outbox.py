"""What leaves at the end of a turn: one message per peer, one multipart reply per client
connection.

Filled by the loop while it works, emptied once; nothing is sent per message.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from metastore.node.codec import encode_messages
from metastore.node.raft.messages import AppendEntries, Message
from metastore.node.witness import for_witness


class PeerSender(Protocol):
    def send(self, node_id: int, payload: bytes) -> bool: ...


# Well below the transport's limit of a peer's message, since one more append may come on top.
PAYLOAD_BYTES_AIM = 2 << 20


class Outbox:
    """Collects Raft messages by receiver. `flush` returns the receivers that surely did not get an
    append, so that the core falls back to probing them."""

    def __init__(self) -> None:
        self._by_peer: dict[int, list[Message]] = {}
        self._witnesses: frozenset[int] = frozenset()
        self.has_entries = False  # new entries wait in here: the peers' disks could be working

    def set_witnesses(self, node_ids: Iterable[int]) -> None:
        """Who gets entries without their data from now on."""
        self._witnesses = frozenset(node_ids)

    def add(self, message: Message) -> None:
        self._by_peer.setdefault(message.to, []).append(message)
        if isinstance(message, AppendEntries) and message.entries:
            self.has_entries = True

    def flush(self, peers: PeerSender) -> list[int]:
        unreachable = []
        for node_id, messages in self._by_peer.items():
            if node_id in self._witnesses:
                messages = for_witness(messages)
            for group in split_by_size(messages):
                if not peers.send(node_id, encode_messages(group)):
                    # What follows a gap would only be rejected: the rest waits for the next probe.
                    if any(isinstance(message, AppendEntries) for message in messages):
                        unreachable.append(node_id)
                    break
        self._by_peer.clear()
        self.has_entries = False
        return unreachable


def split_by_size(messages: list[Message]) -> Iterator[list[Message]]:
    """Groups that fit a peer's message; an append is at most a third of it."""
    group: list[Message] = []
    size = 0
    for message in messages:
        if isinstance(message, AppendEntries):
            own = sum(entry.size_bytes for entry in message.entries)
            if group and size + own > PAYLOAD_BYTES_AIM:
                yield group
                group, size = [], 0
            size += own
        group.append(message)
    if group:
        yield group


class Replies:
    """Encoded reply frames by client connection."""

    def __init__(self) -> None:
        self._by_client: dict[bytes, list[bytes]] = {}

    def add(self, identity: bytes, frame: bytes) -> None:
        self._by_client.setdefault(identity, []).append(frame)

    def flush(self, reply: Callable[[bytes, list[bytes]], object]) -> None:
        for identity, frames in self._by_client.items():
            reply(identity, frames)
        self._by_client.clear()
