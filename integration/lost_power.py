"""What a loss of power leaves of a node's data directory: of the newest log file, what was synced.

faulty_node.py writes down how far each sync came; here the rest is cut off after the process was
killed. Everything else counts as durable: the engines' own tests cut names and snapshots.
"""

import os
from pathlib import Path

# The newest of these is being appended to; the others were synced before it was begun.
LOGS = {"memory": ("wal", "*.segment"), "rocksdb": ("rocksdb/database", "*.log")}


def log_files(data_dir: Path, engine: str) -> list[Path]:
    """Oldest first."""
    folder, pattern = LOGS[engine]
    return sorted((data_dir / folder).glob(pattern))


def synced_file(data_dir: Path) -> Path:
    return data_dir.with_name(f"{data_dir.name}.synced")


def faults_that_note_syncs(data_dir: Path) -> list[str]:
    """Arguments of faulty_node.py."""
    return ["--synced", str(synced_file(data_dir))]


def lose_power(data_dir: Path, engine: str) -> int:
    """Cuts off what no sync covered; returns how many bytes that were. The process is gone."""
    newest = log_files(data_dir, engine)[-1]
    synced_bytes = 0
    for line in synced_file(data_dir).read_text().splitlines():
        size, name = line.split(" ")
        if name == newest.name:
            synced_bytes = max(synced_bytes, int(size))
    before = newest.stat().st_size
    os.truncate(newest, min(before, synced_bytes))
    return before - newest.stat().st_size
