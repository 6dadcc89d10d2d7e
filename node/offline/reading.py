"""Files that are only ever read, whatever the code above them would like to repair.

Reading order 2 of the offline tools. The engines' own recovery runs over these, so that an offline
look comes to the same verdict as a start would; what a start would cut or remove stays.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from metastore.engines.files import Files

Progress: TypeAlias = Callable[[str, int, int], None]
"""(what is being read, how much of it, of how much in all; 0: not known)"""

_READ_BYTES = 1 << 20
_NO_DESCRIPTOR = -1


class WouldWrite(OSError):
    """Something would have to be made that a start makes: there is nothing here to read."""


class ReadingFiles(Files):
    """Everything that changes a file does nothing; making one raises WouldWrite."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def make_directory(self, directory: Path) -> None:
        if not directory.is_dir():
            raise WouldWrite(f"{directory} does not exist")

    def create(self, path: Path) -> int:
        raise WouldWrite(f"{path} does not exist")

    def open_append(self, path: Path) -> int:
        return _NO_DESCRIPTOR

    def open_read(self, path: Path) -> BinaryIO:
        return io.BufferedReader(_Counted(path, self._progress), _READ_BYTES)

    def write(self, descriptor: int, data: bytes) -> None:
        raise WouldWrite("nothing is written here")

    def sync(self, descriptor: int) -> None:
        pass

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        pass

    def close(self, descriptor: int) -> None:
        pass

    def rename(self, source: Path, target: Path) -> None:
        raise WouldWrite(f"{source} stays where it is")

    def remove(self, path: Path) -> None:
        pass

    def sync_directory(self, directory: Path) -> None:
        pass


class _Counted(io.FileIO):
    """Tells how far it has been read."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(path, "rb")
        self._what = path.name
        self._size_bytes = os.fstat(self.fileno()).st_size
        self._progress = progress

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer) or 0
        self._progress(self._what, self.tell(), self._size_bytes)
        return count

    def readall(self) -> bytes:
        data = super().readall() or b""
        self._progress(self._what, self.tell(), self._size_bytes)
        return data
