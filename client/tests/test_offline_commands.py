"""The commands of the offline tools: what they print, and the exit codes."""

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from metastore.client.command.inspection import lines_of
from metastore.client.command.main import cli


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Of a store with two keys."""
    # As the node's tests make theirs, but the client's know no engine: through the command's door.
    from metastore.engines.contract import SnapshotMeta
    from metastore.engines.files import Files
    from metastore.engines.snapshot_format import SnapshotHeader, write_snapshot
    from metastore.node.members.records import Membership
    from metastore.node.raft.model import ConfigurationState

    path = tmp_path / "backup"
    membership = Membership(ConfigurationState(voters=(1,)), removed=(7,), index=9)
    header = SnapshotHeader(SnapshotMeta(9, 2, membership.encode()), 3, 0)
    versions = [[(b"a", b"1", 2, 2, 1, 0)], [(b"b", b"2", 3, 3, 1, 0)]]
    scalars = [(b"scalars", b"\x94\x03\x00\xcc\x80\x90")]
    write_snapshot(path, Files(), header, versions, (), scalars)
    return path


def restore(backup: Path, path: Path, *more: object) -> Result:
    new = ("--cluster-id", "new", "--node-id", 1)
    return run("restore", backup, "--data-dir", path, *new, *more)


def test_restore_verify_and_inspect_in_turn(backup: Path, tmp_path: Path) -> None:
    made = restore(backup, tmp_path / "data", "--member", "1", "--member", "2")
    assert made.exit_code == 0, made.output
    assert "node 1 of cluster new, 2 keys, revision 1000003" in made.stdout
    assert "start it with --cluster-id new --engine memory" in made.stdout
    sound = run("verify", tmp_path / "data", "--cluster-id", "new", "--node-id", 1)
    assert sound.exit_code == 0, sound.output
    assert all(line.startswith("sound ") for line in sound.stdout.splitlines())
    shown = run("inspect", tmp_path / "data", "--keys")
    assert shown.exit_code == 0
    assert "key 'a' = '1' (created 2, changed 2, version 1)" in shown.stdout
    assert "voters [1, 2]" in shown.stdout
    assert "member: node_id 2, role voter, state member" in shown.stdout
    assert "removed: node_ids [7]" in shown.stdout


def test_inspect_as_json_is_one_object_a_line(backup: Path, tmp_path: Path) -> None:
    restore(backup, tmp_path / "data")
    shown = run("inspect", tmp_path / "data", "--json", "--keys")
    kinds = [json.loads(line)["kind"] for line in shown.stdout.splitlines()]
    assert kinds[0] == "identity"
    assert kinds.count("key") == 2


def test_members_may_be_given_with_their_addresses_and_roles(backup: Path, tmp_path: Path) -> None:
    addresses = ",".join(f"tcp://127.0.0.1:{port}" for port in range(7001, 7005))
    witness = ("--member", f"4={addresses.replace('700', '800')},witness")
    made = restore(backup, tmp_path / "data", "--member", f"1={addresses}", *witness)
    assert made.exit_code == 0, made.output
    shown = run("inspect", tmp_path / "data").stdout
    assert "voters [1, 4]" in shown
    assert "node_id 4, role witness, state member, peer tcp://127.0.0.1:8001" in shown


def test_an_id_that_was_removed_is_refused(backup: Path, tmp_path: Path) -> None:
    refused = restore(backup, tmp_path / "data", "--member", "1", "--member", "7")
    assert refused.exit_code == 1
    assert "node 7 was removed" in refused.stderr


@pytest.mark.parametrize(
    "more",
    [
        ("--member", "nobody"),
        ("--member", "1=tcp://127.0.0.1:1"),
        ("--bump-revision", "0"),
        ("--engine", "sqlite"),
        ("--node-id", "0"),
    ],
)
def test_wrong_usage_leaves_with_2_and_makes_nothing(
    backup: Path, tmp_path: Path, more: tuple[str, str]
) -> None:
    assert restore(backup, tmp_path / "data", *more).exit_code == 2
    assert not (tmp_path / "data").exists()


def test_what_is_refused_leaves_with_1_and_one_line(backup: Path, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "data"):
        restore(backup, tmp_path / "data")
        refused = restore(backup, path)
        assert refused.exit_code == 1
        assert len(refused.stderr.splitlines()) == 1
        assert "nothing was restored" in refused.stderr


def test_a_damaged_backup_is_refused_and_found(backup: Path, tmp_path: Path) -> None:
    backup.write_bytes(backup.read_bytes()[:-3])
    assert restore(backup, tmp_path / "data").exit_code == 1
    found = run("verify", backup)
    assert found.exit_code == 1
    assert "the file ends too early" in found.stdout


def test_damage_leaves_with_1_and_what_cannot_be_verified_with_3(
    backup: Path, tmp_path: Path
) -> None:
    restore(backup, tmp_path / "data")
    assert run("verify", tmp_path / "data", "--node-id", 2).exit_code == 1
    assert run("verify", tmp_path).exit_code == 1
    assert run("inspect", tmp_path).exit_code == 1
    import fcntl

    with (tmp_path / "data" / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in ("verify", "inspect"):
            refused = run(command, tmp_path / "data")
            assert refused.exit_code == 3
            assert "stop that node first" in refused.stderr


def test_recover_says_what_there_is_asks_and_makes_the_node_the_only_member(
    backup: Path, tmp_path: Path
) -> None:
    path = tmp_path / "data"
    restore(backup, path, "--member", "1", "--member", "2", "--member", "3")
    asked = run("recover", path, "--node-id", 1)  # nobody types anything
    assert asked.exit_code == 1
    assert "its log goes to index 1000009 of term 3" in asked.stdout
    assert "node 3 () could not be asked" in asked.stdout
    assert asked.stderr.splitlines()[-1] == "metastore: nothing was changed: not confirmed"
    assert "voters [1, 2, 3]" in run("inspect", path).stdout
    done = run("recover", path, "--node-id", 1, "--yes")
    assert done.exit_code == 0, done.output
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{path}: node 1 is the only member, 2 keys, revision 1000003")
    shown = run("inspect", path, "--keys").stdout
    assert "removed: node_ids [2, 3, 7]" in shown
    assert "key 'a' = '1'" in shown
    again = run("recover", path, "--node-id", 1, "--yes")
    assert again.exit_code == 1
    assert "just start it" in again.stderr


def test_recover_is_refused_while_somebody_is_at_another_voters_address(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metastore.node.offline import asking

    monkeypatch.setattr(asking, "PATIENCE_S", 0.2)
    path = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        places = ",".join(("tcp://127.0.0.1:1", address, "tcp://127.0.0.1:2", "tcp://127.0.0.1:3"))
        restore(backup, path, "--member", "1", "--member", f"2={places}")
        refused = run("recover", path, "--node-id", 1, "--yes")
        assert refused.exit_code == 1
        assert "node 2 is there" in refused.stderr
        assert run("recover", path, "--node-id", 1, "--yes", "--force").exit_code == 0


def test_recover_refuses_another_nodes_directory_and_one_in_use(
    backup: Path, tmp_path: Path
) -> None:
    import fcntl

    path = tmp_path / "data"
    restore(backup, path, "--member", "1", "--member", "2")
    assert "directory of node 1" in run("recover", path, "--node-id", 2, "--yes").stderr
    with (path / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run("recover", path, "--node-id", 1, "--yes").exit_code == 3
    assert run("recover", path).exit_code == 2


def test_a_backup_without_a_cluster_leaves_with_3(tmp_path: Path, unused_address: str) -> None:
    for more in ((), ("--local",)):
        found = run(
            "--endpoints", unused_address, "--timeout", "0.2", "backup", tmp_path / "file", *more
        )
        assert found.exit_code == 3
        assert unused_address in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_entry_is_a_line_and_a_line_for_each_request() -> None:
    entry = {"index": 4, "term": 2, "type": "normal", "bytes": 9, "is_committed": False}
    assert list(lines_of("entry", entry | {"requests": [["put 'a' = '1'", "delete 'b'"]]})) == [
        "entry 4 of term 2: normal, 9 bytes, not known to be committed",
        "    put 'a' = '1'; delete 'b'",
    ]
