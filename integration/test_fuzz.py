"""Hostile traffic to every socket of real nodes while they work: one node in the open, one with
keys, and a member of a cluster that gets garbage from another member.

The short form of `scripts/fuzz`, which goes on for as long as it is told.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing.nodes import access_with_keys
from fuzzing.siege import NODE_OPTIONS, Target, besiege
from node_processes import SOCKETS, NodeProcesses, ask_status

from metastore.node.settings_values import parse_cluster_id
from metastore.transport.handshake import Header

SECONDS = float(os.environ.get("METASTORE_FUZZ_SECONDS", "5"))
DEADLINE_MS = 10_000
SEED = int(os.environ.get("METASTORE_FUZZ_SEED", "1"))

pytestmark = pytest.mark.timeout(180 + 2 * SECONDS)
MakeCluster = Callable[..., NodeProcesses]


def target(cluster: NodeProcesses, name: str, node_id: int = 1, **more: object) -> Target:
    return Target(
        name=name,
        pid=cluster.pids[node_id],
        cluster_id=parse_cluster_id(cluster.folder.name),
        addresses={socket: cluster.address(node_id, socket) for socket in SOCKETS},
        **more,  # type: ignore[arg-type]
    )


def test_hostile_traffic_leaves_nodes_with_and_without_keys_as_they_were(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    access = access_with_keys(tmp_path)
    plain = make_cluster(1, NODE_OPTIONS)
    locked = make_cluster(1, (*NODE_OPTIONS, *access.options))
    for cluster in (plain, locked):
        cluster.start()
    with_keys = {"client": access.client, "stranger": access.stranger}
    besiege(
        (
            target(plain, "the node in the open"),
            target(locked, "the node with keys", **with_keys),
        ),
        SECONDS,
        SEED,
    )


def test_a_member_that_sends_garbage_is_counted_and_the_cluster_goes_on(
    cluster: NodeProcesses,
) -> None:
    leader, sender = cluster.leader(), 3
    if leader == sender:
        sender = 2
    identity = json.loads((cluster.data_dir(sender) / "identity").read_text())
    names = ("cluster_id", "node_id", "directory_id", "incarnation")
    member = Header(*(identity[name] for name in names))
    # Not alone: on a busy machine they may elect again.
    besiege(
        [target(cluster, "the leader", leader, member=member, is_alone=False)], SECONDS / 2, SEED
    )
    counters = ask_status(cluster.address(leader, "status"), "status", DEADLINE_MS)["counters"]
    assert counters[f"peers.malformed.{sender}"] > 0
    with cluster.client() as client:
        client.put("still", "alive")
