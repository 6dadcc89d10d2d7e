"""Sending snapshot files: a thread and a DEALER per transfer, so that bulk delays no heartbeat.

Reading order 15. Credit is a window of chunks above what the receiver confirmed; after silence the
offer is repeated and the transfer goes on where the receiver says.
"""

import itertools
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import zmq

from metastore.transport import limits
from metastore.transport.chunk_frames import (
    Declined,
    Done,
    FrameKind,
    ReceiverFrame,
    decode_receiver_frame,
    encode_body,
    encode_offer,
)
from metastore.transport.errors import BadAddress, Malformed
from metastore.transport.handshake import Header, encode_header
from metastore.transport.incoming import digest_of
from metastore.transport.peer_keys import PeerSecurity
from metastore.transport.security import CurveClient
from metastore.transport.sockets import Context, Socket, open_dealer

STOPPED = "stopped"
BUSY = "a snapshot is already on its way to this peer"
_POLL_MS = 50
_WINDOW_BYTES = limits.SNAPSHOT_CHUNK_BYTES * limits.SNAPSHOT_WINDOW_CHUNKS


class SnapshotSender:
    """One transfer per peer at a time. The calls belong to one thread, the loop."""

    def __init__(
        self,
        cluster_id: int,
        node_id: int,
        directory_id: int,
        incarnation: int,
        context: Context,
        *,
        security: PeerSecurity | None = None,
    ) -> None:
        self._header = Header(cluster_id, node_id, directory_id, incarnation)
        self._context = context
        self._security = security
        self._server_keys = () if security is None else tuple(security.server_keys)
        self._stopping = threading.Event()
        self._active: dict[int, threading.Thread] = {}

    def set_server_keys(self, server_keys: Sequence[str]) -> None:
        """The keys of the nodes have changed: transfers that start now try these."""
        self._server_keys = tuple(dict.fromkeys(server_keys))

    def start(
        self,
        peer_id: int,
        address: str,
        meta: dict[str, Any],
        find_path: Callable[[], Path],
        on_done: Callable[[bool, str], None],
    ) -> None:
        """Never waits, never raises. `find_path` gives the file, on the transfer's thread, since it
        may have to be written first; what it raises is the reason of a failure. `on_done(ok,
        reason)` is called once, usually from the transfer's thread: True when the receiver holds
        the whole file, synced and prepared; else the reason."""
        running = self._active.get(peer_id)
        if running is not None and running.is_alive():
            on_done(False, BUSY)
            return
        if self._stopping.is_set():
            on_done(False, STOPPED)
            return
        thread = threading.Thread(
            target=self._run,
            args=(peer_id, address, meta, find_path, on_done),
            name=f"snapshot-to-{peer_id}",
            daemon=True,
        )
        self._active[peer_id] = thread
        thread.start()

    def _run(
        self,
        peer_id: int,
        address: str,
        meta: dict[str, Any],
        find_path: Callable[[], Path],
        on_done: Callable[[bool, str], None],
    ) -> None:
        try:
            path = find_path()
            # No socket before: a file that takes long must not hold up the end of the context.
            if self._stopping.is_set():
                raise InterruptedError
            reason = self._transfer(peer_id, address, meta, path)
        except InterruptedError:
            reason = STOPPED
        except Exception as error:  # whatever happens, the loop must hear that it ended
            reason = f"{type(error).__name__}: {error}"
        on_done(not reason, reason)

    def _transfer(self, peer_id: int, address: str, meta: dict[str, Any], path: Path) -> str:
        try:
            socket = self._dial(address)
        except BadAddress as error:
            return str(error)
        try:
            size, digest = digest_of(path, self._stopping.is_set)
            with path.open("rb") as file:
                transfer_id = secrets.randbits(63)
                offer = encode_offer(transfer_id, size, digest, meta)
                header = encode_header(self._header._replace(to=peer_id))
                transfer = _Transfer(socket, header, file, transfer_id, offer, size)
                return transfer.run(self._stopping)
        finally:
            socket.close(0)

    def _dial(self, address: str) -> Socket:
        """With keys, connected: each is tried in turn, and again, since one that was refused may be
        let in a moment later. Without, libzmq connects in the background. Raises BadAddress,
        TimeoutError, InterruptedError."""
        security, keys = self._security, self._server_keys
        if security is None:
            return self._open(address, None)
        deadline = time.monotonic() + limits.SNAPSHOT_STALL_MS / 1000
        for key in itertools.cycle(keys):
            socket = self._open(address, security.as_client(key))
            if self._is_connected_in_time(socket):
                return socket
            socket.close(0)
            if time.monotonic() > deadline:
                break
        raise TimeoutError(f"nobody at {address} answers with a key of the nodes")

    def _is_connected_in_time(self, socket: Socket) -> bool:
        """Raises InterruptedError when the sender stops."""
        deadline = time.monotonic() + limits.HANDSHAKE_TIMEOUT_MS / 1000
        while time.monotonic() < deadline:
            if self._stopping.is_set():
                socket.close(0)
                raise InterruptedError
            # Such a socket takes messages from the end of its handshake on (IMMEDIATE).
            if socket.poll(_POLL_MS, zmq.POLLOUT):
                return True
        return False

    def _open(self, address: str, curve: CurveClient | None) -> Socket:
        return open_dealer(
            self._context,
            address,
            routing_id=b"",
            frame_bytes_max=limits.SNAPSHOT_CHUNK_BYTES,
            send_max=limits.SNAPSHOT_WINDOW_CHUNKS,
            receive_max=limits.SNAPSHOT_WINDOW_CHUNKS * 2,
            curve=curve,
        )

    def close(self) -> None:
        """Ends every transfer; their on_done hears STOPPED. Waits for their threads, but not long
        for one whose file is still being written."""
        self._stopping.set()
        for thread in self._active.values():
            thread.join(limits.SNAPSHOT_CLOSE_MS / 1000)


class _Transfer:
    """The state of one transfer: what was sent, and up to where the receiver confirmed."""

    def __init__(
        self,
        socket: Socket,
        header: bytes,
        file: BinaryIO,
        transfer_id: int,
        offer: bytes,
        size: int,
    ) -> None:
        self._socket = socket
        self._header = header
        self._file = file
        self._transfer_id = transfer_id
        self._offer = offer
        self._size = size
        self._is_accepted = False
        self._sent = 0
        self._confirmed = 0

    def run(self, stopping: threading.Event) -> str:
        """ "" when done, else the reason of the failure."""
        offered_at = heard_at = progressed_at = -float("inf")
        started_at = time.monotonic()
        while not stopping.is_set():
            now = time.monotonic()
            if (now - max(started_at, progressed_at)) * 1000 > limits.SNAPSHOT_STALL_MS:
                return f"no progress at byte {self._confirmed} of {self._size}"
            silent_s = now - max(offered_at, heard_at)
            if silent_s * 1000 > limits.SNAPSHOT_SILENCE_MS and self._send([self._offer]):
                offered_at = now
            self._fill_window()
            before = self._confirmed
            for frame in self._receive():
                heard_at = time.monotonic()
                if isinstance(frame, Done):
                    return ""
                if isinstance(frame, Declined):
                    return f"declined: {frame.reason}"
                self._on_progress(frame.received, frame.rewind)
            # Once it has the whole file, a receiver that answers is at work on it.
            if self._confirmed > before or self._confirmed == self._size:
                progressed_at = heard_at
        return STOPPED

    def _on_progress(self, received: int, rewind: bool) -> None:
        if not 0 <= received <= self._size:
            return
        self._confirmed = received if rewind else max(self._confirmed, received)
        if rewind:
            self._is_accepted = True
            self._sent = received

    def _fill_window(self) -> None:
        while (
            self._is_accepted
            and self._sent < self._size
            and self._sent - self._confirmed < _WINDOW_BYTES
        ):
            self._file.seek(self._sent)
            data = self._file.read(min(limits.SNAPSHOT_CHUNK_BYTES, self._size - self._sent))
            if not data:
                raise OSError("the snapshot file became shorter while it was sent")
            body = encode_body(FrameKind.CHUNK, self._transfer_id, self._sent, zlib.crc32(data))
            if not self._send([body, data]):
                return
            self._sent += len(data)

    def _send(self, parts: list[bytes]) -> bool:
        try:
            self._socket.send_multipart([self._header, *parts], zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _receive(self) -> list[ReceiverFrame]:
        """What is there after at most _POLL_MS."""
        frames: list[ReceiverFrame] = []
        if not self._socket.poll(_POLL_MS):
            return frames
        while True:
            try:
                frame = decode_receiver_frame(self._socket.recv_multipart(zmq.NOBLOCK)[1:])
            except zmq.Again:
                return frames
            except Malformed:
                continue  # not one of ours; silence will bring a new offer
            if frame.transfer_id == self._transfer_id:
                frames.append(frame)
