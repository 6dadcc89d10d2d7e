"""A snapshot file on its way in: written aside, resumable, whole only after its digest agrees.

Reading order 14. Only the receiver's thread uses it. Every method may raise OSError (a full disk).
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

_READ_BYTES = 1 << 20
_PARTIAL = "partial-"
_WHOLE = "whole-"


def clean_directory(directory: Path) -> None:
    """Makes the directory; removes whole files that nobody took over. Partial ones stay, for
    resuming."""
    directory.mkdir(parents=True, exist_ok=True)
    for left_over in directory.glob(f"{_WHOLE}*"):
        left_over.unlink()


def digest_of(path: Path, is_stopping: Callable[[], bool]) -> tuple[int, bytes]:
    """(size in bytes, sha256) by reading the file once; InterruptedError when told to stop."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            if is_stopping():
                raise InterruptedError("stopped")
            digest.update(block)
            size += len(block)
    return size, digest.digest()


class IncomingFile:
    """`received` bytes are on the file and in the digest. A directory keeps one partial file."""

    def __init__(self, directory: Path, size: int, digest: bytes) -> None:
        self._directory = directory
        self._name = f"{digest.hex()}-{size}"
        self._size = size
        self._expected = digest
        self._path = directory / f"{_PARTIAL}{self._name}"
        for other in directory.glob(f"{_PARTIAL}*"):
            if other != self._path:
                other.unlink()
        self._digest = hashlib.sha256()
        self.received = 0
        self._file = self._path.open("a+b")
        self._resume()

    def _resume(self) -> None:
        self._file.truncate(min(self._size, os.fstat(self._file.fileno()).st_size))
        self._file.seek(0)
        while block := self._file.read(_READ_BYTES):
            self._digest.update(block)
            self.received += len(block)

    @property
    def is_complete(self) -> bool:
        return self.received == self._size

    def fits(self, data: bytes) -> bool:
        return self.received + len(data) <= self._size

    def add(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.received += len(data)

    def finish_or_none(self) -> Path | None:
        """The whole file, synced; None when the digest differs, and then it is gone."""
        if self._digest.digest() != self._expected:
            self.discard()
            return None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._path.rename(self._directory / f"{_WHOLE}{self._name}")

    def close(self) -> None:
        """Keeps what is there, for resuming."""
        self._file.close()

    def discard(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)
