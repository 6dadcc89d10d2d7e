"""What every replica has to agree on, asked of each node by itself; and writes to get there.

Beside node_processes.py; for the tests of whole scenarios.
"""

import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from node_processes import NodeProcesses, ask_status, eventually

from metastore.client import Client, MetastoreError
from metastore.client.results import HashResult

Hash = tuple[int, int, int]  # revision, checksum, compacted revision


def details(cluster: NodeProcesses, node_id: int) -> dict[str, Any]:
    """The whole status of a node; {} while it does not answer."""
    address = cluster.address(node_id, "status")
    return ask_status(address, "status", context=cluster.context, keys=cluster.status_keys)


def snapshots_received(cluster: NodeProcesses, node_id: int) -> int:
    """Since it was started."""
    return int(details(cluster, node_id).get("counters", {}).get("snapshots.received", 0))


def at_node(cluster: NodeProcesses, node_id: int, **options: Any) -> Client:
    """A client that talks to this node only."""
    address = cluster.address(node_id, "client")
    options = cluster.client_options | options
    return Client(address, is_pinned=True, context=cluster.context, **options)


def hash_at(cluster: NodeProcesses, node_id: int, revision: int = 0) -> Hash | None:
    """What this node itself holds; None while it cannot say."""
    with at_node(cluster, node_id) as client:
        try:
            found: HashResult = client.hash(revision, level="local")
        except MetastoreError:
            return None
    return found.hash_revision, found.hash, found.compact_revision


def wait_for_same_hash(cluster: NodeProcesses, revision: int) -> Hash:
    """Waits until every node has the revision; then all must hold the same."""
    hashes = [
        eventually(
            f"node {node_id} has revision {revision}",
            lambda node_id=node_id: hash_at(cluster, node_id, revision),  # type: ignore[misc]
        )
        for node_id in cluster.node_ids
    ]
    assert len(set(hashes)) == 1, f"at revision {revision}: {hashes}"
    return hashes[0]


def wait_applied(cluster: NodeProcesses, index: int, node_ids: Iterable[int]) -> None:
    for node_id in node_ids:
        eventually(
            f"node {node_id} has applied {index}",
            lambda node_id=node_id: (  # type: ignore[misc]
                cluster.status(node_id).get("applied", 0) >= index
            ),
        )


@contextmanager
def paused(cluster: NodeProcesses, node_id: int) -> Iterator[None]:
    """The process stands still meanwhile."""
    cluster.signal(node_id, signal.SIGSTOP)
    try:
        yield
    finally:
        cluster.signal(node_id, signal.SIGCONT)


def write_past_the_log(
    cluster: NodeProcesses, client: Client, index: int, among: Sequence[int]
) -> None:
    """Until the leader holds nothing any more of what follows `index`; needs few
    --snapshot-entries."""

    def is_compacted() -> bool:
        for number in range(50):
            client.put(f"past/{number % 20}", str(number))
        leader = cluster.leader(among)
        return bool(details(cluster, leader).get("log", {}).get("first_index", 0) > index + 1)

    eventually("the leader's log no longer holds what the follower needs", is_compacted)
