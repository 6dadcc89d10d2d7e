"""`restore` makes a member of a new cluster from a backup, or nothing at all."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
from data_directories import (
    CONTENTS,
    ENGINES,
    LAST_INDEX,
    LEASE,
    REVISION,
    SESSION,
    TERM,
    damage,
    fingerprint,
    make_backup,
    make_directory,
    quiet,
)
from founding import founders

from metastore.engines.contract import LogRecord, RecoveredLog, StorageDamaged, Store
from metastore.engines.files import Files
from metastore.engines.leases import LEASE_FACT
from metastore.engines.memory.wal import WriteAheadLog
from metastore.engines.scalars import SCALARS_FACT
from metastore.engines.snapshot_format import SnapshotReader, write_snapshot
from metastore.node.identity import DataDirectoryForeign, open_data_directory, read_identity
from metastore.node.offline.restore import (
    BUMP_REVISION,
    Refused,
    Restored,
    new_identity,
    opened_engine,
    restore,
)
from metastore.node.offline.verify import Verdict, verify_directory
from metastore.node.recovery import recover
from metastore.transport import schema

NEW_CLUSTER = 99
MEMBERS = (1, 2, 3)
BASE_INDEX = LAST_INDEX + BUMP_REVISION
engines = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    made: Path = make_backup(tmp_path / "backup", tmp_path / "old")
    return made


def make(
    backup: Path, path: Path, engine: str = "memory", node_id: int = 1, **options: int
) -> Restored:
    identity = new_identity(NEW_CLUSTER, node_id, engine)
    return restore(backup, path, identity, founders(MEMBERS), quiet, **options)


@contextmanager
def started(path: Path, engine: str, node_id: int = 1) -> Iterator[tuple[Store, RecoveredLog]]:
    """As a start finds it."""
    directory = open_data_directory(path, NEW_CLUSTER, node_id, engine)
    with opened_engine(path, directory.identity) as (store, log):
        found = log.recover()
        log.recover = lambda: found  # type: ignore[method-assign]
        recover(log, store, founders(MEMBERS))
        yield store, found
    directory.close()


def ask(store: Store, *operations: schema.Operation) -> Sequence[Any]:
    return schema.decode_results(store.read(schema.encode_request(operations)))


def run(store: Store, *operations: schema.Operation) -> Any:
    data = schema.encode_batch([schema.encode_request(operations)])
    (applied,) = store.apply([LogRecord(TERM + 2, store.last_applied + 1, 0, data)])
    return schema.decode_results(applied.replies[0])[0]


@engines
@pytest.mark.parametrize("source", ENGINES)
def test_keys_values_and_their_revisions_are_those_of_the_backup(
    tmp_path: Path, source: str, engine: str
) -> None:
    backup = make_backup(tmp_path / "backup", tmp_path / "old", source)
    made = make(backup, tmp_path / "new", engine)
    assert (made.revision, made.key_count) == (REVISION + BUMP_REVISION, len(CONTENTS))
    with started(tmp_path / "new", engine) as (store, _):
        ((_, _, items, _, _),) = ask(store, schema.range_(b"\0", b"\0"))
        assert {item[0]: item[1] for item in items} == CONTENTS
        assert [item[3] for item in items] == [5, 3, 6, 6, 4]
        assert [item[4] for item in items] == [2, 1, 1, 1, 1]


@engines
def test_revisions_go_on_beyond_the_bump_and_the_past_is_compacted(
    backup: Path, tmp_path: Path, engine: str
) -> None:
    make(backup, tmp_path / "new", engine, bump_revision=50)
    with started(tmp_path / "new", engine) as (store, _):
        assert store.revision == store.compacted_revision == REVISION + 50
        for revision in (2, REVISION, REVISION + 49):
            ((code, text),) = ask(store, schema.range_(b"a", revision=revision))
            assert (code, text) == (schema.Code.OUT_OF_RANGE, schema.COMPACTED)
        assert run(store, schema.put(b"n", b"new"))[1] == REVISION + 51
        events = list(store.history(REVISION + 50, REVISION + 51))
        assert [record[:2] for record, _ in events] == [(b"n", b"new")]


@engines
def test_the_log_begins_beyond_the_old_one(backup: Path, tmp_path: Path, engine: str) -> None:
    make(backup, tmp_path / "new", engine)
    with started(tmp_path / "new", engine) as (store, log):
        assert (log.snapshot.index, log.snapshot.term) == (BASE_INDEX, TERM + 1)
        assert log.hard_state == (TERM + 1, 0, BASE_INDEX)
        assert log.entries == ()
        assert store.applied == log.snapshot


@engines
def test_leases_have_their_whole_time_again_and_keep_their_keys(
    backup: Path, tmp_path: Path, engine: str
) -> None:
    def checkpointed(name: bytes, value: bytes) -> bytes:
        return value[:16] + (3).to_bytes(8, "big") if name.startswith(LEASE_FACT) else value

    used = with_facts(backup, tmp_path / "used", checkpointed)
    make(used, tmp_path / "new", engine)
    with started(tmp_path / "new", engine) as (store, _):
        (change,) = store.take_lease_changes()
        assert (change.lease, change.ttl_s) == (LEASE, 100)
        ((_, _, _, granted_s, keys),) = ask(store, (schema.Op.LEASE_TIME_TO_LIVE, LEASE, True))
        assert (granted_s, keys) == (100, (b"leased",))
        run(store, (schema.Op.LEASE_REVOKE, LEASE))
        assert store.key_count == len(CONTENTS) - 1


def with_facts(backup: Path, path: Path, change: Callable[[bytes, bytes], bytes]) -> Path:
    """The same backup, but with other values of its facts."""
    with SnapshotReader(backup, Files()) as reader:
        versions, order = list(reader.versions()), list(reader.order())
        facts = [(name, change(name, value)) for name, value in reader.facts()]
        write_snapshot(path, Files(), reader.header, versions, order, facts)
    return path


@engines
def test_sessions_are_gone(backup: Path, tmp_path: Path, engine: str) -> None:
    make(backup, tmp_path / "new", engine)
    with started(tmp_path / "new", engine) as (store, _):
        reply = run(store, (schema.Op.SESSION, SESSION, 1, 0), schema.put(b"a", b"again"))
        assert reply[1] == schema.SESSION_NOT_FOUND


def test_every_member_gets_the_same_state_whatever_its_engine(backup: Path, tmp_path: Path) -> None:
    said = []
    for engine in ENGINES:
        for node_id in MEMBERS:
            path = tmp_path / f"{engine}-{node_id}"
            make(backup, path, engine, node_id)
            found = list(verify_directory(path, quiet, cluster_id=NEW_CLUSTER, node_id=node_id))
            assert {finding.verdict for finding in found} == {Verdict.SOUND}
            said.append([finding.sentence for finding in found if finding.part == "state"])
    assert len(said) == 6
    assert all(one == said[0] for one in said)


def test_the_directory_belongs_to_the_new_cluster_and_has_a_log_to_lose(
    backup: Path, tmp_path: Path
) -> None:
    make(backup, tmp_path / "new", node_id=3)
    identity = read_identity(tmp_path / "new" / "identity")
    assert (identity.cluster_id, identity.node_id) == (NEW_CLUSTER, 3)
    assert (identity.incarnation, identity.has_log) == (0, True)
    assert not list((tmp_path / "new").glob("*.state*"))
    with pytest.raises(DataDirectoryForeign):
        open_data_directory(tmp_path / "new", 5, 3, "memory")


# --- what is refused


def test_a_directory_that_belongs_to_a_node_is_refused_and_stays(
    backup: Path, tmp_path: Path
) -> None:
    path = make_directory(tmp_path / "new", "memory")
    before = fingerprint(path)
    with pytest.raises(DataDirectoryForeign, match="belongs to node 1 of cluster 5"):
        make(backup, path)
    assert fingerprint(path) == before


def test_a_directory_that_is_not_empty_is_refused_and_stays(backup: Path, tmp_path: Path) -> None:
    path = tmp_path / "new"
    path.mkdir()
    (path / "diary").write_text("mine")
    before = fingerprint(path)
    with pytest.raises(DataDirectoryForeign, match="is not empty: it holds 'diary'"):
        make(backup, path)
    assert fingerprint(path) == before


def test_an_empty_directory_will_do(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "new" / "lost+found").mkdir(parents=True)
    make(backup, tmp_path / "new")
    assert (tmp_path / "new" / "lost+found").is_dir()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_damaged_backup_is_refused_before_anything_is_made(
    backup: Path, tmp_path: Path, share: float
) -> None:
    damage(backup, int(backup.stat().st_size * share))
    with pytest.raises(StorageDamaged, match="before byte"):
        make(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backup_that_is_cut_short_is_refused(backup: Path, tmp_path: Path) -> None:
    backup.write_bytes(backup.read_bytes()[:-1])
    with pytest.raises(StorageDamaged):
        make(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_revision_beyond_64_bits_is_refused(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not fit 64 bits"):
        make(backup, tmp_path / "new", bump_revision=(1 << 63) - REVISION)


@engines
def test_a_restore_that_fails_on_its_way_leaves_an_empty_directory(
    backup: Path, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import metastore.node.offline.restore as module

    @contextmanager
    def full(*_: Any) -> Iterator[Any]:
        with opened_engine(*_) as (store, log):
            log.recover()

            def append(*_: Any) -> None:
                raise OSError(28, "No space left on device")

            log.append = append  # type: ignore[assignment, method-assign]
            log.recover = lambda: RecoveredLog()  # type: ignore[method-assign]
            yield store, log

    monkeypatch.setattr(module, "opened_engine", full)
    with pytest.raises(OSError, match="No space"):
        make(backup, tmp_path / "new", engine)
    assert list((tmp_path / "new").iterdir()) == []
    monkeypatch.undo()
    make(backup, tmp_path / "new", engine)


def test_a_restore_that_was_cut_short_by_a_crash_is_no_data_directory(
    backup: Path, tmp_path: Path
) -> None:
    make(backup, tmp_path / "new")
    (tmp_path / "new" / "identity").unlink()  # it is written last
    with pytest.raises(DataDirectoryForeign, match="no identity file"):
        open_data_directory(tmp_path / "new", NEW_CLUSTER, 1, "memory")


def test_alarms_are_off(backup: Path, tmp_path: Path) -> None:
    def full(name: bytes, value: bytes) -> bytes:
        is_alarms = name == SCALARS_FACT
        return msgpack.packb([*msgpack.unpackb(value)[:3], [1]]) if is_alarms else value

    make(with_facts(backup, tmp_path / "full", full), tmp_path / "new")
    with started(tmp_path / "new", "memory") as (store, _):
        assert store.alarms == ()


def test_the_log_is_durable_before_the_directory_has_an_identity(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []

    def sync(log: WriteAheadLog) -> None:
        synced.append((tmp_path / "new" / "identity").exists())

    monkeypatch.setattr(WriteAheadLog, "sync", sync)
    make(backup, tmp_path / "new")
    assert synced == [False]
