"""A bad etcd snapshot is refused, with what is wrong and where, and changes nothing."""

from pathlib import Path
from typing import Any

import etcd_snapshots as etcd
import pytest
from data_directories import make_backup, quiet
from etcd_snapshots import KEYS, make

from metastore.engines.contract import StorageDamaged
from metastore.node.offline.etcd import adoption, buckets
from metastore.node.offline.etcd.bolt_writer import BoltWriter
from metastore.node.offline.etcd.messages import encode
from metastore.node.offline.etcd.snapshot_file import is_etcd_snapshot
from metastore.node.offline.restore import Refused
from metastore.node.offline.verify import Verdict, verify_file


def refused(snapshot: Path, tmp_path: Path, **options: Any) -> str:
    with pytest.raises((StorageDamaged, Refused)) as caught:
        make(snapshot, tmp_path / "new", **options)
    left = tmp_path / "new"
    assert not left.exists() or {path.name for path in left.iterdir()} <= {"lock"}
    return str(caught.value)


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    snapshot = etcd.write(tmp_path / "etcd", KEYS)
    data = bytearray(snapshot.read_bytes())
    data[-40] ^= 1
    snapshot.write_bytes(data)
    assert "SHA-256" in refused(snapshot, tmp_path)
    (finding,) = verify_file(snapshot, quiet)
    assert finding.verdict is Verdict.DAMAGED


def test_a_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    snapshot = etcd.write(tmp_path / "etcd", KEYS)
    snapshot.write_bytes(snapshot.read_bytes()[:-7])
    assert "was cut" in refused(snapshot, tmp_path)


def test_a_database_without_a_hash_is_taken_only_when_told_so(tmp_path: Path) -> None:
    snapshot = etcd.write(tmp_path / "etcd", KEYS, has_hash=False)
    assert "--skip-hash-check" in refused(snapshot, tmp_path)
    assert make(snapshot, tmp_path / "new", skip_hash_check=True).key_count == 4


@pytest.mark.parametrize(
    ("keys", "others", "problem"),
    [
        ([(b"\0" * 16, b"")], {}, "17 bytes"),
        ([(b"\0" * 17, b"")], {}, "no revision"),
        ([(b"\xff" * 8 + b"_" + bytes(8), b"")], {}, "no revision"),
        ([(buckets.encode_revision(2, 0), b"\xff")], {}, "does not end"),
        ([(buckets.encode_revision(3, 0), etcd.put(b"k", b"", 2)[1])], {}, "of revision 2"),
        ([etcd.put(b"k", b"", 2, create=3)], {}, "of revision 2"),
        ([(buckets.encode_revision(2, 0), encode((1, b"k"), (2, 2), (3, 2)))], {}, "version 0"),
        ([], {"lease": [(b"12345678", etcd.lease(5, 9)[1])]}, "another name"),
        ([], {"lease": [(b"12345678", b"\xff")]}, "does not end"),
        ([], {"meta": [(b"consistent_index", b"\xff" * 8)]}, "no number"),
        ([], {"meta": [(b"finishedCompactRev", b"12")]}, "17 bytes"),
        ([], {"authUsers": [(b"u", encode((1, b"other")))]}, "name of another"),
        ([], {"authRoles": [(b"r", encode((1, b"r"), (2, encode((1, 7)))))]}, "no permission"),
        ([], {"authUsers": [(b"\xff", encode((1, b"\xff")))]}, "no text"),
        ([], {"auth": [(b"authRevision", b"1")]}, "no number"),
    ],
)
def test_what_no_etcd_writes_is_refused_with_its_place(
    tmp_path: Path, keys: etcd.Items, others: dict[str, etcd.Items], problem: str
) -> None:
    snapshot = etcd.write(tmp_path / "etcd", keys, **others)
    assert problem in refused(snapshot, tmp_path)
    assert str(snapshot) in refused(snapshot, tmp_path)
    (finding,) = verify_file(snapshot, quiet)
    assert finding.verdict is Verdict.DAMAGED


def test_a_database_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb+") as file:
        writer = BoltWriter(file)
        writer.bucket(b"other", [(b"a", b"b")])
        writer.finish()
    etcd.seal(path)
    assert "not etcd's" in refused(path, tmp_path)


def test_an_index_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    snapshot = etcd.write(tmp_path / "etcd", KEYS, meta=etcd.meta(index=(1 << 63) - 1))
    assert "does not fit 64 bits" in refused(snapshot, tmp_path)


def test_more_leases_than_a_cluster_may_have_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "LEASES_MAX", 1)
    leases = [etcd.lease(1, 10), etcd.lease(2, 10)]
    assert "more than 1 leases" in refused(etcd.write(tmp_path / "e", [], lease=leases), tmp_path)


def test_only_files_that_begin_as_bbolt_does_are_taken_for_an_etcds(tmp_path: Path) -> None:
    assert not is_etcd_snapshot(make_backup(tmp_path / "backup", tmp_path / "old"))
    (tmp_path / "empty").write_bytes(b"")
    assert not is_etcd_snapshot(tmp_path / "empty")
    snapshot = etcd.write(tmp_path / "etcd", KEYS)
    assert is_etcd_snapshot(snapshot)
    snapshot.write_bytes(bytes(4096) + snapshot.read_bytes()[4096:])  # the second meta page counts
    assert is_etcd_snapshot(snapshot)
    (finding,) = verify_file(etcd.write(tmp_path / "other", KEYS), quiet)
    assert finding.verdict is Verdict.SOUND
    assert "revision 7" in finding.sentence
