"""File systems of a few megabytes for nodes to fill, without root: a tmpfs in a mount namespace.

The namespace lives as long as its holder, so what is on the disk outlasts the node. Where the
kernel forbids it, `SmallDisk` raises DiskRefused with the reason.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HOLD = "import sys; sys.stdout.write('here\\n'); sys.stdout.flush(); sys.stdin.read()"


class DiskRefused(Exception):
    """This machine lets nobody mount anything; says what it said."""


class SmallDisk:
    """Mounted at `path` for whoever is started with the arguments `enter` before its command."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        path.mkdir(parents=True)
        if shutil.which("unshare") is None or shutil.which("nsenter") is None:
            raise DiskRefused("unshare and nsenter are not installed")
        mount = f'mount -t tmpfs -o size={size_bytes} none "$1" && exec "$2" -c "$3"'
        arguments = ["unshare", "-rm", "sh", "-c", mount, "sh", str(path), sys.executable, HOLD]
        self._holder = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if self._holder.stdout is None or self._holder.stderr is None:
            raise DiskRefused("no pipe to the holder")
        if self._holder.stdout.readline() != b"here\n":
            raise DiskRefused(self._holder.stderr.read().decode().strip())
        pid = str(self._holder.pid)
        self.enter = ["nsenter", "-t", pid, "-U", "-m", "--preserve-credentials"]
        self.inside = Path(f"/proc/{pid}/root{path}")

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.inside).free

    def fill(self, leave_bytes: int) -> Path:
        """A file beside the node's, so that so much is free; remove it to make room."""
        ballast = self.inside / "ballast"
        with ballast.open("wb") as file:
            file.write(bytes(max(0, self.free_bytes() - leave_bytes)))
            os.fsync(file.fileno())
        return ballast

    def close(self) -> None:
        self._holder.communicate()
