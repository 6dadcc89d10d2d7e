"""Starts that cannot succeed, as far as settings, keys and the cluster itself are to blame: an exit
code, one line that names the cause, no half start and no spinning (H6). Disks and ports are in
test_start_failures.py."""

from collections.abc import Callable
from pathlib import Path

import pytest
from node_processes import NodeProcesses
from test_start_failures import last_line

from metastore.node.exit_codes import ExitCode
from metastore.transport.security import Keys, new_keys, write_key_file

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def command(make_cluster: Callable[..., NodeProcesses]) -> list[str]:
    """Of a node that would start."""
    return make_cluster(1).command(1)


@pytest.mark.parametrize("name", ["peer", "client", "status", "snapshot"])
def test_an_address_of_another_machine_cannot_be_listened_on(command: list[str], name: str) -> None:
    """With `insecure`, so that nothing but the system refuses it."""
    command[command.index(f"--{name}-bind") + 1] = "tcp://192.0.2.1:7001"
    line = last_line([*command, "--insecure"], ExitCode.NETWORK)
    assert "cannot listen on tcp://192.0.2.1:7001" in line


@pytest.mark.parametrize("address", ["7001", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "tcp://:"])
def test_what_is_no_address_is_refused_by_name(command: list[str], address: str) -> None:
    command[command.index("--peer-bind") + 1] = address
    line = last_line(command, ExitCode.CONFIGURATION)
    assert "peer_bind" in line
    assert repr(address) in line


def test_an_open_address_without_keys_is_refused(command: list[str]) -> None:
    command[command.index("--client-bind") + 1] = "tcp://0.0.0.0:7002"
    line = last_line(command, ExitCode.CONFIGURATION)
    assert "client_bind" in line
    assert "key_file" in line


def test_a_node_of_another_cluster_is_refused_and_told_by_those_it_was_pointed_to(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3)
    cluster.start(1, 2)
    cluster.leader([1, 2])
    command = cluster.command(3)
    command[command.index("--cluster-id") + 1] = "another"
    line = last_line(command, ExitCode.CONFIGURATION)
    assert "cluster" in line
    assert cluster.address(1, "client") in line
    cluster.leader([1, 2])


class KeyFolder:
    """A key file and an access file that fit together, until a test changes one of them."""

    def __init__(self, folder: Path) -> None:
        self.key_file, self.access_file = folder / "node.key", folder / "access.toml"
        self.keys: Keys = new_keys()
        write_key_file(self.key_file, self.keys)
        self.access_file.write_text(f'[nodes]\nkeys = ["{self.keys.public}"]\n')

    def make_readable(self) -> None:
        self.key_file.chmod(0o644)

    def remove_key_file(self) -> None:
        self.key_file.unlink()

    def remove_access_file(self) -> None:
        self.access_file.unlink()

    def fill_key_file(self) -> None:
        self.key_file.write_bytes(b"\xff\x00 garbage")

    def fill_access_file(self) -> None:
        self.access_file.write_text("[nodes\nkeys = everybody")

    def take_the_own_key_out(self) -> None:
        self.access_file.write_text(f'[nodes]\nkeys = ["{new_keys().public}"]\n')

    def mistype_a_field(self) -> None:
        with self.access_file.open("a") as file:
            file.write(f'[clients.web]\nkeys = ["{new_keys().public}"]\nrole = "reader"\n')


@pytest.mark.parametrize(
    ("mistake", "named", "cause"),
    [
        (KeyFolder.make_readable, "node.key", "chmod 600"),
        (KeyFolder.remove_key_file, "node.key", "No such file"),
        (KeyFolder.fill_key_file, "node.key", "not TOML"),
        (KeyFolder.remove_access_file, "access.toml", "No such file"),
        (KeyFolder.fill_access_file, "access.toml", "TOML"),
        (KeyFolder.take_the_own_key_out, "access.toml", "own public key is missing"),
        (KeyFolder.mistype_a_field, "access.toml", "role"),
    ],
)
def test_keys_that_cannot_be_used_stop_the_start_before_anything_is_made(
    make_cluster: Callable[..., NodeProcesses],
    tmp_path: Path,
    mistake: Callable[[KeyFolder], None],
    named: str,
    cause: str,
) -> None:
    folder = KeyFolder(tmp_path)
    mistake(folder)
    cluster = make_cluster(1)
    files = ["--key-file", str(folder.key_file), "--access-file", str(folder.access_file)]
    line = last_line([*cluster.command(1), *files], ExitCode.CONFIGURATION)
    assert str(tmp_path / named) in line
    assert cause in line
    assert folder.keys.secret not in line
    assert not cluster.data_dir(1).exists()


@pytest.mark.parametrize("given", ["--key-file", "--access-file"])
def test_one_of_the_two_files_alone_is_refused(
    command: list[str], tmp_path: Path, given: str
) -> None:
    folder = KeyFolder(tmp_path)
    path = folder.key_file if given == "--key-file" else folder.access_file
    line = last_line([*command, given, str(path)], ExitCode.CONFIGURATION)
    assert "access_file" in line
    assert "key_file" in line
