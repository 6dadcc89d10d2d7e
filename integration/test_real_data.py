"""Every installed package goes into a running cluster while its leader is killed twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from node_processes import NodeProcesses, eventually

FIELDS = ("Package", "Version", "Architecture", "Section", "Installed-Size", "binary:Summary")
PACKAGES_WANTED = 12_000  # the list is repeated under other names until it is this long

pytestmark = pytest.mark.timeout(300)


def installed_packages() -> list[dict[str, str]]:
    """As dpkg lists them; without dpkg, the files of the standard library stand in."""
    form = "\\t".join(f"${{{field}}}" for field in FIELDS) + "\\n"
    try:
        command = ["dpkg-query", "-W", f"-f={form}"]
        output = subprocess.run(command, capture_output=True, check=True).stdout.decode()
        rows = [line.split("\t") for line in output.splitlines()]
    except FileNotFoundError:
        rows = [[p.name, "0", "all", "python", str(p.stat().st_size), str(p)]
                for p in sorted(Path(os.__file__).parent.glob("*.py"))]  # fmt: skip
    lines = []
    for copy in range(-(-PACKAGES_WANTED // len(rows))):
        for row in rows:
            value = json.dumps(dict(zip(FIELDS, row, strict=True)), ensure_ascii=False)
            lines.append({"key": f"packages/{copy}/{row[0]}:{row[2]}", "value": value})
    return lines


def metastore(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "metastore.client.command.main", *arguments]


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_loading_all_packages_survives_two_kills_of_the_leader(
    cluster: NodeProcesses, tmp_path: Path
) -> None:
    lines = installed_packages()
    data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    acknowledged = tmp_path / "acknowledged"
    load_through_two_kills(cluster, data, acknowledged)

    cluster.leader()
    with cluster.client() as client:
        stored = {
            kv.key.decode(): kv.value.decode() for kv in client.scan("packages/", "packages0")
        }
    assert stored == {line["key"]: line["value"] for line in lines}
    assert {json.loads(line)["key"] for line in lines_of(acknowledged)} == set(stored)

    first = dumps_of_all_nodes(cluster)
    assert len(set(first)) == 1
    again = subprocess.run(
        metastore("--endpoints", ",".join(cluster.endpoints), "load", "-"),
        input=data,
        capture_output=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr.decode()
    assert dumps_of_all_nodes(cluster) == first


def load_through_two_kills(cluster: NodeProcesses, data: bytes, acknowledged: Path) -> None:
    """Feeds the lines in three parts; after each of the first two the leader dies and returns."""
    endpoints = ",".join(cluster.endpoints)
    load = subprocess.Popen(
        metastore("--endpoints", endpoints, "load", "-", "--acknowledged", str(acknowledged)),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if load.stdin is None or load.stderr is None:
        raise RuntimeError("the pipes are missing")
    third = len(data) // 3
    for part in (data[:third], data[third : 2 * third]):
        before = len(lines_of(acknowledged))
        load.stdin.write(part)
        load.stdin.flush()
        wait_for_more_than(before, acknowledged)
        leader = cluster.leader()
        cluster.kill(leader)
        cluster.start(leader)
    load.stdin.write(data[2 * third :])
    load.stdin.close()
    assert load.wait(120) == 0, load.stderr.read().decode()


def wait_for_more_than(count: int, acknowledged: Path) -> None:
    eventually("more keys are acknowledged", lambda: len(lines_of(acknowledged)) > count)


def dumps_of_all_nodes(cluster: NodeProcesses) -> list[bytes]:
    """What each node itself holds, once all have applied the same."""

    def all_applied() -> bool:
        answers = [cluster.status(node_id) for node_id in cluster.node_ids]
        return len({(a.get("applied"), a.get("commit")) for a in answers}) == 1

    eventually("all nodes have applied the same", all_applied)
    return [
        subprocess.run(
            metastore("dump", "--node", endpoint), capture_output=True, check=True
        ).stdout
        for endpoint in cluster.endpoints
    ]
