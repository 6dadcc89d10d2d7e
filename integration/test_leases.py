"""Leases while leaders pause, die and return: never shorter than granted, never for ever.

A lease counts as broken a promise only by what cannot be doubted: its key was missing in an answer
that came while the client could still rely on it (see client/lease.py for why it could).

METASTORE_LEASE_ROUNDS sets how many leaders are killed.
"""

import os
import threading
import time
from collections.abc import Callable

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses, eventually
from replicas import at_node, paused, wait_applied, wait_for_same_hash

from metastore.client import Client, Lease, MetastoreError, ops
from metastore.client.results import TimeToLive

ROUNDS = int(os.environ.get("METASTORE_LEASE_ROUNDS", "2"))
TTL_S = 4
ELECTION_S = 2.0  # the default election timeout, at its longest
EXTENSION_S = 2.0  # for the leader to notice, to commit, and for us to ask

pytestmark = pytest.mark.timeout(120 + 20 * ROUNDS)


class Guard(threading.Thread):
    """Reads the keys of leases all the time; `broken` says which were gone too early."""

    def __init__(self, cluster: NodeProcesses, leases: dict[str, Lease]) -> None:
        super().__init__(daemon=True)
        self._client = cluster.client(timeout_s=2)
        self._leases = leases
        self._stopping = threading.Event()
        self.broken: list[str] = []
        self.reads_count = 0

    def run(self) -> None:
        with self._client as client:
            while not self._stopping.is_set():
                for key, lease in list(self._leases.items()):
                    try:
                        found = client.get(key)
                    except MetastoreError:
                        continue
                    self.reads_count += 1
                    if found is None and lease.is_alive:
                        self.broken.append(f"{key}, which had {lease.remaining():.3f} s left")

    def stop(self) -> None:
        self._stopping.set()
        self.join(10)


def put_with_lease(client: Client, key: str, ttl_s: int, *, keep_alive: bool) -> Lease:
    lease = client.lease(ttl_s, keep_alive=keep_alive)
    client.put(key, "leased", lease=lease)
    return lease


def test_a_leader_that_slept_lets_no_lease_expire_that_was_renewed_at_the_next_one(
    cluster: NodeProcesses,
) -> None:
    leader = cluster.leader()
    with cluster.client(timeout_s=20) as client:
        kept = put_with_lease(client, "kept", TTL_S, keep_alive=True)
        left = put_with_lease(client, "left", TTL_S, keep_alive=False)
        with paused(cluster, leader):
            successor = cluster.leader(cluster.others(leader))
            # Its clock says that both are over, when it wakes; only one of them is.
            eventually("the other lease is over", lambda: client.get("left") is None)
            kept.check()
            assert client.time_to_live(left).ttl_s == -1
        written = client.put("after", "it woke")
        wait_applied(cluster, cluster.status(successor)["applied"], [leader])
        kept.check()
        assert client.get("kept") is not None
        assert client.time_to_live(kept, keys=True).keys == (b"kept",)
        wait_for_same_hash(cluster, written.revision)
        kept.revoke()
        assert client.get("kept") is None


@BOTH_ENGINES
def test_a_lease_that_is_kept_alive_outlives_every_leader_and_one_that_is_not_outlives_none(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    """As long as it was granted at least; and at most an election and a little longer for every
    leader that came and went."""
    cluster = make_cluster(3)
    cluster.start()
    with cluster.client(timeout_s=20) as client:
        ttl_s = 6  # a third of it and an election fit twice
        leases = {"kept": put_with_lease(client, "kept", ttl_s, keep_alive=True)}
        guard = Guard(cluster, leases)
        guard.start()
        try:
            for number in range(ROUNDS):
                name = f"left/{number}"
                leases[name] = put_with_lease(client, name, TTL_S, keep_alive=False)
                granted_at = time.monotonic()
                leader = cluster.leader()
                cluster.kill(leader)
                cluster.leader(cluster.others(leader))
                bound_s = TTL_S + ELECTION_S + EXTENSION_S - (time.monotonic() - granted_at)
                eventually(
                    f"{name} is gone in time",
                    lambda name=name: client.get(name) is None,  # type: ignore[misc]
                    bound_s,
                )
                cluster.start(leader)
        finally:
            guard.stop()
        assert guard.reads_count > 0
        assert not guard.broken, guard.broken
        leases["kept"].check()
        assert client.get("kept") is not None
        ask_every_node(cluster, leases["kept"], client)


def ask_every_node(cluster: NodeProcesses, kept: Lease, client: Client) -> None:
    """Every node, asked itself, knows what the lease has left."""
    wait_for_same_hash(cluster, client.put("last", "").revision)
    for node_id in cluster.node_ids:
        with at_node(cluster, node_id) as one:
            found = one.batch([ops.lease_time_to_live(kept, keys=True)], level="local")[0]
        assert isinstance(found, TimeToLive)
        assert (found.granted_ttl_s, found.keys) == (kept.ttl_s, (b"kept",))
        assert 0 <= found.ttl_s <= kept.ttl_s
