"""Messages between nodes over ZeroMQ: one listening ROUTER, one connecting DEALER per peer.

Reading order 8. A message is [header, payload]; payloads are opaque here. Used by one thread, the
loop; no call waits. Whatever is not delivered is counted with its reason and never believed sent.
Who is a member, and where, comes from outside, by set_members.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import zmq

from metastore.transport import limits
from metastore.transport.addresses import parse_connect_address
from metastore.transport.counters import ANYBODY, Counters
from metastore.transport.handshake import ACCEPTED, Admission, Header, Refusal, encode_header
from metastore.transport.links import PeerLink, Place
from metastore.transport.peer_keys import KeyedReading, PeerSecurity
from metastore.transport.security import PEER_DOMAIN
from metastore.transport.sockets import Context, Socket, close_router, open_router

UNKNOWN_PEER = "unknown peer"

_log = logging.getLogger("metastore.transport.peers")

_NOBLOCK = int(zmq.NOBLOCK)


class PeerTransport:
    """Implements contract.PeerCarrier. Starts without peers. Raises BindFailed from the
    constructor. With `security`, everything is encrypted, and only nodes' keys are heard."""

    def __init__(
        self,
        cluster_id: int,
        node_id: int,
        directory_id: int,
        incarnation: int,
        bind: str,
        context: Context,
        *,
        security: PeerSecurity | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._node_id = node_id
        self._header = Header(cluster_id, node_id, directory_id, incarnation)
        self._answer_header = encode_header(self._header)
        self._admission = Admission(cluster_id, node_id, {})
        self._security = security
        self._server_keys = () if security is None else tuple(security.server_keys)
        self._clock = clock
        self._addresses: dict[int, tuple[str, ...]] = {}
        self._links: dict[int, PeerLink] = {}
        self._dropped = Counters()
        self._refused = Counters()
        self._sent: dict[int, int] = {}
        self._received: dict[int, int] = {}
        self._logged: set[tuple[int, Refusal]] = set()
        self._router, self.address = open_router(
            context,
            bind,
            frame_bytes_max=limits.PEER_PAYLOAD_BYTES_MAX,
            send_max=limits.VERDICT_QUEUE_MAX,
            receive_max=limits.PEER_RECEIVE_QUEUE_MAX,
            curve=None if security is None else security.as_server(PEER_DOMAIN),
            takes_over=True,  # a process returns under the id of its dead connection
        )
        self._reading = KeyedReading(self._router, security)

    # Sending

    def send(self, node_id: int, payload: bytes) -> bool:
        """Payload: 1 to PEER_PAYLOAD_BYTES_MAX bytes."""
        link = self._links.get(node_id)
        if link is None:
            self._dropped.count(ANYBODY, UNKNOWN_PEER)
            return False
        # The receiver would close the connection on it, at the cost of everything queued behind.
        if len(payload) > limits.PEER_PAYLOAD_BYTES_MAX:
            self._dropped.count(node_id, Refusal.OVERSIZED.value)
            return False
        reason = link.send(payload)
        if reason:
            self._dropped.count(node_id, reason)
            return False
        self._sent[node_id] += 1
        return True

    # Receiving

    def pollables(self) -> list[Socket]:
        return [self._router]

    def drain(self, budget: int) -> list[tuple[int, bytes]]:
        """Stops at `budget` messages, PEER_DRAIN_BYTES_MAX bytes or an empty socket. Refused ones
        count against the budget, so that a flood of them cannot hold the loop."""
        arrived: list[tuple[int, bytes]] = []
        has_keys = self._security is not None
        receive = self._router.recv_multipart
        accepted = self._admission.accepted
        bytes_left = limits.PEER_DRAIN_BYTES_MAX
        for _ in range(budget):
            try:
                parts = self._receive_or_refuse() if has_keys else receive(_NOBLOCK)
            except zmq.Again:
                break
            sender = accepted.get(parts[1]) if len(parts) == 3 else None
            if sender is None:
                sender = self._admit_or_none(parts)
                if sender is None:
                    continue
            self._received[sender] = self._received.get(sender, 0) + 1
            arrived.append((sender, parts[2]))
            bytes_left -= len(parts[2])
            if bytes_left <= 0:
                break
        return arrived

    def _receive_or_refuse(self) -> list[bytes]:
        """The next message, or [] for one of a key that is no node's (any more). Raises
        zmq.Again."""
        parts, key, is_allowed = self._reading.receive()
        if is_allowed:
            return parts
        # Whatever its header says: without a node's key it proves nothing.
        self._count_refused(ANYBODY, Refusal.UNKNOWN_KEY, f"a sender with the key {key!r}")
        if len(parts) == 3:
            self._admission.note_refused(parts[1])
            self._tell(parts[0], Refusal.UNKNOWN_KEY.encode())
        return []

    def _admit_or_none(self, parts: list[bytes]) -> int | None:
        """The slow path: a header that is not the newest of a known peer."""
        if not parts:
            return None  # refused already
        if len(parts) != 3:
            self._refused.count(ANYBODY, Refusal.MALFORMED.value)
            return None
        identity, header, _ = parts
        verdict = self._admission.judge(header)
        if isinstance(verdict, Refusal):
            self._refuse(identity, header, verdict)
            return None
        self._logged.difference_update([(verdict, refusal) for refusal in Refusal])
        if self._admission.was_refused(header):
            self._tell(identity, ACCEPTED)
        return verdict

    def _refuse(self, identity: bytes, header: bytes, refusal: Refusal) -> None:
        sender = self._admission.counted_as(header)
        self._count_refused(sender, refusal, f"node {sender or 'unknown'}")
        if refusal is not Refusal.MALFORMED:
            self._admission.note_refused(header)
            self._tell(identity, refusal.encode())

    def _count_refused(self, sender: int, refusal: Refusal, who: str) -> None:
        """Logs the first of its kind; a flood of them must not fill the log."""
        self._refused.count(sender, refusal.value)
        if (sender, refusal) not in self._logged:
            self._logged.add((sender, refusal))
            _log.warning("refused a message of %s: %s", who, refusal)

    def _tell(self, identity: bytes, verdict: bytes) -> None:
        try:
            self._router.send_multipart((identity, self._answer_header, verdict), _NOBLOCK)
        except zmq.ZMQError:
            # It is gone or does not read; it will hear the same at its next message.
            self._dropped.count(ANYBODY, "verdict")

    # Members

    def set_members(
        self,
        addresses: Mapping[int, Sequence[str]],
        directories: Mapping[int, int],
        removed: Collection[int],
    ) -> None:
        """Who is who from now on. `addresses`: {peer: where it may be, the likeliest first};
        `directories` and `removed` as in Admission.set_members. A connection to a place where the
        peer may still be stays open. Raises BadAddress; then nothing changed."""
        for places in addresses.values():
            for address in places:
                parse_connect_address(address)
        self._admission.set_members(directories, removed)
        self._addresses = {
            peer: tuple(dict.fromkeys(places))
            for peer, places in addresses.items()
            if peer != self._node_id
        }
        self._follow()

    def set_server_keys(self, server_keys: Sequence[str]) -> None:
        """The keys of the nodes have changed: these are tried from now on, and `is_allowed` is
        asked again about every connection. Without `security` it means nothing."""
        if self._security is not None:
            self._server_keys = tuple(dict.fromkeys(server_keys))
            self._reading.forget()
            self._admission.judge_again()
            self._follow()

    def tick(self) -> None:
        """Once per tick of the loop: who is not found at one place is looked for at the next."""
        now = self._clock()
        for link in self._links.values():
            link.tick(now)

    def _follow(self) -> None:
        now = self._clock()
        keys = ("",) if self._security is None else self._server_keys
        wanted = {
            peer: [Place(address, key) for address in addresses for key in keys]
            for peer, addresses in self._addresses.items()
        }
        for peer in [peer for peer in self._links if not wanted.get(peer)]:
            self._links.pop(peer).close()
        for peer, places in wanted.items():
            link = self._links.get(peer)
            if link is not None:
                link.follow(places, now)
            elif places:
                header = encode_header(self._header._replace(to=peer))
                self._links[peer] = PeerLink(self._context, header, places, self._security, now)
                self._sent.setdefault(peer, 0)

    # Looking

    @property
    def refusals(self) -> dict[int, str]:
        """{peer: why it refuses us}, of the connections as they are now."""
        for link in self._links.values():
            link.check_state()
        return {peer: str(link.refusal) for peer, link in self._links.items() if link.refusal}

    def counters(self) -> dict[str, Any]:
        """{"sent" | "received": {peer: messages}, "dropped" | "refused": {peer: {reason: count}},
        "connected": [peer, ...]}; peer 0 stands for strangers. A copy."""
        for link in self._links.values():
            link.check_state()
        return {
            "sent": dict(self._sent),
            "received": dict(self._received),
            "dropped": self._dropped.as_dict(),
            "refused": self._refused.as_dict(),
            "connected": [peer for peer, link in self._links.items() if link.is_connected],
        }

    def close(self) -> None:
        """Never waits; unsent messages are gone."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        close_router(self._router)
