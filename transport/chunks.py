"""Receiving snapshot files: one thread and one ROUTER, one transfer at a time. Also the door to
both ends: `from metastore.transport.chunks import SnapshotReceiver, SnapshotSender`.

Reading order 16. Knows no Raft: whether a snapshot is wanted is the caller's `accept`.
"""

import logging
import shutil
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import zmq

from metastore.transport import limits
from metastore.transport.chunk_frames import (
    Chunk,
    FrameKind,
    Offer,
    decode_sender_frame,
    encode_body,
)
from metastore.transport.counters import ANYBODY, Counters
from metastore.transport.errors import Malformed
from metastore.transport.handshake import Admission, Header, Refusal, encode_header
from metastore.transport.incoming import IncomingFile, clean_directory
from metastore.transport.peer_keys import KeyedReading, PeerSecurity
from metastore.transport.preparation import Preparation
from metastore.transport.security import SNAPSHOT_DOMAIN
from metastore.transport.snapshot_sender import SnapshotSender
from metastore.transport.socket_thread import Died, SocketThread
from metastore.transport.sockets import Context, open_router
from metastore.transport.transfers import Active, Preparing

__all__ = ["SnapshotReceiver", "SnapshotSender"]

_log = logging.getLogger("metastore.transport.chunks")
_PREPARING_POLL_MS = 20


class SnapshotReceiver:
    """Listens from the constructor on; raises BindFailed, or OSError for the directory.

    `accept(sender, meta)` and `on_received(sender, meta, path)` run on the receiver's thread and
    must not wait: the first says whether this snapshot is wanted now from this node, the second
    hands over a whole, synced and prepared file, which then belongs to the callee. Between the two,
    `prepare(sender, meta, path)` runs on another thread for as long as it likes; a file for which
    it raises is deleted and its sender is told. A newer accepted offer takes over, but not while a
    file is being prepared. `died` hears what ended the thread, unless it was `close`. Nobody is
    heard before `set_members`; with `security`, only who has a node's key."""

    def __init__(
        self,
        cluster_id: int,
        node_id: int,
        directory_id: int,
        incarnation: int,
        bind: str,
        directory: Path,
        accept: Callable[[int, dict[str, Any]], bool],
        prepare: Callable[[int, dict[str, Any], Path], None],
        on_received: Callable[[int, dict[str, Any], Path], None],
        context: Context,
        died: Died,
        *,
        security: PeerSecurity | None = None,
    ) -> None:
        clean_directory(directory)
        self._header = encode_header(Header(cluster_id, node_id, directory_id, incarnation))
        self._admission = Admission(cluster_id, node_id, {})
        self._members: tuple[Mapping[int, int], Collection[int]] = ({}, ())
        self._directory = directory
        self._accept = accept
        self._prepare = prepare
        self._on_received = on_received
        self._counters = Counters()
        self._active: Active | None = None
        self._preparing: Preparing | None = None
        self._done: Offer | None = None
        self._rewound_to = -1
        self._router, self.address = open_router(
            context,
            bind,
            frame_bytes_max=limits.SNAPSHOT_CHUNK_BYTES,
            send_max=limits.SNAPSHOT_WINDOW_CHUNKS * 2,
            receive_max=limits.SNAPSHOT_WINDOW_CHUNKS,
            curve=None if security is None else security.as_server(SNAPSHOT_DOMAIN),
        )
        self._reading = KeyedReading(self._router, security)
        self._thread = self._make_thread(context, died)
        self._thread.start()

    def set_members(self, known: Mapping[int, int], removed: Collection[int]) -> None:
        """As Admission.set_members; from any thread. It holds for the next offer."""
        self._members = (dict(known), frozenset(removed))

    def keys_changed(self) -> None:
        """`is_allowed` is asked again about every connection; from any thread."""
        self._reading.forget()

    def counters(self) -> dict[str, int]:
        """{"received" | "resumed" | "refused" | "declined" | "bad chunk" | why an offer was
        refused: count}; a copy."""
        return self._counters.as_dict().get(ANYBODY, {})

    def close(self) -> None:
        """Stops the thread and frees the port; a partial file stays for resuming. Safe twice."""
        self._thread.close()

    def _make_thread(self, context: Context, died: Died) -> SocketThread:
        return SocketThread(
            context,
            self._router,
            "snapshot-receiver",
            self._serve,
            died,
            wait_ms=lambda: None if self._preparing is None else _PREPARING_POLL_MS,
            finish=self._finish,
        )

    def _finish(self) -> None:
        self._drop_active()
        if self._preparing is not None:  # the store closes next, so it should not be in use
            self._preparing.work.wait(limits.SNAPSHOT_CLOSE_MS / 1000)

    def _serve(self) -> None:
        self._maybe_hand_over()
        self._receive_one()

    def _receive_one(self) -> None:
        try:
            (identity, *parts), key, is_allowed = self._reading.receive()
        except zmq.Again:
            return
        try:
            frame = decode_sender_frame(parts[1:])
        except Malformed:
            self._count(Refusal.MALFORMED.value)
            return
        if not is_allowed:
            self._refuse_key(identity, frame.transfer_id, key)
            return
        try:
            if isinstance(frame, Offer):
                self._on_offer(identity, parts[0], frame)
            else:
                self._on_chunk(identity, parts[0], frame)
        except Exception as error:  # a full disk, or a callback: this transfer ends, not the thread
            _log.exception("receiving a snapshot failed")
            self._drop_active()
            self._decline(identity, frame.transfer_id, f"{type(error).__name__}: {error}")

    def _refuse_key(self, identity: bytes, transfer_id: int, key: str) -> None:
        reason = Refusal.UNKNOWN_KEY.value
        if not self._counters.get(ANYBODY, reason):  # a flood of them must not fill the log
            _log.warning("refused a snapshot from a sender with the key %r: %s", key, reason)
        self._count(reason)
        self._decline(identity, transfer_id, reason)

    def _on_offer(self, identity: bytes, header: bytes, offer: Offer) -> None:
        if self._done is not None and self._done == offer:
            # The first answer was lost. Asking `accept` again would decline what is installed.
            self._answer(identity, FrameKind.DONE, offer.transfer_id)
            return
        if self._is_being_prepared(identity, offer):
            return
        sender = self._admit(header, offer)
        if isinstance(sender, str):
            self._decline(identity, offer.transfer_id, sender)
            return
        if self._preparing is not None:
            self._decline(identity, offer.transfer_id, "another snapshot is being prepared")
            return
        active = self._active
        if active is not None and active.offer == offer:
            self._active = active._replace(identity=identity)
        else:
            self._begin(identity, header, sender, offer)
        self._rewind(force=True)
        self._maybe_finish()

    def _is_being_prepared(self, identity: bytes, offer: Offer) -> bool:
        """Then the answer, once a second as long as the sender asks, tells it not to give up."""
        preparing = self._preparing
        if preparing is None or preparing.active.offer != offer:
            return False
        active = preparing.active._replace(identity=identity)
        self._preparing = preparing._replace(active=active)
        self._answer(identity, FrameKind.PROGRESS, offer.transfer_id, offer.size, True)
        return True

    def _admit(self, header: bytes, offer: Offer) -> int | str:
        """The sender's id, or why not."""
        self._admission.set_members(*self._members)
        verdict = self._admission.judge(header)
        if isinstance(verdict, Refusal):
            self._count(verdict.value)
            return verdict.value
        return verdict if self._accept(verdict, offer.meta) else "not wanted"

    def _begin(self, identity: bytes, header: bytes, sender: int, offer: Offer) -> None:
        if self._active is not None:
            previous = self._active
            self._drop_active()
            self._decline(previous.identity, previous.offer.transfer_id, "superseded")
        if shutil.disk_usage(self._directory).free < offer.size:
            raise OSError(f"no room for {offer.size} bytes")
        file = IncomingFile(self._directory, offer.size, offer.digest)
        if file.received:
            self._count("resumed")
        self._active = Active(identity, header, sender, offer, file)

    def _on_chunk(self, identity: bytes, header: bytes, chunk: Chunk) -> None:
        active = self._active
        if active is None or active.offer.transfer_id != chunk.transfer_id:
            return  # of a transfer that has ended; its sender was told
        if active.header != header or active.identity != identity:
            self._count(Refusal.MALFORMED.value)
            return
        file = active.file
        if chunk.offset < file.received:
            return  # sent twice around a rewind
        if chunk.offset > file.received:
            self._rewind()
            return
        if zlib.crc32(chunk.data) != chunk.crc32 or not file.fits(chunk.data):
            self._count("bad chunk")
            self._rewind(force=True)
            return
        file.add(chunk.data)
        self._answer(identity, FrameKind.PROGRESS, chunk.transfer_id, file.received, False)
        self._maybe_finish()

    def _rewind(self, force: bool = False) -> None:
        """Once per place unless forced: all chunks in flight behind a lost one would ask again."""
        active = self._active
        if active is None or (active.file.received == self._rewound_to and not force):
            return
        self._rewound_to = active.file.received
        transfer_id = active.offer.transfer_id
        self._answer(active.identity, FrameKind.PROGRESS, transfer_id, self._rewound_to, True)

    def _maybe_finish(self) -> None:
        active = self._active
        if active is None or not active.file.is_complete:
            return
        self._active = None
        whole = active.file.finish_or_none()
        if whole is None:
            self._decline(active.identity, active.offer.transfer_id, "the file's digest differs")
            return
        work = Preparation(lambda: self._prepare(active.sender, active.offer.meta, whole))
        self._preparing = Preparing(active, whole, work)

    def _maybe_hand_over(self) -> None:
        preparing = self._preparing
        if preparing is None or not preparing.work.is_done:
            return
        self._preparing = None
        active, path, work = preparing
        if work.failure:
            _log.error("a received snapshot was refused: %s", work.failure)
            path.unlink(missing_ok=True)
            self._count("refused")
            self._decline(active.identity, active.offer.transfer_id, work.failure)
            return
        self._done = active.offer
        self._count("received")
        self._on_received(active.sender, active.offer.meta, path)
        self._answer(active.identity, FrameKind.DONE, active.offer.transfer_id)

    def _drop_active(self) -> None:
        if self._active is not None:
            self._active.file.close()
            self._active = None

    def _decline(self, identity: bytes, transfer_id: int, reason: str) -> None:
        self._count("declined")
        self._answer(identity, FrameKind.DECLINED, transfer_id, reason)

    def _answer(self, identity: bytes, kind: FrameKind, *fields: Any) -> None:
        try:
            reply = [identity, self._header, encode_body(kind, *fields)]
            self._router.send_multipart(reply, zmq.NOBLOCK)
        except zmq.ZMQError:
            self._count("answer lost")  # the sender's silence brings the offer again

    def _count(self, reason: str) -> None:
        self._counters.count(ANYBODY, reason)
