"""The launcher as a person meets it, with real node processes on loopback ports."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import layout, processes
from cluster.layout import ClusterLayout

from metastore.transport.security import read_key_file

SCRIPTS = Path(__file__).resolve().parent.parent
# The interpreter of the tests is the prepared one; nothing is installed in the middle of a test.
ENVIRONMENT = {**os.environ, "METASTORE_PYTHON": sys.executable, "PYTHONUNBUFFERED": "1"}


def command(script: str, *arguments: str) -> list[str]:
    return [sys.executable, str(SCRIPTS / script), *arguments]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = command(script, *arguments)
    return subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def recorded(directory: Path) -> ClusterLayout:
    laid = layout.read(directory)
    assert laid is not None
    return laid


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A folder for a cluster; no node of it outlives the test."""
    yield tmp_path
    laid = layout.read(tmp_path)
    if laid is not None:
        processes.stop(laid.nodes)


def read_until(launcher: subprocess.Popen[str], text: str) -> str:
    """The launcher's output up to and including the line that has the text in it."""
    assert launcher.stdout is not None
    said = ""
    for line in launcher.stdout:
        said += line
        if text in line:
            return said
    pytest.fail(f"the launcher ended without saying {text!r}:\n{said}")


def test_a_cluster_shows_itself_reports_a_death_and_stops_on_ctrl_c(directory: Path) -> None:
    launcher = subprocess.Popen(
        command("launch_local_cluster.py", "--data-dir", str(directory)),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with launcher:
        try:
            said = read_until(launcher, "Ctrl-C stops everything")
            assert said.count(" follower ") == 2
            assert said.count(" leader ") == 1
            laid = recorded(directory)
            assert all(node.client in said and node.status in said for node in laid.nodes)
            os.kill(laid.node(2).pid, signal.SIGKILL)
            obituary = read_until(launcher, "Start it again")
            assert "node 2 was killed by SIGKILL; the end of" in obituary
            launcher.send_signal(signal.SIGINT)
            read_until(launcher, "Stopping")
            assert launcher.wait() == 0
        finally:
            launcher.kill()
    assert not any(processes.is_running(node) for node in laid.nodes)


def test_a_detached_cluster_is_left_rejoined_and_stopped(directory: Path) -> None:
    where = ("--data-dir", str(directory))
    launched = run("launch_local_cluster.py", "--detach", *where)
    assert launched.returncode == 0, launched.stderr
    laid = recorded(directory)
    assert all(processes.is_running(node) for node in laid.nodes)
    os.kill(laid.node(3).pid, signal.SIGKILL)
    started = run("launch_local_cluster.py", "--start", "3", *where)
    assert started.returncode == 0, started.stderr
    again = recorded(directory)
    assert again.node(3).pid != laid.node(3).pid
    assert [node.pid for node in again.nodes[:2]] == [node.pid for node in laid.nodes[:2]]
    asked = run("zmq_status.py", "--json", *(node.status for node in again.nodes))
    assert asked.returncode == 0, asked.stdout
    answers = [json.loads(line) for line in asked.stdout.splitlines()]
    assert len({answer["leader_id"] for answer in answers}) == 1
    assert run("launch_local_cluster.py", "--stop", *where).returncode == 0
    assert not any(processes.is_running(node) for node in again.nodes)
    assert run("zmq_status.py", again.node(1).status).returncode == 1


def test_a_cluster_of_one_elects_itself(directory: Path) -> None:
    where = ("--data-dir", str(directory))
    launched = run("launch_local_cluster.py", "--nodes", "1", "--detach", *where)
    assert launched.returncode == 0, launched.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--nodes", "0"), "a number from 1 to 64"),
        (("--engine", "sqlite"), "invalid choice"),
        (("--stop", "--detach"), "not allowed with"),
        (("--base-port", "65535"), "do not fit"),
    ],
)
def test_wrong_arguments_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    refused = run("launch_local_cluster.py", "--data-dir", str(tmp_path), *arguments)
    assert refused.returncode == 2
    assert problem in refused.stderr


def test_a_cluster_with_keys_keeps_them(directory: Path) -> None:
    where = ("--data-dir", str(directory))
    launched = run("launch_local_cluster.py", "--nodes", "1", "--keys", "--detach", *where)
    assert launched.returncode == 0, launched.stderr
    laid = recorded(directory)
    keys = json.loads((directory / "cluster.json").read_text())["keys"]
    assert f"METASTORE_CLIENT_KEY_FILE={keys['client_key_file']}" in launched.stdout
    assert keys["server_key"] in launched.stdout
    secret = read_key_file(keys["client_key_file"]).secret
    assert secret not in launched.stdout + (directory / "cluster.json").read_text()
    assert run("zmq_status.py", laid.node(1).status).returncode == 1
    with_keys = ("--key-file", keys["client_key_file"], f"--server-key={keys['server_key']}")
    assert run("zmq_status.py", laid.node(1).status, *with_keys).returncode == 0
    assert run("launch_local_cluster.py", "--stop", *where).returncode == 0
    started = run("launch_local_cluster.py", "--start", "1", *where)  # alone, as it was
    assert started.returncode == 0, started.stderr
    assert recorded(directory).keys == laid.keys


def test_a_cluster_with_gateways_names_them_and_serves_etcds_clients(directory: Path) -> None:
    place = ("--data-dir", str(directory))
    launched = run("launch_local_cluster.py", *place, "--nodes", "1", "--etcd", "--detach")
    assert launched.returncode == 0, launched.stderr
    document = json.loads((directory / "cluster.json").read_text())
    (url,) = [node["etcd"] for node in document["nodes"]]
    assert url in launched.stdout
    with urllib.request.urlopen(f"{url}/version", timeout=10) as answer:
        assert json.load(answer)["etcdserver"].startswith("3.")
    assert run("launch_local_cluster.py", *place, "--stop").returncode == 0
    # A kept cluster keeps them.
    again = run("launch_local_cluster.py", *place, "--detach")
    assert recorded(directory).nodes[0].etcd in again.stdout
    assert run("launch_local_cluster.py", *place, "--stop").returncode == 0


def test_half_of_what_keys_need_is_refused(tmp_path: Path) -> None:
    half = run("zmq_status.py", "tcp://127.0.0.1:1", "--key-file", str(tmp_path / "own.key"))
    assert half.returncode == 2
    assert "give both or neither" in half.stderr
