"""Messages between nodes over ZeroMQ: one listening ROUTER, one connecting DEALER per peer.

Reading order 8. A message is [header, payload]; payloads are opaque here. Used by one thread, the
loop; no call waits. Whatever is not delivered is counted with its reason and never believed sent.
"""

import logging
from collections.abc import Mapping
from typing import Any

import zmq

from metastore.transport import limits
from metastore.transport.addresses import parse_connect_address
from metastore.transport.counters import ANYBODY, Counters
from metastore.transport.errors import BadAddress
from metastore.transport.handshake import (
    ACCEPTED,
    Admission,
    Header,
    Refusal,
    decode_verdict,
    encode_header,
)
from metastore.transport.sockets import Context, Socket, inproc_address, open_dealer, open_router

UNKNOWN_PEER = "unknown peer"
NOT_CONNECTED = "not connected"
QUEUE_FULL = "queue full"

_log = logging.getLogger("metastore.transport.peers")

_NOBLOCK = int(zmq.NOBLOCK)
_FIRST_FRAME = int(zmq.NOBLOCK) | int(zmq.SNDMORE)
# From here on, handing over the memory costs less than copying it.
_COPY_BYTES_MAX = 64 << 10
# A verdict is looked for on this many sends; asking on each would double the cost of a send.
_SENDS_PER_VERDICT_CHECK = 16


class PeerLink:
    """The DEALER to one peer, whether it is connected, and what the peer last said about us."""

    __slots__ = ("_monitor", "_sends_until_check", "address", "is_connected", "refusal", "socket")

    def __init__(self, context: Context, address: str, routing_id: bytes) -> None:
        parse_connect_address(address)  # raises before anything is open
        self.address = address
        self.is_connected = False
        self.refusal: Refusal | None = None
        self._sends_until_check = _SENDS_PER_VERDICT_CHECK
        self._monitor = context.socket(zmq.PAIR)
        self.socket = open_dealer(
            context,
            address,
            routing_id=routing_id,
            frame_bytes_max=limits.PEER_PAYLOAD_BYTES_MAX,
            send_max=limits.PEER_SEND_QUEUE_MAX,
            receive_max=limits.VERDICT_QUEUE_MAX,
            prepare=self._start_monitor,
        )

    def _start_monitor(self, socket: Socket) -> None:
        endpoint = inproc_address("monitor")
        socket.monitor(endpoint, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._monitor.setsockopt(zmq.LINGER, 0)
        # Unlimited: a full monitor queue would block libzmq's I/O thread, and with it every socket.
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.connect(endpoint)

    def send(self, header: bytes, payload: bytes) -> str:
        """ "" when handed to libzmq, else the reason of the drop."""
        try:
            self.socket.send(header, _FIRST_FRAME)
            self.socket.send(payload, _NOBLOCK, copy=len(payload) <= _COPY_BYTES_MAX)
        except zmq.Again:
            self._read_monitor()
            return QUEUE_FULL if self.is_connected else NOT_CONNECTED
        self._sends_until_check -= 1
        if self._sends_until_check <= 0:
            self.check_state()
        return ""

    def check_state(self) -> None:
        self._sends_until_check = _SENDS_PER_VERDICT_CHECK
        self._read_monitor()
        for _ in range(limits.VERDICT_QUEUE_MAX):
            try:
                self.refusal = decode_verdict(self.socket.recv_multipart(_NOBLOCK))
            except zmq.Again:
                return
            except ValueError:
                continue  # not a verdict, and nothing else may come this way

    def _read_monitor(self) -> None:
        while True:
            try:
                event = self._monitor.recv_multipart(_NOBLOCK)[0]
            except zmq.Again:
                return
            number = int.from_bytes(event[:2], "little")
            self.is_connected = number == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if not self.is_connected:
                self.refusal = None  # whoever answers next decides anew

    def close(self) -> None:
        self.socket.disable_monitor()
        self._monitor.close(0)
        self.socket.close(0)


class PeerTransport:
    """Implements contract.PeerCarrier. Raises BindFailed and BadAddress from the constructor."""

    def __init__(
        self,
        cluster_id: int,
        node_id: int,
        incarnation: int,
        bind: str,
        peers: Mapping[int, str],
        context: Context,
    ) -> None:
        self._context = context
        self._node_id = node_id
        self._header = encode_header(Header(cluster_id, node_id, incarnation))
        self._admission = Admission(cluster_id, node_id, peers)
        self._links: dict[int, PeerLink] = {}
        self._dropped = Counters()
        self._refused = Counters()
        self._sent: dict[int, int] = {}
        self._received: dict[int, int] = {}
        self._last_logged: dict[int, Refusal] = {}
        self._router, self.address = open_router(
            context,
            bind,
            frame_bytes_max=limits.PEER_PAYLOAD_BYTES_MAX,
            send_max=limits.VERDICT_QUEUE_MAX,
            receive_max=limits.PEER_RECEIVE_QUEUE_MAX,
        )
        try:
            for peer, address in peers.items():
                self.set_peer(peer, address)
        except BadAddress:
            self.close()
            raise

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
        reason = link.send(self._header, payload)
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
        receive = self._router.recv_multipart
        accepted = self._admission.accepted
        bytes_left = limits.PEER_DRAIN_BYTES_MAX
        for _ in range(budget):
            try:
                parts = receive(_NOBLOCK)
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

    def _admit_or_none(self, parts: list[bytes]) -> int | None:
        """The slow path: a header that is not the newest of a known peer."""
        if len(parts) != 3:
            self._refused.count(ANYBODY, Refusal.MALFORMED.value)
            return None
        identity, header, _ = parts
        verdict = self._admission.judge(header)
        if isinstance(verdict, Refusal):
            self._refuse(identity, header, verdict)
            return None
        self._last_logged.pop(verdict, None)
        if self._admission.was_refused(header):
            self._tell(identity, ACCEPTED)
        return verdict

    def _refuse(self, identity: bytes, header: bytes, refusal: Refusal) -> None:
        sender = self._admission.counted_as(header)
        self._refused.count(sender, refusal.value)
        if self._last_logged.get(sender) is not refusal:
            self._last_logged[sender] = refusal
            _log.warning("refused a message of node %s: %s", sender or "unknown", refusal)
        if refusal is not Refusal.MALFORMED:
            self._admission.note_refused(header)
            self._tell(identity, refusal.encode())

    def _tell(self, identity: bytes, verdict: bytes) -> None:
        try:
            self._router.send_multipart((identity, self._header, verdict), _NOBLOCK)
        except zmq.ZMQError:
            # It is gone or does not read; it will hear the same at its next message.
            self._dropped.count(ANYBODY, "verdict")

    # Members

    def set_peer(self, node_id: int, address: str) -> None:
        """Adds a peer or moves it to another address. Raises BadAddress; then nothing changed."""
        current = self._links.get(node_id)
        if current is not None and current.address == address:
            return
        # The routing id holds cluster and incarnation, so that a stranger with the same node id
        # cannot take over (ROUTER_HANDOVER) the connection of the real one.
        link = PeerLink(self._context, address, self._header)
        if current is not None:
            current.close()
        self._links[node_id] = link
        self._sent.setdefault(node_id, 0)
        self._admission.add(node_id)

    def remove_peer(self, node_id: int) -> None:
        link = self._links.pop(node_id, None)
        if link is not None:
            link.close()
        self._admission.remove(node_id)

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
        if not self._router.closed:
            self._router.close(0)
