"""What a hostile or broken program sends to the sockets of a node: changed frames of every kind,
frames of chance, half handshakes, lengths that are never sent, connections that only come and go.

Sends nothing that would rightly change the cluster: no request about its members or its leader that
a node could carry out, and from a member of it only what its codec refuses.
"""

import random
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import zmq
from fuzzing.client_targets import CLIENT_FRAMES, QUESTIONS
from fuzzing.mutation import Mutator, Parts
from fuzzing.peer_targets import CHUNK, OFFER, PAYLOADS, RECEIVER_FRAMES

from metastore.node.codec import MalformedMessage, decode_messages
from metastore.transport import envelope
from metastore.transport.errors import Malformed
from metastore.transport.handshake import Header, encode_header
from metastore.transport.member_ops import MEMBERS, decode_member_request
from metastore.transport.schema import MalformedRequest
from metastore.transport.security import CurveClient

CONNECTIONS = 8  # to each socket, kept for a while
HELD = 20  # raw connections that say nothing more
WRITE_BYTES_MAX = 2000  # of a request that a node would carry out: its data stay
_FRAMES_MAX = 400  # of one message

_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"
_READY = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
_PLAIN = _GREETING + b"NULL".ljust(20, b"\0") + bytes(32) + bytes((4, len(_READY))) + _READY
_CURVE = _GREETING + b"CURVE".ljust(20, b"\0") + bytes(32) + b"\x04\xc8" + b"\x05HELLO" + bytes(194)

Context = zmq.Context[zmq.Socket[bytes]]


class Hostility:
    """To one node. `addresses`: by socket. `member`: of somebody whom the node lets in. `curve`: a
    client's keys, which open the client's socket and nobody else's; half of it comes without."""

    def __init__(
        self,
        context: Context,
        addresses: Mapping[str, str],
        chance: random.Random,
        *,
        cluster_id: int,
        member: Header | None = None,
        curve: CurveClient | None = None,
    ) -> None:
        self._context = context
        self._addresses = dict(addresses)
        self._chance = chance
        self._mutator = Mutator(chance)
        self._curve = curve
        self._member = None if member is None else encode_header(member)
        self._strangers = [
            encode_header(Header(cluster, node_id, 5, 1, to))
            for cluster in (cluster_id, 5)
            for node_id, to in ((1, 0), (2, 1), (9, 0), ((1 << 64) - 1, 3))
        ]
        self._open: dict[str, list[zmq.Socket[bytes]]] = {name: [] for name in addresses}
        self._held: list[socket.socket] = []
        self.acts = 0

    def act(self) -> None:
        """One of everything that could come, on one of the sockets."""
        name = self._chance.choice(sorted(self._addresses))
        if self._chance.random() < 0.7:
            self._send(name)
        else:
            self._come_raw(name)
        self.acts += 1

    def close(self) -> None:
        for dealers in self._open.values():
            for dealer in dealers:
                dealer.close(0)
            dealers.clear()
        for held in self._held:
            held.close()
        self._held.clear()

    # --- messages

    def _send(self, name: str) -> None:
        dealers = self._open[name]
        if len(dealers) < CONNECTIONS or self._chance.random() < 0.1:
            dealers.append(self._dealer(name))
        if len(dealers) > CONNECTIONS:
            dealers.pop(0).close(0)
        dealer = self._chance.choice(dealers)
        for _ in range(self._chance.randrange(1, 8)):
            with suppress(zmq.Again):
                dealer.send_multipart(self._message(name), zmq.NOBLOCK)
        for _ in range(200):  # answers are taken now and then; whoever never takes them is another
            try:
                dealer.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return

    def _dealer(self, name: str) -> "zmq.Socket[bytes]":
        dealer = self._context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.sndhwm = dealer.rcvhwm = 100
        if self._curve is not None and self._chance.random() < 0.5:
            set_curve(dealer, self._curve)
        if self._chance.random() < 0.3:
            # Each its own: of two with one id libzmq never closes the one that it does not hear
            # (transport/sockets.py), which would hide every other growth.
            dealer.setsockopt(zmq.IDENTITY, b"x" + self._chance.randbytes(8))
        dealer.connect(self._addresses[name])
        return dealer

    def _message(self, name: str) -> Sequence[bytes]:
        kind = self._chance.random()
        if kind < 0.1:
            return self._mutator.noise()
        if kind < 0.15:
            frame = self._chance.choice((b"", b"\xc0", *QUESTIONS))
            return [frame] * self._chance.randrange(1, _FRAMES_MAX)
        make: dict[str, Callable[[], Parts]] = {
            "client": self._of_client,
            "peer": self._of_peer,
            "snapshot": self._of_snapshot,
            "status": self._of_status,
        }
        return make[name]()

    def _changed(self, *valid: Parts) -> Parts:
        made = self._chance.choice(valid)
        return self._mutator.mutate(made) if self._chance.random() < 0.9 else made

    def _of_client(self) -> Parts:
        made = self._changed(*((frame,) for frame in CLIENT_FRAMES), CLIENT_FRAMES)
        return tuple(frame for frame in made if _is_harmless(frame)) or (b"",)

    def _of_peer(self) -> Parts:
        if self._member is not None and self._chance.random() < 0.5:
            payload = b"".join(self._changed(*((payload,) for payload in PAYLOADS)))
            try:
                decode_messages(payload, 1)
            except MalformedMessage:
                return (self._member, payload)
        header = self._chance.choice(self._strangers)
        return self._changed((header, self._chance.choice(PAYLOADS)), (header, b"malformed"))

    def _of_snapshot(self) -> Parts:
        header = self._chance.choice(self._strangers)
        return self._changed((header, OFFER), (header, *CHUNK), (header, RECEIVER_FRAMES[0]))

    def _of_status(self) -> Parts:
        return self._changed(*((b"", question) for question in QUESTIONS), (QUESTIONS[0],))

    # --- bytes

    def _come_raw(self, name: str) -> None:
        host, _, port = self._addresses[name].removeprefix("tcp://").rpartition(":")
        try:
            raw = socket.create_connection((host, int(port)), timeout=5)
        except OSError:
            return  # the kernel's queue is full; the checks notice a node that is gone
        with suppress(OSError):
            raw.sendall(self._stream(name))
        kind = self._chance.random()
        if kind < 0.3:
            self._held.append(raw)
            if len(self._held) > HELD:
                self._held.pop(0).close()
            return
        if kind < 0.6:  # a reset
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()

    def _stream(self, name: str) -> bytes:
        kind = self._chance.randrange(6)
        start = self._chance.choice((_PLAIN, _CURVE))
        if kind == 0:
            return b""
        if kind == 1:
            return start[: self._chance.randrange(len(start))]
        if kind == 2:
            return b"".join(self._mutator.noise())
        if kind == 3:  # a frame of 2^40 bytes and more, of which a few come
            size = struct.pack(">Q", self._chance.choice((1 << 63, 1 << 40, 1 << 31, 9 << 20)))
            return _PLAIN + b"\x02" + size + b"x" * 1000
        frames = b"".join(_zmtp(part) for part in self._message(name))
        if kind == 4:
            return _PLAIN + frames
        return b"".join(self._mutator.mutate((start + frames,)))


def set_curve(dealer: "zmq.Socket[bytes]", curve: CurveClient) -> None:
    dealer.curve_serverkey = curve.server_key.encode("ascii")
    dealer.curve_publickey = curve.keys.public.encode("ascii")
    dealer.curve_secretkey = curve.keys.secret.encode("ascii")


def _zmtp(part: bytes) -> bytes:
    if len(part) < 256:
        return bytes((0, len(part))) + part
    return b"\x02" + struct.pack(">Q", len(part)) + part


def _is_harmless(frame: bytes) -> bool:
    """Refused, or without lasting effect on the cluster and on its memory."""
    try:
        decoded: Any = envelope.decode_client_frame(frame)
    except Malformed:
        return True
    if not isinstance(decoded, envelope.Request):
        return True
    try:
        return decode_member_request(decoded.request).operation == MEMBERS
    except MalformedRequest:
        return len(decoded.request) <= WRITE_BYTES_MAX
