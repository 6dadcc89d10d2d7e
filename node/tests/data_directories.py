"""Data directories of both engines for the tests of the offline tools, made by the real parts."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from queue import Queue

import pytest
from founding import founders

from metastore.engines.contract import LogRecord
from metastore.node.identity import open_data_directory
from metastore.node.members.records import MemberRecord
from metastore.node.offline.restore import opened_engine
from metastore.node.offline.verify import Finding, Verdict, verify_directory
from metastore.node.recovery import recover
from metastore.transport import schema
from metastore.transport.schema import Operation

ENGINES = ("memory", "rocksdb")
CLUSTER_ID = 5
NODE_ID = 1
TERM = 2
LEASE = 0x4D
SESSION = 0x51
REVISION = 8  # after all of the entries
TXN = schema.txn(
    [schema.compare(schema.CompareTarget.VALUE, schema.CompareResult.EQUAL, b"b", b"1")],
    [schema.put(b"c", b"yes"), schema.put(b"d", b"yes")],
    [schema.put(b"c", b"no")],
)
REQUESTS: Sequence[Sequence[Operation]] = (
    [schema.put(b"a", b"0")],
    [schema.put(b"b", b"1")],
    [(int(schema.Op.LEASE_GRANT), LEASE, 100)],
    [schema.put(b"leased", b"l", lease=LEASE)],
    [(int(schema.Op.SESSION_OPEN), SESSION)],
    [(int(schema.Op.SESSION), SESSION, 1, 0), schema.put(b"a", b"2")],
    [TXN],
    [schema.put(b"gone", b"x")],
    [schema.delete_range(b"gone")],
)
CONTENTS = {b"a": b"2", b"b": b"1", b"c": b"yes", b"d": b"yes", b"leased": b"l"}


def entries() -> list[LogRecord]:
    """One request an entry, from index 2 on (1 is the beginning that every log has)."""
    return [
        LogRecord(TERM, index, 0, schema.encode_batch([schema.encode_request(request)]))
        for index, request in enumerate(REQUESTS, 2)
    ]


LAST_INDEX = 1 + len(REQUESTS)


def quiet(what: str, done: int, total: int) -> None:
    pass


def make_directory(
    path: Path,
    engine: str,
    *,
    snapshot_after: int = 0,
    crashed: Path | None = None,
    members: Sequence[MemberRecord] = tuple(founders([NODE_ID])),
) -> Path:
    """As a node leaves it that is stopped. `snapshot_after`: saved after so many entries;
    `crashed`: gets a copy as a crash would leave it. `members` found the cluster."""
    if engine == "rocksdb":
        pytest.importorskip("rocksdict")
    directory = open_data_directory(path, CLUSTER_ID, NODE_ID, engine)
    with opened_engine(path, directory.identity) as (store, log):
        recover(log, store, members)
        directory.note_log()
        for count, entry in enumerate(entries(), 1):
            log.append([entry], (TERM, NODE_ID, entry.index), None)
            log.sync()
            store.apply([entry])
            if count == snapshot_after:
                saved: Queue[Exception | None] = Queue()
                store.save_snapshot(saved.put)
                assert saved.get(timeout=30) is None
        if crashed is not None:
            shutil.copytree(path, crashed)
    directory.close()
    return path


def make_backup(path: Path, folder: Path, engine: str = "memory") -> Path:
    """The file that a node with all of the entries gives out; `folder` is for its data."""
    make_directory(folder, engine, snapshot_after=len(REQUESTS))
    directory = open_data_directory(folder, CLUSTER_ID, NODE_ID, engine)
    with opened_engine(folder, directory.identity) as (store, _):
        meta = store.latest_snapshot()
        assert meta is not None
        path.write_bytes(store.export_snapshot(meta).read_bytes())
    directory.close()
    return path


def fingerprint(path: Path) -> dict[str, tuple[int, str]]:
    """Every file and folder: when it was changed, and its contents."""
    found = {}
    for file in [path, *sorted(path.rglob("*"))]:
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
        found[str(file)] = (os.stat(file).st_mtime_ns, content)
    return found


def damage(file: Path, place: int) -> None:
    """Turns the bits of one byte over."""
    data = bytearray(file.read_bytes())
    data[place] ^= 0xFF
    file.write_bytes(data)


def findings(path: Path, **wanted: int) -> list[Finding]:
    return list(verify_directory(path, quiet, **wanted))


def damages(path: Path) -> list[tuple[str, str]]:
    found = findings(path)
    return [(f.part, f.sentence) for f in found if f.verdict is Verdict.DAMAGED]
