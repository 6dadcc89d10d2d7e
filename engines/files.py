"""The few file operations that durability rests on, behind one object.

Reading order 12 of the engines. The log and the snapshot files touch the disk only through here, so
a test can put a file system in its place that fails, fills up or forgets what was never synced.
"""

import os
from pathlib import Path
from typing import BinaryIO

_READ_BYTES = 1 << 20


class Files:
    """The real file system. Every method raises OSError; nothing is retried: a failed sync may have
    dropped the pages it could not write, and a second one would then succeed over a hole."""

    def make_directory(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)

    def names(self, directory: Path) -> list[str]:
        """File names in the directory, ascending."""
        return sorted(entry.name for entry in os.scandir(directory) if entry.is_file())

    def create(self, path: Path) -> int:
        """A descriptor of a new, empty file for appending; what stood under the name is emptied."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, 0o644)

    def open_append(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def open_read(self, path: Path) -> BinaryIO:
        return open(path, "rb", buffering=_READ_BYTES)

    def write(self, descriptor: int, data: bytes) -> None:
        """Writes all of it; the usual case is one system call."""
        written = os.write(descriptor, data)
        if written == len(data):
            return
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        os.ftruncate(descriptor, size_bytes)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def sync_directory(self, directory: Path) -> None:
        """Makes created, renamed and removed names durable (a file's own sync does not)."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
