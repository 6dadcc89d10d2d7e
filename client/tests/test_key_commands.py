"""`metastore keygen`, and the options by which every command uses keys."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fake_cluster import FakeCluster

from metastore.client.command.main import cli
from metastore.client.security import OTHER_KEY, REFUSED_KEY
from metastore.transport.security import new_keys, read_key_file, write_key_file

NODE, OURS = new_keys(), new_keys()
WITH_KEYS = ("--key-file", "own.key", "--server-key", NODE.public)

Run = Callable[..., Result]


@pytest.fixture
def cluster(make_cluster: Callable[..., FakeCluster]) -> FakeCluster:
    """One node with a key."""
    return make_cluster(node_keys=[NODE])


@pytest.fixture
def run(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """In a folder with own.key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METASTORE_ENDPOINTS", cluster.leader.client_address)
    write_key_file("own.key", OURS)
    return lambda *arguments, **options: CliRunner().invoke(cli, arguments, **options)


def test_keygen_writes_a_file_for_its_owner_and_prints_the_public_key_only(run: Run) -> None:
    made = run("keygen", "web.key")
    keys = read_key_file("web.key")
    assert made.exit_code == 0
    assert made.stdout == f"{keys.public}\n"
    assert "start the node with --key-file web.key" in made.stderr
    assert keys.secret not in made.output
    assert Path("web.key").stat().st_mode & 0o777 == 0o600


def test_keygen_overwrites_nothing(run: Run) -> None:
    again = run("keygen", "own.key")
    assert again.exit_code == 1
    assert (
        again.output == "metastore: key file own.key: it exists already, and is not overwritten\n"
    )
    assert read_key_file("own.key") == OURS


def test_keygen_prints_the_public_key_of_a_file(run: Run) -> None:
    shown = run("keygen", "--public", "own.key")
    assert (shown.exit_code, shown.output) == (0, f"{OURS.public}\n")
    missing = run("keygen", "--public", "none.key")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert not Path("none.key").exists()


def test_commands_use_the_keys_of_options(run: Run) -> None:
    assert run(*WITH_KEYS, "put", "a", "1").exit_code == 0
    # Several server keys: repeated, or with commas.
    several = ("--server-key", new_keys().public, "--server-key", f"{new_keys().public},")
    assert run(*several, *WITH_KEYS, "get", "a").stdout == "1\n"
    assert "leader" in run(*WITH_KEYS, "status").stdout


def test_commands_use_the_keys_of_variables(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASTORE_CLIENT_KEY_FILE", "own.key")
    monkeypatch.setenv("METASTORE_CLIENT_SERVER_KEYS", f"{new_keys().public},{NODE.public}")
    assert run("put", "a", "1").exit_code == 0


def cluster_file(cluster: FakeCluster, **keys: str) -> None:
    node = cluster.leader
    address = {"node_id": 1, "client": node.client_address, "status": node.status_address}
    Path("cluster.json").write_text(json.dumps({"nodes": [address], "keys": keys}))


def test_commands_use_the_keys_of_a_cluster_file_unless_told_others(
    run: Run, cluster: FakeCluster
) -> None:
    cluster_file(cluster, client_key_file="own.key", server_key=NODE.public)
    assert run("--cluster", ".", "put", "a", "1").exit_code == 0
    other = ("--key-file", "own.key", "--server-key", new_keys().public)
    refused = run("--cluster", ".", "--timeout", "0.3", *other, "get", "a")
    assert refused.exit_code == 3
    assert OTHER_KEY in refused.stderr


def test_the_cluster_file_knows_the_half_that_was_not_given(run: Run, cluster: FakeCluster) -> None:
    cluster_file(cluster, client_key_file="lost.key", server_key=NODE.public)
    assert run("--cluster", ".", "--key-file", "own.key", "put", "a", "1").exit_code == 0
    cluster_file(cluster, client_key_file="own.key", server_key=new_keys().public)
    assert run("--cluster", ".", "--server-key", NODE.public, "put", "a", "1").exit_code == 0


def test_a_status_that_is_refused_says_why(run: Run, cluster: FakeCluster) -> None:
    cluster.why_not = lambda key: "nobody"
    cluster_file(cluster)
    shown = run("--cluster", ".", "--timeout", "0.3", *WITH_KEYS, "status")
    assert shown.exit_code == 3
    assert "not_let_in" in shown.stdout
    assert f"no node answers; {REFUSED_KEY}" in shown.stderr


@pytest.mark.parametrize("command", [("get", "a"), ("status",), ("backup", "--local", "file")])
def test_half_of_what_keys_need_is_wrong_usage(run: Run, command: tuple[str, ...]) -> None:
    half = run("--key-file", "own.key", *command)
    assert half.exit_code == 2
    assert "key_file without server_keys; give the public keys of the nodes" in half.stderr


def test_no_secret_leaves_by_an_error(run: Run) -> None:
    Path("own.key").chmod(0o644)
    refused = run(*WITH_KEYS, "get", "a")
    assert refused.exit_code == 2
    assert "chmod 600 own.key" in refused.stderr
    mistaken: Any = run("--key-file", "own.key", "--server-key", OURS.secret[:-1], "get", "a")
    assert mistaken.exit_code == 2
    assert OURS.secret[:-1] not in mistaken.output
