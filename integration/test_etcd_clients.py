"""Client libraries of etcd, unchanged: what each sees of a cluster of ours, and of etcd's.

Each runs in a process of its own (client_programs/): their generated messages have the same names.
The same steps run against three of our nodes and three real members; what they saw is compared.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from etcd_tools import ask, done
from gateways import EtcdCluster, GatewayCluster
from node_processes import eventually

PROGRAMS = Path(__file__).with_name("client_programs")
PYTHON = ["python_etcd3", "python_aetcd", "python_etcd3gw"]
# etcd3 hands its token to gRPC as a credential of the call, which gRPC now refuses without TLS.
PYTHON_WITH_USERS = ["python_aetcd", "python_etcd3gw"]
NPM_PACKAGE = "etcd3@1.1.2"
PROGRAM_S = 60
ROOT = ("root", "secret")


@pytest.fixture(scope="module")
def systems(xprocess: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The endpoints of ours and of etcd's."""
    ours = GatewayCluster(xprocess, tmp_path_factory.mktemp("ours"), 3, ("--sync", "never"))
    etcds = EtcdCluster(tmp_path_factory.mktemp("etcds"))
    try:
        ours.start_with_gateways()
        eventually("all members tell their client URLs", lambda: all_tell_urls(ours))
        yield [",".join(ours.etcd_endpoints), ",".join(etcds.etcd_endpoints)]
    finally:
        ours.end()
        etcds.stop()


def all_tell_urls(ours: GatewayCluster) -> bool:
    """In the answers of each: libraries that look for members must find all of them."""
    told = [ask(url, "member", "list")["members"] for url in ours.etcd_endpoints]
    return all(member.get("clientURLs") for members in told for member in members)


@pytest.fixture
def systems_with_users(systems: list[str]) -> Iterator[list[str]]:
    for endpoints in systems:
        etcdctl = ("etcdctl", "--endpoints", endpoints)
        done(*etcdctl, "user", "add", ":".join(ROOT))
        done(*etcdctl, "user", "grant-role", "root", "root")
        done(*etcdctl, "auth", "enable")
    yield systems
    for endpoints in systems:
        done("etcdctl", "--endpoints", endpoints, "--user", ":".join(ROOT), "auth", "disable")
        done("etcdctl", "--endpoints", endpoints, "user", "delete", "root")


@pytest.fixture(scope="module")
def npm_modules() -> Path:
    """Kept between runs. It must not make a run fail that the registry cannot be reached, but
    then the run says so."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed: npm's etcd3 did not run")
    folder = Path(tempfile.gettempdir()) / f"metastore-npm-{NPM_PACKAGE}-{os.getuid()}"
    stamp = folder / "installed"
    if not stamp.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", NPM_PACKAGE]
        installed = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=90, check=False
        )
        if installed.returncode != 0:
            pytest.skip(f"npm could not install etcd3: it did not run: {installed.stderr[-300:]}")
        stamp.touch()
    return folder / "node_modules"


def compared(systems: list[str], command: list[str], user: tuple[str, ...], **env: str) -> None:
    """Both at once, each on an empty store. The first difference is shown by its step."""
    as_user = ["--user", ":".join(user)] if user else []
    for endpoints in systems:
        done("etcdctl", "--endpoints", endpoints, *as_user, "del", "", "--prefix")
    running = [
        subprocess.Popen(
            [*command, endpoints, *user],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        for endpoints in systems
    ]
    told = []
    for name, process in zip(("ours", "etcd"), running, strict=True):
        out, err = process.communicate(timeout=PROGRAM_S)
        assert process.returncode == 0, f"{name}: {err}"
        told.append(json.loads(out))
    ours, etcds = told
    assert [step for step in zip(ours, etcds, strict=False) if step[0] != step[1]] == []
    assert len(ours) == len(etcds) > 10


def run_python(systems: list[str], name: str, user: tuple[str, ...] = ()) -> None:
    # etcd3's generated code is of 2018; the others do not mind.
    command = [sys.executable, str(PROGRAMS / f"{name}.py")]
    compared(systems, command, user, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")


def run_npm(systems: list[str], modules: Path, user: tuple[str, ...] = ()) -> None:
    compared(systems, ["node", str(PROGRAMS / "npm_etcd3.js")], user, NODE_PATH=str(modules))


@pytest.mark.parametrize("name", PYTHON)
def test_a_library_from_pypi_sees_what_it_sees_of_etcd(systems: list[str], name: str) -> None:
    run_python(systems, name)


def test_npms_etcd3_sees_what_it_sees_of_etcd(systems: list[str], npm_modules: Path) -> None:
    run_npm(systems, npm_modules)


def test_libraries_log_in_and_see_what_they_see_of_etcd(systems_with_users: list[str]) -> None:
    for name in PYTHON_WITH_USERS:
        run_python(systems_with_users, name, ROOT)


def test_npms_etcd3_logs_in_and_sees_what_it_sees_of_etcd(
    systems_with_users: list[str], npm_modules: Path
) -> None:
    run_npm(systems_with_users, npm_modules, ROOT)
