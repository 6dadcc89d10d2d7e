"""`verify` finds what is wrong, says where, and leaves everything as it is."""

import fcntl
import os
from pathlib import Path

import pytest
from data_directories import (
    CLUSTER_ID,
    ENGINES,
    LAST_INDEX,
    NODE_ID,
    REVISION,
    damage,
    damages,
    entries,
    findings,
    fingerprint,
    make_backup,
    make_directory,
    quiet,
)
from founding import founded_by

from metastore.engines.contract import LogRecord, SnapshotMeta
from metastore.engines.memory.wal import WriteAheadLog
from metastore.node.identity import (
    DataDirectoryLocked,
    DataDirectoryUnusable,
    open_data_directory,
)
from metastore.node.offline.verify import Verdict, verify_directory, verify_file

engines = pytest.mark.parametrize("engine", ENGINES)


def segment_of(path: Path) -> Path:
    (segment,) = (path / "wal").iterdir()
    return segment


# --- what is sound


@engines
@pytest.mark.parametrize("snapshot_after", [0, 4])
def test_a_sound_directory_is_sound_and_stays_as_it_is(
    tmp_path: Path, engine: str, snapshot_after: int
) -> None:
    path = make_directory(tmp_path / "data", engine, snapshot_after=snapshot_after)
    before = fingerprint(path)
    found = findings(path)
    assert {finding.verdict for finding in found} == {Verdict.SOUND}
    parts = {finding.part for finding in found}
    assert parts == {"identity", "log", "state", "members", "together"} | (
        {"snapshot"} if snapshot_after else set()
    )
    assert fingerprint(path) == before


@engines
def test_the_state_that_is_reported_is_the_one_that_is_stored(tmp_path: Path, engine: str) -> None:
    path = make_directory(tmp_path / "data", engine, snapshot_after=len(entries()))
    (state,) = [finding for finding in findings(path) if finding.part == "state"]
    assert f"as of index {LAST_INDEX}: revision {REVISION}, compacted 0, 5 keys" in state.sentence
    assert "1 leases, 1 sessions" in state.sentence


def test_both_engines_report_the_same_state_with_the_same_hash(tmp_path: Path) -> None:
    said = []
    for engine in ENGINES:
        path = make_directory(tmp_path / engine, engine, snapshot_after=len(entries()))
        said.append([finding.sentence for finding in findings(path) if finding.part == "state"])
    assert said[0] == said[1]


@engines
def test_a_directory_without_a_start_to_its_end_is_sound(tmp_path: Path, engine: str) -> None:
    open_data_directory(tmp_path / "data", CLUSTER_ID, NODE_ID, "memory").close()
    found = findings(tmp_path / "data")
    assert {finding.verdict for finding in found} == {Verdict.SOUND}
    assert found[-1].sentence == "nothing was ever written here"


# --- what is not verified


@engines
def test_a_directory_in_use_is_refused_with_the_process_that_uses_it(
    tmp_path: Path, engine: str
) -> None:
    path = make_directory(tmp_path / "data", engine)
    running = open_data_directory(path, CLUSTER_ID, NODE_ID, engine)
    with pytest.raises(DataDirectoryLocked, match=f"in use by process {os.getpid()}"):
        findings(path)
    running.close()
    assert not damages(path)


def test_no_node_starts_while_its_directory_is_verified(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")
    walk = verify_directory(path, quiet)
    next(walk)
    with pytest.raises(DataDirectoryLocked):
        open_data_directory(path, CLUSTER_ID, NODE_ID, "memory")
    list(walk)
    open_data_directory(path, CLUSTER_ID, NODE_ID, "memory").close()


def test_two_may_look_at_once(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")
    with (path / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert not damages(path)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryUnusable):
        findings(tmp_path / "nowhere")


# --- identity


@engines
def test_another_identity_than_the_expected_one_is_found(tmp_path: Path, engine: str) -> None:
    path = make_directory(tmp_path / "data", engine)
    assert not [f for f in findings(path, cluster_id=5, node_id=1) if f.verdict.value != "sound"]
    ours = {"cluster_id": CLUSTER_ID, "node_id": NODE_ID}
    for wanted in ({"cluster_id": 6}, {"node_id": 2}):
        ((name, value),) = wanted.items()
        bad = [f.sentence for f in findings(path, **wanted) if f.verdict is Verdict.DAMAGED]
        assert bad == [f"belongs to {name} {ours[name]}, not {value}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "is not an identity file"),
        (None, "has no file 'identity'"),
        ("rocksdb", "says engine rocksdb, but"),
        ("sqlite", "unknown engine 'sqlite'"),
    ],
)
def test_a_wrong_identity_file_is_found(tmp_path: Path, text: str | None, said: str) -> None:
    path = make_directory(tmp_path / "data", "memory")
    identity = path / "identity"
    if text is None:
        identity.unlink()
    elif text == "{}":
        identity.write_text(text)
    else:
        identity.write_text(identity.read_text().replace('"memory"', f'"{text}"'))
    ((part, sentence),) = damages(path)
    assert part == "identity"
    assert said in sentence


def test_a_log_that_the_identity_promises_and_that_is_gone_is_found(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")
    segment_of(path).unlink()
    ((part, sentence),) = damages(path)
    assert part == "identity"
    assert "promises a log" in sentence


def test_a_node_that_is_no_member_is_a_warning(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")
    identity = path / "identity"
    identity.write_text(identity.read_text().replace('"node_id": 1', '"node_id": 9'))
    warnings = [f.sentence for f in findings(path) if f.verdict is Verdict.WARNING]
    assert warnings == ["node 9 is no member of the configuration it knows"]


# --- the memory engine's files


def test_a_flipped_byte_in_the_middle_of_the_log_is_found_with_its_place(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")
    segment = segment_of(path)
    damage(segment, 400)
    before = fingerprint(path)
    ((part, sentence),) = damages(path)
    assert part == "log"
    assert sentence.startswith(f"{segment}: byte ")
    assert "damaged record after entry" in sentence
    assert fingerprint(path) == before


def test_a_torn_tail_is_a_warning_with_its_place_and_is_not_cut(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")
    segment = segment_of(path)
    whole = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(b"\xa9MSL torn")
    before = fingerprint(path)
    found = findings(path)
    warnings = [f.sentence for f in found if f.verdict is Verdict.WARNING]
    assert warnings == [f"a start will cut a torn record of 9 bytes at {segment}: byte {whole}"]
    assert not damages(path)
    assert fingerprint(path) == before
    descriptors = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    assert not [fd for fd in descriptors if os.path.realpath(fd).startswith(str(path))]


def test_a_log_that_was_cut_below_what_was_committed_is_found(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")
    segment = segment_of(path)
    os.truncate(segment, segment.stat().st_size - 5)
    ((part, sentence),) = damages(path)
    assert part == "log"
    assert f"entries {LAST_INDEX} to {LAST_INDEX} were committed once and are gone" in sentence


@pytest.mark.parametrize("place", [3, 60, -3])
def test_a_flipped_byte_in_a_snapshot_is_found_with_its_place(tmp_path: Path, place: int) -> None:
    path = make_directory(tmp_path / "data", "memory", snapshot_after=4)
    (snapshot,) = (path / "snapshots").iterdir()
    damage(snapshot, place)
    found = damages(path)
    assert {part for part, _ in found} == {"snapshot", "state"}
    assert all(sentence.startswith(f"{snapshot}: before byte ") for _, sentence in found)


def test_a_snapshot_under_another_name_is_found(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory", snapshot_after=4)
    (snapshot,) = (path / "snapshots").iterdir()
    snapshot.rename(snapshot.with_name(f"snapshot-{9:016x}-{2:016x}.state"))
    assert ("snapshot", "holds the snapshot 5 of term 2") in [
        (part, sentence.partition(": ")[2]) for part, sentence in damages(path)
    ]


def test_a_snapshot_that_the_log_begins_after_and_that_is_gone_is_found(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory", snapshot_after=4)
    log = WriteAheadLog(path / "wal")
    log.recover()
    log.compact(SnapshotMeta(5, 2, founded_by(1).encode()))
    log.close()
    assert not damages(path)
    for snapshot in (path / "snapshots").iterdir():
        snapshot.unlink()
    ((part, sentence),) = damages(path)
    assert part == "together"
    assert "the log begins after index 5" in sentence


@pytest.mark.parametrize(
    ("entry_type", "data", "said"),
    [
        (9, b"", "is of the unknown type 9"),
        (2, b"\0\5", "a configuration change is cut short at 2 bytes"),
    ],
)
def test_an_entry_that_no_node_can_apply_is_found_by_its_index(
    tmp_path: Path, entry_type: int, data: bytes, said: str
) -> None:
    path = make_directory(tmp_path / "data", "memory")
    log = WriteAheadLog(path / "wal")
    log.recover()
    log.append([LogRecord(2, LAST_INDEX + 1, entry_type, data)], None, None)
    log.close()
    ((part, sentence),) = damages(path)
    assert part == "log"
    assert sentence.startswith(f"entry {LAST_INDEX + 1}")
    assert said in sentence


# --- a backup alone


def test_a_backup_is_verified_as_a_file(tmp_path: Path) -> None:
    backup = make_backup(tmp_path / "backup", tmp_path / "data")
    (sound,) = verify_file(backup, quiet)
    assert sound.verdict is Verdict.SOUND
    assert f"revision {REVISION}" in sound.sentence
    damage(backup, backup.stat().st_size // 2)
    (bad,) = verify_file(backup, quiet)
    assert bad.verdict is Verdict.DAMAGED
    assert bad.sentence.startswith(f"{backup}: before byte ")
