"""Fetching a backup from one node: ask for it, take its pieces in order, check every byte.

Reading order 24 of the client, beside client.py. A connection of its own to exactly one node, since
a backup is one node's; nothing here is sent again elsewhere.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import zmq
from zmq.utils.monitor import recv_monitor_message

from metastore.client import verdicts
from metastore.client.errors import InvalidRequest, Unavailable
from metastore.client.security import (
    HANDSHAKE_FAILURES,
    ClientSecurity,
    is_of_server_key,
    why_failed,
)
from metastore.transport import envelope
from metastore.transport.backup_frames import (
    BackupReady,
    Fetched,
    NodeBackupFrame,
    decode_node_backup_frame,
    encode_backup_request,
    encode_fetch,
)
from metastore.transport.errors import Malformed
from metastore.transport.framing import ErrorCode, decode_array
from metastore.transport.limits import ANSWER_FRAME_BYTES_MAX, BACKUP_PIECE_BYTES_MAX
from metastore.transport.security import CurveClient
from metastore.transport.sockets import set_curve_client

WINDOW_PIECES = 4  # asked for and not there yet
GREETING_S = 1.0  # between two signs of life that a node at work is asked for
RETRY_S = 0.2  # until a node that is behind, or has no hand free, is asked again
UNFINISHED = ".unfinished"  # after the name of a file that is being fetched

Answer = NodeBackupFrame | envelope.Welcome


class BackupFacts(NamedTuple):
    endpoint: str
    size_bytes: int
    revision: int
    snapshot_index: int
    sha256: bytes


class _NotNow(Exception):
    """The node says that it may be asked again."""


def fetch_backup(
    context: "zmq.Context[Any]",
    endpoint: str,
    target: Path,
    *,
    check: Callable[[Path], object],
    revision_min: int = 0,
    silence_s: float = 5.0,
    patience_s: float = 60.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    security: ClientSecurity | None = None,
) -> BackupFacts:
    """Has the node at `endpoint` make a backup of a revision >= `revision_min`, fetches it aside,
    checks it (`check` may raise), makes it durable and gives it the name `target`. Waits
    `patience_s` for the node to make it, `silence_s` for any answer. `progress` is called with
    (0, 0) about every second until it is ready, and may raise to end it all. Raises Unavailable,
    InvalidRequest (PermissionDenied), OSError; then there is no new file, and an old one is as it
    was."""
    aside = target.with_name(target.name + UNFINISHED)
    connection = _Connection(context, endpoint, silence_s, security)
    try:
        deadline = time.monotonic() + patience_s
        ready = _wait_until_ready(connection, revision_min, deadline, lambda: progress(0, 0))
        with aside.open("wb") as file:
            digest = _fetch(connection, ready, file.write, progress)
            file.flush()
            os.fsync(file.fileno())
        if digest != ready.sha256:
            raise Unavailable(f"{endpoint}: what arrived is not what was sent (SHA-256 differs)")
        check(aside)
        aside.replace(target)
        _sync_directory(target.parent)
    finally:
        connection.close()
        aside.unlink(missing_ok=True)
    return BackupFacts(
        endpoint, ready.size_bytes, ready.revision, ready.snapshot_index, ready.sha256
    )


def _wait_until_ready(
    connection: "_Connection", revision_min: int, deadline: float, look: Callable[[], None]
) -> BackupReady:
    """A node that is behind, or busy with others' backups, is asked again until the deadline."""
    while True:
        look()
        request_id = connection.ask_backup()
        try:
            ready = connection.wait_alive(request_id, deadline, look)
        except _NotNow as reason:
            trouble = str(reason)
        else:
            if not isinstance(ready, BackupReady):
                raise Unavailable(f"{connection.endpoint} answered with something else")
            if ready.revision >= revision_min:
                return ready
            connection.ask_piece(ready, ready.size_bytes)  # it may be dropped
            trouble = (
                f"{connection.endpoint} is behind: revision {ready.revision} of {revision_min}"
            )
        if time.monotonic() + RETRY_S > deadline:
            raise Unavailable(trouble)
        time.sleep(RETRY_S)


def _fetch(
    connection: "_Connection",
    ready: BackupReady,
    write: Callable[[bytes], object],
    progress: Callable[[int, int], None],
) -> bytes:
    """The SHA-256 of what arrived, which is as long as was promised."""
    digest, done, asked = hashlib.sha256(), 0, 0
    under_way: deque[int] = deque()
    try:
        while done < ready.size_bytes:
            while asked < ready.size_bytes and len(under_way) < WINDOW_PIECES:
                under_way.append(connection.ask_piece(ready, asked))
                asked = min(asked + BACKUP_PIECE_BYTES_MAX, ready.size_bytes)
            piece = connection.wait(under_way.popleft())
            length = min(BACKUP_PIECE_BYTES_MAX, ready.size_bytes - done)
            if not isinstance(piece, Fetched) or len(piece.data) != length:
                raise Unavailable(f"{connection.endpoint} sent a piece of another size")
            digest.update(piece.data)
            write(piece.data)
            done += length
            progress(done, ready.size_bytes)
    except _NotNow as reason:
        raise Unavailable(str(reason)) from None
    connection.ask_piece(ready, ready.size_bytes)  # the node may drop it
    return digest.digest()


def _open(context: "zmq.Context[Any]", endpoint: str, curve: CurveClient | None) -> Any:
    socket = context.socket(zmq.DEALER)
    socket.linger = 1000  # ms, for the last frame: it lets the node drop the backup
    try:
        if curve is not None:
            set_curve_client(socket, curve)
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close(0)
        raise InvalidRequest(f"{endpoint}: {error}") from None
    return socket


def _find_key(
    context: "zmq.Context[Any]", endpoint: str, security: ClientSecurity, timeout_s: float
) -> CurveClient:
    """The keys with which the endpoint lets us in. Raises Unavailable."""
    why = "it does not answer; is it its client address?"
    for _ in range(security.server_keys_count):
        curve = security.curve(endpoint)
        with context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            monitor = socket.get_monitor_socket(HANDSHAKE_FAILURES | zmq.EVENT_HANDSHAKE_SUCCEEDED)
            try:
                set_curve_client(socket, curve)
                socket.connect(endpoint)
                if not monitor.poll(int(timeout_s * 1000)):
                    break
                found = recv_monitor_message(monitor)
            finally:
                socket.disable_monitor()
                monitor.close(0)
        if found["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            security.on_worked(endpoint, curve)
            return curve
        why = why_failed(found["event"], found["value"], curve)
        if not is_of_server_key(found["event"]):
            break
        security.on_failed(endpoint, curve)
    raise Unavailable(f"{endpoint}: {why}")


class _Connection:
    """To one node. Answers are kept by request id until they are waited for."""

    def __init__(
        self,
        context: "zmq.Context[Any]",
        endpoint: str,
        silence_s: float,
        security: ClientSecurity | None,
    ) -> None:
        self.endpoint = endpoint
        self._silence_s = silence_s
        self._answers: dict[int, Answer | envelope.Error] = {}
        self._last_id = 0
        curve = None if security is None else _find_key(context, endpoint, security, silence_s)
        self._socket = _open(context, endpoint, curve)

    def ask_backup(self) -> int:
        return self._send(encode_backup_request)

    def ask_piece(self, ready: BackupReady, at: int) -> int:
        backup_id = ready.request_id
        return self._send(lambda own: encode_fetch(own, backup_id, at, BACKUP_PIECE_BYTES_MAX))

    def wait(self, request_id: int) -> Answer:
        """Raises Unavailable for a refusal or when nothing came in time, _NotNow."""
        deadline = time.monotonic() + self._silence_s
        while request_id not in self._answers:
            left_ms = int((deadline - time.monotonic()) * 1000)
            if left_ms <= 0 or not self._socket.poll(left_ms):
                raise Unavailable(f"{self.endpoint} does not answer; is it its client address?")
            for frame in self._socket.recv_multipart():
                self._take(frame)
        answer = self._answers.pop(request_id)
        if not isinstance(answer, envelope.Error):
            return answer
        text = f"{self.endpoint}: {answer.message}"
        if answer.code == ErrorCode.UNAVAILABLE:
            raise _NotNow(text)
        if answer.code == ErrorCode.PERMISSION_DENIED:
            raise verdicts.refusal(answer.code, text)
        raise Unavailable(text)

    def wait_alive(self, request_id: int, deadline: float, look: Callable[[], None]) -> Answer:
        """Of a node that has much to do: greets it meanwhile, to see that it lives."""
        while request_id not in self._answers:
            look()
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.endpoint} has not made the backup in time")
            self.wait(self._send(envelope.encode_hello))
            until = min(deadline, time.monotonic() + GREETING_S)
            while request_id not in self._answers and (left := until - time.monotonic()) > 0:
                if self._socket.poll(int(left * 1000) + 1):
                    for frame in self._socket.recv_multipart():
                        self._take(frame)
        return self.wait(request_id)

    def close(self) -> None:
        self._socket.close()

    def _send(self, encode: Callable[[int], bytes]) -> int:
        self._last_id += 1
        try:
            self._socket.send(encode(self._last_id), zmq.NOBLOCK)
        except zmq.Again:
            raise Unavailable(f"{self.endpoint} takes no more requests") from None
        return self._last_id

    def _take(self, frame: bytes) -> None:
        try:
            fields = decode_array(frame, ANSWER_FRAME_BYTES_MAX)
            answer = decode_node_backup_frame(fields) or envelope.decode_node_frame(frame)
        except Malformed as error:
            raise Unavailable(
                f"{self.endpoint} sent something that is no answer: {error}"
            ) from None
        if isinstance(answer, BackupReady | Fetched | envelope.Welcome | envelope.Error):
            self._answers[answer.request_id] = answer


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
