"""etcd snapshots for tests: made from what they hold, without an etcd."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from data_directories import CLUSTER_ID, LEASE, NODE_ID, quiet
from founding import founders

from metastore.node.members.records import MemberRecord
from metastore.node.offline.etcd import buckets
from metastore.node.offline.etcd.bolt_writer import BoltWriter
from metastore.node.offline.etcd.messages import encode, encode_key_value, encode_lease
from metastore.node.offline.restore import Restored, new_identity, restore
from metastore.transport.member_ops import Role

Items = list[tuple[bytes, bytes]]


def put(
    key: bytes,
    value: bytes,
    revision: int,
    *,
    place: int = 0,
    create: int = 0,
    version: int = 1,
    lease: int = 0,
) -> tuple[bytes, bytes]:
    record = (key, value, create or revision, revision, version, lease)
    return buckets.encode_revision(revision, place), encode_key_value(record)


def deletion(key: bytes, revision: int, place: int = 0) -> tuple[bytes, bytes]:
    return buckets.encode_revision(revision, place, is_deletion=True), encode((1, key))


def lease(number: int, ttl_s: int) -> tuple[bytes, bytes]:
    return buckets.LEASE_ID.pack(number), encode_lease(number, ttl_s, 0)


def meta(index: int = 20, term: int = 3, compacted: int = 0, scheduled: int = 0) -> Items:
    found = [(buckets.CONSISTENT_INDEX, buckets.U64.pack(index))]
    if compacted:
        found.append((buckets.FINISHED_COMPACT, buckets.encode_revision(compacted, 0)))
    if scheduled:
        found.append((buckets.SCHEDULED_COMPACT, buckets.encode_revision(scheduled, 0)))
    return [*found, (buckets.TERM, buckets.U64.pack(term))]


def write(
    path: Path, keys: Sequence[tuple[bytes, bytes]], has_hash: bool = True, **others: Items
) -> Path:
    """`others`: the contents of further buckets by name."""
    with path.open("wb+") as file:
        writer = BoltWriter(file)
        writer.bucket(buckets.KEY, keys)
        for name, items in ({"meta": meta(), "lease": []} | others).items():
            writer.bucket(name.encode(), items)
        writer.finish()
    if has_hash:
        seal(path)
    return path


def seal(path: Path) -> None:
    """Puts the hash behind it."""
    data = path.read_bytes()
    path.write_bytes(data + hashlib.sha256(data).digest())


KEYS = [
    put(b"a", b"1", 2),
    put(b"b", b"1", 3, lease=LEASE),
    put(b"a", b"2", 4, create=2, version=2),
    put(b"t", b"1", 5),
    put(b"s", b"1", 5, place=1),
    deletion(b"b", 6),
    put(b"b", b"2", 7, lease=LEASE),
]
LEASES = [lease(LEASE, 100)]


def make(
    snapshot: Path, path: Path, engine: str = "memory", role: Role = Role.VOTER, **options: Any
) -> Restored:
    if engine == "rocksdb":
        pytest.importorskip("rocksdict")
    members = founders([1, 2])
    if role is not Role.VOTER:
        members[0] = MemberRecord(1, role.value, "", "", "", "")
    identity = new_identity(CLUSTER_ID, NODE_ID, engine)
    return restore(snapshot, path, identity, members, quiet, **options)
