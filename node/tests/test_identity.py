"""The data directory: one process, one node, one cluster, one engine, and a count of its starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metastore.node import identity
from metastore.node.identity import (
    DataDirectory,
    DataDirectoryForeign,
    DataDirectoryLocked,
    DataDirectoryUnusable,
    DataDirectoryWiped,
    Identity,
    NotYetJoined,
    new_data_directory,
    open_data_directory,
    read_identity,
)

CLUSTER = 99


def start(path: Path, cluster_id: int = CLUSTER, node_id: int = 1, engine: str = "memory") -> int:
    directory = open_data_directory(path, cluster_id, node_id, engine)
    directory.close()
    return directory.identity.incarnation


def test_every_start_counts(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "data"
    assert [start(path), start(path), start(path)] == [1, 2, 3]


def test_the_identity_file_says_whose_the_directory_is(tmp_path: Path) -> None:
    start(tmp_path)
    written = json.loads((tmp_path / "identity").read_text())
    assert 0 < written.pop("directory_id") < 1 << 64
    assert written == {
        "format": 2,
        "cluster_id": CLUSTER,
        "node_id": 1,
        "engine": "memory",
        "incarnation": 1,
        "has_log": False,
        "joined": False,
    }
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["identity", "lock"]


def test_the_count_is_synced_aside_before_the_name_changes_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path)
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        steps.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real_fsync(descriptor)

    def replace(source: Path, target: Path) -> Path:
        steps.append(f"rename {source.name} {target.name}")
        return real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    start(tmp_path)
    assert steps == ["sync identity.new", "rename identity.new identity", f"sync {tmp_path.name}"]


def test_a_new_directory_is_synced_into_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(identity, "_sync_directory", synced.append)
    start(tmp_path / "a" / "b")
    assert synced[:2] == [tmp_path / "a", tmp_path]


@pytest.mark.parametrize(
    ("field", "other", "remedy"),
    [
        ("cluster_id", 100, "set the cluster_id it was made for"),
        ("node_id", 2, "set the node_id it was made for"),
        ("engine", "rocksdb", "set the engine it was made with"),
    ],
)
def test_a_directory_of_somebody_else_is_refused_with_what_to_do(
    tmp_path: Path, field: str, other: int | str, remedy: str
) -> None:
    start(tmp_path)
    with pytest.raises(DataDirectoryForeign, match=remedy) as caught:
        start(tmp_path, **{field: other})  # type: ignore[arg-type]
    assert str(tmp_path) in str(caught.value)
    assert start(tmp_path) == 2, "a refused start changes nothing"


def test_a_directory_with_files_but_no_identity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    with pytest.raises(DataDirectoryForeign, match="no identity file but holds 'wal'"):
        start(tmp_path)


def test_a_first_start_that_crashed_before_its_identity_was_complete_may_be_repeated(
    tmp_path: Path,
) -> None:
    (tmp_path / "identity.new").write_text("{")
    (tmp_path / "lock").write_text("1\n")
    assert start(tmp_path) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"format": 2}',
        '{"format": 2, "cluster_id": "99", "node_id": 1, "engine": "memory", "directory_id": 5}',
        '{"format": 2, "cluster_id": 99, "node_id": 1, "engine": "memory", "more": 1}',
        '{"format": 2, "cluster_id": 99, "node_id": 1, "engine": "memory", "directory_id": 0}',
        '{"format": 2, "cluster_id": 99, "node_id": 1, "engine": "memory", "directory_id": '
        "18446744073709551616}",
        "\xff",
        "[" * 100_000,
    ],
)
def test_a_damaged_identity_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "identity").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataDirectoryForeign, match="is not an identity file"):
        start(tmp_path)


@pytest.mark.parametrize("other", [1, 3])
def test_an_identity_of_another_format_is_refused(tmp_path: Path, other: int) -> None:
    start(tmp_path)
    file = tmp_path / "identity"
    file.write_text(file.read_text().replace('"format": 2', f'"format": {other}'))
    with pytest.raises(DataDirectoryForeign, match="start the version that wrote it"):
        start(tmp_path)


def test_an_identity_of_a_newer_format_may_have_other_fields(tmp_path: Path) -> None:
    (tmp_path / "identity").write_text('{"format": 3, "name": "x"}')
    with pytest.raises(DataDirectoryForeign, match="start the version that wrote it"):
        start(tmp_path)


HOLDER = """
import sys
from pathlib import Path
from metastore.node.identity import open_data_directory
held = open_data_directory(Path(sys.argv[1]), 99, 1, "memory")
sys.stdout.write("held\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_which_process_holds_the_directory(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataDirectoryLocked, match=f"in use by process {holder.pid};"):
            start(tmp_path)
        holder.kill()
        holder.wait()
    assert start(tmp_path) == 2, "the lock ended with the killed process; only its start counted"


def test_closing_gives_the_lock_back_once(tmp_path: Path) -> None:
    directory = open_data_directory(tmp_path, CLUSTER, 1, "memory")
    with pytest.raises(DataDirectoryLocked):
        start(tmp_path)
    directory.close()
    directory.close()
    assert start(tmp_path) == 2


def test_a_refused_start_gives_the_lock_back(tmp_path: Path) -> None:
    start(tmp_path)
    with pytest.raises(DataDirectoryForeign):
        start(tmp_path, node_id=2)
    assert start(tmp_path) == 2


@pytest.mark.parametrize("leaves_folder", [True, False])
def test_a_directory_that_lost_its_log_is_refused(tmp_path: Path, leaves_folder: bool) -> None:
    log = tmp_path / "wal"
    directory = open_data_directory(tmp_path, CLUSTER, 1, "memory")
    directory.check_log(log)  # a first start has none
    directory.note_log()
    directory.close()
    if leaves_folder:
        log.mkdir()
    again = open_data_directory(tmp_path, CLUSTER, 1, "memory")
    with pytest.raises(DataDirectoryWiped, match="has lost its log") as caught:
        again.check_log(log)
    assert "run `metastore member replace 1`, then start it with an empty" in str(caught.value)
    log.mkdir(exist_ok=True)
    (log / "segment").write_text("x")
    again.check_log(log)
    again.close()


def test_a_start_that_crashed_before_its_log_was_durable_may_be_repeated(tmp_path: Path) -> None:
    start(tmp_path)
    directory = open_data_directory(tmp_path, CLUSTER, 1, "memory")
    directory.check_log(tmp_path / "wal")
    directory.close()


def joining(path: Path, *, joins: bool = True) -> DataDirectory:
    return open_data_directory(path, CLUSTER, 4, "memory", joins=joins)


def test_a_directory_keeps_its_id_and_an_emptied_one_gets_another(tmp_path: Path) -> None:
    start(tmp_path)
    first = read_identity(tmp_path / "identity").directory_id
    start(tmp_path)
    assert read_identity(tmp_path / "identity").directory_id == first
    (tmp_path / "identity").unlink()
    start(tmp_path)
    assert read_identity(tmp_path / "identity").directory_id != first


def test_every_filled_directory_has_an_id_of_its_own(tmp_path: Path) -> None:
    identity = Identity(CLUSTER, 1, "memory", has_log=True)
    found = set()
    for name in ("a", "b"):
        with new_data_directory(tmp_path / name, identity):
            pass
        found.add(read_identity(tmp_path / name / "identity").directory_id)
    assert len(found) == 2
    assert 0 not in found


def test_a_directory_made_to_join_remembers_that(tmp_path: Path) -> None:
    directory = joining(tmp_path)
    directory.note_log()
    directory.close()
    again = joining(tmp_path, joins=False)  # it has a record of the members now
    again.close()
    assert (directory.identity.joined, again.identity.joined) == (True, True)


def test_a_directory_made_to_join_is_not_started_without_being_told_whom_to_ask(
    tmp_path: Path,
) -> None:
    joining(tmp_path).close()
    with pytest.raises(NotYetJoined, match=r"has not yet; start it with --join ADDRESS") as caught:
        joining(tmp_path, joins=False)
    assert str(tmp_path) in str(caught.value)
    again = joining(tmp_path)
    again.close()
    assert again.identity.incarnation == 2


def test_a_directory_made_to_found_a_cluster_joins_no_other_one(tmp_path: Path) -> None:
    joining(tmp_path, joins=False).close()
    with pytest.raises(DataDirectoryForeign, match="made to found a cluster, not to join one"):
        joining(tmp_path)


def test_a_founder_may_be_told_where_else_to_look(tmp_path: Path) -> None:
    directory = joining(tmp_path, joins=False)
    directory.note_log()
    directory.close()
    again = joining(tmp_path)
    again.close()
    assert again.identity.joined is False


def test_a_path_that_is_a_file_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryUnusable, match=r"data directory .*file: File exists"):
        start(tmp_path / "file")
