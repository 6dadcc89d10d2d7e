"""The messages of one Maintenance.Snapshot: a bbolt file in pieces, and its SHA-256 as the last.

As in etcd it is the snapshot of the member that is asked, and the cluster need have no leader; one
that has is asked for its revision first, so that every write that was answered before is in it.
Nothing is held in memory but a piece: backup and snapshot are files without a name.
"""

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.snapshot.conversion import ConversionFailed, convert
from metastore.client import errors
from metastore.client.backups import fetch_backup
from metastore.client.security import ClientSecurity
from metastore.transport.schema import range_

VERSION = "3.5.0"  # of the storage that the file is made for
BLOB_BYTES = 256 << 10
HASH_BYTES = 32
AT_ONCE_MAX = 2  # snapshots of one gateway; a node makes two backups at a time, too
REVISION_S = 2.0  # until a cluster that does not answer counts as one without a leader
PATIENCE_S = 60.0  # for the node to make its backup


class _ClientLeft(Exception):
    """Nobody waits for the backup any more."""


class SnapshotFiles:
    """For one gateway. `folder`: where the files lie while they are sent, twice the size of the
    data (None: the system's, for temporary files)."""

    def __init__(
        self,
        link: NodeLink,
        *,
        context: "zmq.Context[zmq.Socket[bytes]]",
        security: ClientSecurity | None = None,
        folder: Path | None = None,
    ) -> None:
        self._link = link
        self._context = context
        self._security = security
        self._folder = folder
        self._room = asyncio.Semaphore(AT_ONCE_MAX)

    async def messages(self, caller: Caller) -> AsyncIterator[Any]:
        """SnapshotResponse by SnapshotResponse. Whether the caller may is not asked here. Raises
        ApiError."""
        async with self._room:
            descriptor = await self._make()
            try:
                async for message in _messages(descriptor):
                    yield message
            except OSError as error:
                raise _failed(error) from None
            finally:
                os.close(descriptor)

    async def _make(self) -> int:
        """The open file of a new snapshot, which has no name any more."""
        revision = await self._revision()
        try:
            with self._new_folder() as made:
                backup, snapshot = Path(made, "backup"), Path(made, "snapshot")
                with _leaving() as has_left:
                    await asyncio.to_thread(self._fetch, backup, revision, has_left)
                await convert(backup, snapshot)
                return os.open(snapshot, os.O_RDONLY | os.O_CLOEXEC)
        except errors.PermissionDenied as error:
            raise ApiError(Status.PERMISSION_DENIED, str(error)) from None
        except errors.MetastoreError as error:
            raise ApiError(Status.UNAVAILABLE, f"etcdserver: no snapshot: {error}") from None
        except (ConversionFailed, OSError) as error:
            raise _failed(error) from None

    def _new_folder(self) -> "tempfile.TemporaryDirectory[str]":
        # The thread of a call that has ended may still put something into it.
        return tempfile.TemporaryDirectory(
            prefix="metastore-", dir=self._folder, ignore_cleanup_errors=True
        )

    async def _revision(self) -> int:
        """That all that was answered is in; 0: nobody can tell."""
        question = range_(b"\0", limit=1, keys_only=True)
        try:
            answer = await self._link.ask_as_gateway(question, timeout_s=REVISION_S)
        except ApiError:
            return 0
        return int(answer[1])

    def _fetch(self, backup: Path, revision: int, has_left: threading.Event) -> None:
        """On a thread."""

        def look(done: int, total: int) -> None:
            if has_left.is_set():
                raise _ClientLeft

        fetch_backup(
            self._context,
            self._link.client_address,
            backup,
            check=lambda path: None,  # the conversion reads all of it, and checks what it reads
            revision_min=revision,
            patience_s=PATIENCE_S,
            progress=look,
            security=self._security,
        )


@contextmanager
def _leaving() -> Iterator[threading.Event]:
    """Set when the block is left by an error, as by the end of the call."""
    has_left = threading.Event()
    try:
        yield has_left
    finally:
        has_left.set()


async def _messages(descriptor: int) -> AsyncIterator[Any]:
    size_bytes = os.fstat(descriptor).st_size - HASH_BYTES
    done = 0
    while done < size_bytes:
        length = min(BLOB_BYTES, size_bytes - done)
        blob = await asyncio.to_thread(os.pread, descriptor, length, done)
        if len(blob) != length:
            raise OSError("the snapshot became shorter")
        done += length
        yield _message(size_bytes - done, blob)
    yield _message(0, os.pread(descriptor, HASH_BYTES, size_bytes))


def _message(remaining_bytes: int, blob: bytes) -> Any:
    return rpc.SnapshotResponse(remaining_bytes=remaining_bytes, blob=blob, version=VERSION)


def _failed(error: Exception) -> ApiError:
    return ApiError(Status.UNKNOWN, f"etcdserver: no snapshot: {error}")
