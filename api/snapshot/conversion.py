"""Converting a backup to an etcd snapshot: `metastore convert`, as a process of its own.

Below snapshot_files. The gateway may not read what engines write, and need not: the command does
it, on another core and in memory of its own, while this process goes on serving.
"""

import asyncio
import sys
from pathlib import Path

COMMAND = ("-m", "metastore.client.command.main", "convert")
SAID_BYTES_MAX = 4096  # of what it says when it fails


class ConversionFailed(Exception):
    """There is no snapshot; the sentence is the command's own."""


async def convert(backup: Path, target: Path) -> None:
    """Writes `target`. Raises ConversionFailed, OSError. When it is cancelled, the process has
    ended before it returns."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(*COMMAND, str(backup), str(target)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()  # it has nothing to tidy up: its files are in a folder that goes
        await asyncio.shield(process.wait())
        raise
    if process.returncode:
        text = " ".join(said[-SAID_BYTES_MAX:].decode(errors="replace").split())
        raise ConversionFailed(text or f"the conversion ended with {process.returncode}")
