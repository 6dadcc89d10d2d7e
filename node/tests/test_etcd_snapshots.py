"""etcd snapshots: a backup comes back from one as it was, and a bad one changes nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import etcd_snapshots as etcd
import pytest
from data_directories import CLUSTER_ID, LEASE, NODE_ID, TERM, make_backup, quiet
from etcd_snapshots import KEYS, LEASES, make

from metastore.engines.auth.tables import User
from metastore.engines.contract import LogRecord, SnapshotMeta, StorageDamaged, Store
from metastore.engines.files import Files
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.records import KeyValue
from metastore.engines.snapshot_format import SnapshotHeader, SnapshotReader, write_snapshot
from metastore.engines.state import State
from metastore.node.identity import open_data_directory
from metastore.node.members.records import Membership
from metastore.node.offline.etcd import adoption, buckets, export
from metastore.node.offline.etcd.adoption import adopt_snapshot
from metastore.node.offline.etcd.bolt_reader import BoltReader
from metastore.node.offline.etcd.export import export_snapshot
from metastore.node.offline.etcd.messages import encode
from metastore.node.offline.etcd.snapshot_file import check_hash
from metastore.node.offline.restore import (
    BUMP_REVISION,
    opened_engine,
)
from metastore.node.offline.verify import Verdict, verify_directory
from metastore.transport import schema
from metastore.transport.member_ops import Role
from metastore.transport.spill import SpillingSorter

ENGINES = pytest.mark.parametrize("engine", ["memory", "rocksdb"])


def contents(path: Path) -> tuple[Any, ...]:
    """Everything but sessions and where in the log it is."""
    with SnapshotReader(path, Files()) as reader:
        versions = [list(group) for group in reader.versions()]
        order = [(revision, list(keys)) for revision, keys in reader.order()]
        facts = [fact for fact in reader.facts() if not fact[0].startswith((b"reply", b"sess"))]
        header = reader.header
    return header.revision, header.compacted_revision, versions, order, without_size(facts)


def without_size(facts: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """How much space a store takes is worked out anew."""
    return [fact for fact in facts if fact[0] != b"scalars"]


def record(key: bytes, revision: int, version: int = 1, create: int = 0, **more: Any) -> KeyValue:
    return (
        key,
        more.get("value", b"v%d" % revision),
        create or revision,
        revision,
        version,
        more.get("lease", 0),
    )


def grave(key: bytes, revision: int) -> KeyValue:
    return (key, b"", 0, revision, 0, 0)


VERSIONS = [
    [record(b"a", 2), record(b"a", 5, 2, 2), record(b"a", 9, 3, 2)],
    [record(b"b", 5), grave(b"b", 7), record(b"b", 9)],
    [record(b"c", 3), grave(b"c", 5)],
    [record(b"leased", 8, lease=LEASE)],
]
ORDER = [(5, [b"c", b"a", b"b"]), (9, [b"b", b"a"])]


def own_backup(path: Path, compacted: int = 2) -> Path:
    state = State(MemoryRecords())
    state.leases.add(LEASE, 100)
    state.leases.attach(LEASE, b"leased")
    state.auth.put_role("root", ())
    state.auth.put_role("r", ((0, b"a", b""), (2, b"k", b"\0"), (1, b"p", b"q")))
    state.auth.put_user("root", User(b"$2b$10$hash", 3, ("root",)))
    state.auth.put_user("cert", User(b"", 3, ("r", "root")))
    state.auth.enable(b"")
    state.auth.revision = 3
    state.keys.revision, state.keys.compacted_revision = 9, compacted
    header = SnapshotHeader(SnapshotMeta(40, 4, Membership().encode()), 9, compacted)
    order = [one for one in ORDER if one[0] >= compacted]
    write_snapshot(path, Files(), header, VERSIONS, order, state.all_facts())
    return path


@pytest.mark.parametrize("run_bytes", [1, 32 << 20])
@pytest.mark.parametrize("compacted", [0, 2, 5, 6, 8, 9])
def test_a_backup_comes_back_from_an_etcd_snapshot_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compacted: int, run_bytes: int
) -> None:
    for module in (export, adoption):
        monkeypatch.setattr(
            module, "SpillingSorter", lambda folder: SpillingSorter(folder, run_bytes=run_bytes)
        )
    backup = own_backup(tmp_path / "backup", compacted)
    export_snapshot(backup, tmp_path / "etcd", quiet)
    check_hash(tmp_path / "etcd", quiet)
    adopted = adopt_snapshot(tmp_path / "etcd", tmp_path / "back", quiet)
    assert contents(tmp_path / "back") == contents(backup)
    assert adopted.header.meta == SnapshotMeta(40, 4, Membership().encode())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"backup", "etcd", "back"}


@ENGINES
def test_the_backup_of_a_node_comes_back_without_its_sessions(tmp_path: Path, engine: str) -> None:
    backup = make_backup(tmp_path / "backup", tmp_path / "old", engine)
    export_snapshot(backup, tmp_path / "etcd", quiet)
    adopt_snapshot(tmp_path / "etcd", tmp_path / "back", quiet)
    assert contents(tmp_path / "back") == contents(backup)


def test_the_changes_of_one_revision_stand_in_their_order_and_deletions_have_a_mark(
    tmp_path: Path,
) -> None:
    export_snapshot(own_backup(tmp_path / "backup"), tmp_path / "etcd", quiet)
    with BoltReader(tmp_path / "etcd") as reader:
        found = [(buckets.decode_revision(name), value) for name, value in reader.items(b"key")]
        places = [place for place, _ in found]
        assert places == sorted(places)
        assert [place for place in places if place[0] == 5] == [
            (5, 0, True),
            (5, 1, False),
            (5, 2, False),
        ]
        assert dict(found)[5, 0, True] == encode((1, b"c"))
        known = dict(reader.items(b"meta"))
        assert known[b"finishedCompactRev"] == buckets.encode_revision(2, 0)
        assert known[b"consistent_index"] == buckets.U64.pack(40)
        assert set(reader.buckets) >= {b"members", b"members_removed", b"cluster", b"alarm"}


def test_a_backup_that_is_cut_short_makes_no_snapshot(tmp_path: Path) -> None:
    backup = own_backup(tmp_path / "backup")
    backup.write_bytes(backup.read_bytes()[:-3])
    with pytest.raises(StorageDamaged):
        export_snapshot(backup, tmp_path / "etcd", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


# Restoring


@contextmanager
def opened(path: Path, engine: str = "memory") -> Iterator[Store]:
    directory = open_data_directory(path, CLUSTER_ID, NODE_ID, engine)
    with opened_engine(path, directory.identity) as (store, _):
        yield store
    directory.close()


def ask(store: Store, *operations: schema.Operation) -> Sequence[Any]:
    return schema.decode_results(store.read(schema.encode_request(operations)))


@ENGINES
def test_keys_keep_their_revisions_versions_history_and_leases(tmp_path: Path, engine: str) -> None:
    snapshot = etcd.write(tmp_path / "etcd", KEYS, lease=LEASES)
    made = make(snapshot, tmp_path / "new", engine)
    assert (made.revision, made.compacted_revision, made.key_count) == (7, 0, 4)
    with opened(tmp_path / "new", engine) as store:
        ((_, revision, items, _, _),) = ask(store, schema.range_(b"\0", b"\0"))
        assert revision == 7
        assert items == (
            (b"a", b"2", 2, 4, 2, 0),
            (b"b", b"2", 7, 7, 1, LEASE),
            (b"s", b"1", 5, 5, 1, 0),
            (b"t", b"1", 5, 5, 1, 0),
        )
        ((_, _, before, _, _),) = ask(store, schema.range_(b"\0", b"\0", revision=3))
        assert [item[:2] for item in before] == [(b"a", b"1"), (b"b", b"1")]
        changes = [(event[0], event[3], event[4]) for event, _ in store.history(1, 7)]
        assert changes[3:6] == [(b"t", 5, 1), (b"s", 5, 1), (b"b", 6, 0)]
        ((_, _, left_s, granted_s, keys),) = ask(
            store, (int(schema.Op.LEASE_TIME_TO_LIVE), LEASE, True)
        )
        assert (left_s, granted_s, keys) == (100, 100, (b"b",))
    sound = {finding.verdict for finding in verify_directory(tmp_path / "new", quiet)}
    assert sound == {Verdict.SOUND}
    assert not list((tmp_path / "new").glob("*.state"))


@ENGINES
def test_what_comes_after_goes_on_above_it_and_the_log_begins_beyond_etcds(
    tmp_path: Path, engine: str
) -> None:
    make(etcd.write(tmp_path / "etcd", KEYS, lease=LEASES), tmp_path / "new", engine)
    with opened(tmp_path / "new", engine) as store:
        assert store.applied.index == 20 + BUMP_REVISION
        data = schema.encode_batch([schema.encode_request([schema.put(b"n", b"")])])
        (applied,) = store.apply([LogRecord(TERM + 2, store.last_applied + 1, 0, data)])
        assert schema.decode_results(applied.replies[0])[0][1] == 8


def test_a_raised_revision_has_no_history(tmp_path: Path) -> None:
    snapshot = etcd.write(tmp_path / "etcd", KEYS, lease=LEASES)
    made = make(snapshot, tmp_path / "new", bump_revision=100)
    assert (made.revision, made.compacted_revision, made.key_count) == (107, 107, 4)


@pytest.mark.parametrize("kind", ["compacted", "scheduled"])
def test_what_was_compacted_stays_so_done_or_only_asked_for(tmp_path: Path, kind: str) -> None:
    snapshot = etcd.write(tmp_path / "etcd", KEYS, lease=LEASES, meta=etcd.meta(**{kind: 6}))
    assert make(snapshot, tmp_path / "new").compacted_revision == 6
    with opened(tmp_path / "new") as store:
        ((code, text),) = ask(store, schema.range_(b"a", revision=5))
        assert (code, text) == (schema.Code.OUT_OF_RANGE, schema.COMPACTED)
        ((_, _, items, _, _),) = ask(store, schema.range_(b"\0", b"\0", revision=6))
        assert [item[0] for item in items] == [b"a", b"s", b"t"]


def test_the_revision_is_not_below_a_compaction_that_took_everything(tmp_path: Path) -> None:
    snapshot = etcd.write(tmp_path / "etcd", [], meta=etcd.meta(compacted=50))
    assert make(snapshot, tmp_path / "new").revision == 50
    empty = etcd.write(tmp_path / "empty", [])
    assert make(empty, tmp_path / "other").revision == 1


def test_a_key_whose_lease_is_not_there_stays_without_one(tmp_path: Path) -> None:
    snapshot = etcd.write(tmp_path / "etcd", KEYS)
    assert make(snapshot, tmp_path / "new").keys_without_lease == 1
    with opened(tmp_path / "new") as store:
        ((_, _, items, _, _),) = ask(store, schema.range_(b"b"))
        assert items == ((b"b", b"2", 7, 7, 1, 0),)
    assert {finding.verdict for finding in verify_directory(tmp_path / "new", quiet)} == {
        Verdict.SOUND
    }


def test_of_a_key_that_one_revision_changes_twice_the_last_counts(tmp_path: Path) -> None:
    keys = [
        etcd.put(b"k", b"1", 2),
        etcd.deletion(b"k", 3),
        etcd.put(b"o", b"1", 3, place=1),
        etcd.put(b"k", b"2", 3, place=2),
    ]
    make(etcd.write(tmp_path / "etcd", keys), tmp_path / "new")
    with opened(tmp_path / "new") as store:
        assert [event[:2] for event, _ in store.history(3, 3)] == [(b"o", b"1"), (b"k", b"2")]


def test_a_witness_gets_no_data(tmp_path: Path) -> None:
    snapshot = etcd.write(tmp_path / "etcd", KEYS, lease=LEASES)
    made = make(snapshot, tmp_path / "new", role=Role.WITNESS)
    assert (made.revision, made.key_count) == (7, 0)
