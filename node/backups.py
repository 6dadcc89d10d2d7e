"""Backups of a running node: a snapshot of what is applied, fetched by a client piece by piece.

Beside requests.py; drives nothing but threads of its own. The loop only decides: the snapshot is
made by the store, its file is written, hashed and read on threads, and what they did comes back
through the inbox as `Done`. A backup is an open file, so it stays whole whatever the store removes.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from metastore.engines.background import BackgroundWork
from metastore.engines.contract import SnapshotMeta, Store
from metastore.engines.files import Files
from metastore.engines.snapshot_format import SnapshotReader
from metastore.transport.backup_frames import (
    BackupRequest,
    ClientBackupFrame,
    Fetch,
    encode_backup_ready,
    encode_fetched,
)
from metastore.transport.envelope import encode_error
from metastore.transport.framing import ErrorCode

BACKUPS_MAX = 2  # at once; each is a file held open, and work for the disk
PIECES_MAX = 8  # of one backup, being read at once
IDLE_MS_MAX = 60_000  # without a FETCH; then the backup is dropped
_HASH_BYTES = 1 << 20

Name: TypeAlias = tuple[bytes, int]
"""(connection, request id of the BACKUP)"""


class _Stopped(Exception):
    """The node is closing."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An open, complete file, and what is in it."""

    descriptor: int
    size_bytes: int
    revision: int
    index: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """To the loop: a thread has made or read something for the backup `name`."""

    name: Name
    outcome: Exported | bytes | Exception
    request_id: int  # that asked for it


@dataclass(slots=True)
class _Backup:
    """`index_min`: what was applied when it was asked for. Waits for a snapshot, then for its
    export, then is fetched."""

    index_min: int
    is_waiting: bool = True
    exported: Exported | None = None
    idle_ticks: int = 0
    reading: set[int] = field(default_factory=set)  # request ids of pieces
    is_dropped: bool = False


class Backups:
    """All calls on the loop thread. `save_now` has the store make a snapshot of what is applied; it
    answers with one that is of just that already, else `on_saved` follows."""

    def __init__(
        self,
        store: Store,
        save_now: Callable[[], SnapshotMeta | None],
        answer: Callable[[bytes, bytes], None],
        report: Callable[[Done], None],
        *,
        tick_ms: int,
    ) -> None:
        self._store = store
        self._save_now = save_now
        self._answer = answer
        self._report = report
        self._idle_ticks_max = max(1, IDLE_MS_MAX // tick_ms)
        self._work = BackgroundWork()
        self._backups: dict[Name, _Backup] = {}

    @property
    def count(self) -> int:
        return len(self._backups)

    def on_frame(self, identity: bytes, frame: ClientBackupFrame) -> None:
        if isinstance(frame, BackupRequest):
            self._begin((identity, frame.request_id))
        else:
            self._fetch(identity, frame)

    def on_saved(self, error: Exception | None) -> None:
        """A snapshot of the store, whoever wanted it, is durable or failed."""
        for name, backup in list(self._backups.items()):
            if not backup.is_waiting:
                continue
            if error is not None:
                self._fail(name, f"the snapshot failed: {error}")
            else:
                self._maybe_export(name, backup)

    def on_done(self, done: Done) -> None:
        backup = self._backups.get(done.name)
        outcome = done.outcome
        if isinstance(outcome, Exported):
            if backup is None:
                os.close(outcome.descriptor)
                return
            backup.exported = outcome
            fields = (outcome.size_bytes, outcome.revision, outcome.index, outcome.sha256)
            self._answer(done.name[0], encode_backup_ready(done.request_id, *fields))
        elif backup is None:
            return
        elif isinstance(outcome, bytes):
            self._answer(done.name[0], encode_fetched(done.request_id, outcome))
            self._read(done.name, backup, done.request_id)
        else:
            self._refuse(done.name[0], done.request_id, ErrorCode.UNAVAILABLE, str(outcome))
            self._drop(done.name, backup)
            self._read(done.name, backup, done.request_id)

    def tick(self) -> None:
        for name, backup in list(self._backups.items()):
            if backup.exported is None:
                continue  # it is the node that is busy, not the client that is idle
            backup.idle_ticks += 1
            if backup.idle_ticks > self._idle_ticks_max:
                self._drop(name, backup)

    def close(self) -> None:
        """After the store, which ends an export under way; waits for the threads."""
        self._work.close()
        for name, backup in list(self._backups.items()):
            backup.reading.clear()
            self._drop(name, backup)

    def _begin(self, name: Name) -> None:
        identity, request_id = name
        if name in self._backups:
            self._refuse(identity, request_id, ErrorCode.INVALID, "this backup is under way")
        elif len(self._backups) >= BACKUPS_MAX:
            text = f"{BACKUPS_MAX} backups of this node are under way; try again later"
            self._refuse(identity, request_id, ErrorCode.UNAVAILABLE, text)
        else:
            self._backups[name] = backup = _Backup(self._store.last_applied)
            self._maybe_export(name, backup)

    def _maybe_export(self, name: Name, backup: _Backup) -> None:
        # The snapshot that has just been saved may have been begun before this was asked for.
        meta = self._store.latest_snapshot()
        if meta is None or meta.index < backup.index_min:
            meta = self._save_now()
        if meta is not None:
            backup.is_waiting = False
            work = partial(self._export, meta)
            self._start(name, name[1], work)

    def _export(self, meta: SnapshotMeta) -> Exported:
        """On a thread: the file may have to be written first, and is read once."""
        path = self._store.export_snapshot(meta)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with SnapshotReader(path, Files()) as reader:
                revision = reader.header.revision
            digest, size_bytes = hashlib.sha256(), 0
            while piece := os.pread(descriptor, _HASH_BYTES, size_bytes):
                if self._work.is_closing():
                    raise _Stopped("the node is stopping")
                digest.update(piece)
                size_bytes += len(piece)
        except BaseException:
            os.close(descriptor)
            raise
        return Exported(descriptor, size_bytes, revision, meta.index, digest.digest())

    def _fetch(self, identity: bytes, fetch: Fetch) -> None:
        name = (identity, fetch.backup_id)
        backup = self._backups.get(name)
        if backup is None or backup.exported is None or backup.is_dropped:
            text = f"there is no backup {fetch.backup_id} of this connection, or no more"
            self._refuse(identity, fetch.request_id, ErrorCode.INVALID, text)
            return
        if len(backup.reading) >= PIECES_MAX or fetch.request_id in backup.reading:
            text = f"{PIECES_MAX} pieces at once are enough"
            self._refuse(identity, fetch.request_id, ErrorCode.UNAVAILABLE, text)
            return
        backup.idle_ticks = 0
        if fetch.at >= backup.exported.size_bytes:
            self._answer(identity, encode_fetched(fetch.request_id, b""))
            self._drop(name, backup)
            return
        backup.reading.add(fetch.request_id)
        work = partial(os.pread, backup.exported.descriptor, fetch.length, fetch.at)
        self._start(name, fetch.request_id, work)

    def _start(self, name: Name, request_id: int, work: Callable[[], Exported | bytes]) -> None:
        def outcome() -> Exported | bytes | Exception:
            try:
                return work()
            except Exception as error:
                return error

        def report(result: Exported | bytes | Exception) -> None:
            self._report(Done(name, result, request_id))

        self._work.start("backup", outcome, report)

    def _read(self, name: Name, backup: _Backup, request_id: int) -> None:
        backup.reading.discard(request_id)
        if backup.is_dropped:
            self._drop(name, backup)

    def _fail(self, name: Name, reason: str) -> None:
        self._refuse(*name, ErrorCode.UNAVAILABLE, reason)
        del self._backups[name]

    def _drop(self, name: Name, backup: _Backup) -> None:
        """Its file is closed once nobody reads it any more: the number may be another file's
        then."""
        backup.is_dropped = True
        if backup.reading:
            return
        self._backups.pop(name, None)
        if backup.exported is not None:
            os.close(backup.exported.descriptor)
            backup.exported = None

    def _refuse(self, identity: bytes, request_id: int, code: ErrorCode, text: str) -> None:
        self._answer(identity, encode_error(request_id, code, text))
