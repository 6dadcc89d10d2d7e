"""Two of three disks are gone for good; the node that is left goes on alone with everything, gets
new members, and nobody of the old ones comes back."""

import shutil
import subprocess
import sys
from functools import partial

import pytest
from node_processes import NodeProcesses, eventually
from replicas import details, wait_applied

from metastore.client import Client
from metastore.node.exit_codes import ExitCode

pytestmark = pytest.mark.timeout(120)


def recover(
    cluster: NodeProcesses, node_id: int, *options: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metastore.client.command.main", "recover"]
    command += [str(cluster.data_dir(node_id)), "--node-id", str(node_id), "--yes", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def contents(client: Client) -> dict[bytes, bytes]:
    return {item.key: item.value for item in client.scan(b"key/", b"key0")}


def votes(cluster: NodeProcesses, node_id: int) -> bool:
    return node_id in details(cluster, 1).get("configuration", {}).get("voters", ())


def test_one_disk_of_three_is_enough_to_go_on_with_all_that_was_acknowledged(
    cluster: NodeProcesses,
) -> None:
    wanted = {f"key/{number:03}".encode(): b"%d" % number for number in range(200)}
    with cluster.client() as client:
        for key, value in wanted.items():
            client.put(key, value)
    applied = max(cluster.status(node_id)["applied"] for node_id in cluster.node_ids)
    wait_applied(cluster, applied, [1])
    cluster.kill(1)
    cluster.leader([2, 3])
    refused = recover(cluster, 1)
    assert refused.returncode == 1
    assert "knows a leader" in refused.stdout, "the others work"
    cluster.kill(2, 3)
    shutil.rmtree(cluster.data_dir(2))
    done = recover(cluster, 1)
    assert done.returncode == 0, done.stderr
    assert "removed for ever: 2, 3" in done.stdout

    cluster.start(1)
    with Client([cluster.address(1, "client")]) as client:
        assert contents(client) == wanted
        client.put("after", b"yes")
    cluster.start(3)  # its disk was not lost at all, but it was given up
    assert cluster.wait_gone(3) == ExitCode.REMOVED

    for node_id in (4, 5):
        cluster.join(node_id)
        eventually(f"node {node_id} votes", partial(votes, cluster, node_id))
    cluster.kill(1)
    with Client([cluster.address(node_id, "client") for node_id in (4, 5)]) as client:
        assert contents(client) == wanted
        assert client.get("after").value == b"yes"
