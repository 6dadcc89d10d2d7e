"""A stop is quick whoever is dead and whatever was not sent (H5); and after a fork the parent's
client is the parent's."""

import contextlib
import multiprocessing
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from node_processes import NodeProcesses, eventually
from replicas import details

from metastore.client import Client, ClientMisused, MetastoreError

STOP_DEADLINE_S = 2.0  # promised for SIGTERM

pytestmark = pytest.mark.timeout(120)


def test_a_leader_with_a_dead_and_a_sleeping_peer_and_unsent_messages_stops_within_two_seconds(
    cluster: NodeProcesses,
) -> None:
    leader = cluster.leader()
    dead, sleeping = cluster.others(leader)
    cluster.signal(sleeping, signal.SIGSTOP)
    cluster.kill(dead)
    client = cluster.client(timeout_s=30)
    writers = [
        threading.Thread(target=put_in_vain, args=(client, number), daemon=True)
        for number in range(16)
    ]
    for writer in writers:
        writer.start()
    eventually(
        "writes wait for a majority that there is not",
        lambda: details(cluster, leader)["counters"]["proposals.pending"] > 0,
    )
    cluster.signal(leader, signal.SIGTERM)
    assert cluster.wait_gone(leader, STOP_DEADLINE_S) == 0
    assert "node stopped" in cluster.log(leader)
    client.close()
    for writer in writers:
        writer.join(10)
        assert not writer.is_alive()
    cluster.signal(sleeping, signal.SIGCONT)


def put_in_vain(client: Client, number: int) -> None:
    with contextlib.suppress(MetastoreError):
        client.put(f"vain/{number}", bytes(100_000))


IMPORTED = """
import os
import zmq
import metastore.client, metastore.client.aio, metastore.node.loop, metastore.node.process
print(zmq.Context._instance, len(os.listdir("/proc/self/task")))
"""


def test_imports_make_neither_a_context_nor_a_thread() -> None:
    """A program that forks after its imports forks nothing of ours."""
    shown = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True
    ).stdout
    assert shown.split() == ["None", "1"]


def use(client: Client, endpoints: list[str], told: Any) -> None:
    try:
        client.get("before")
    except ClientMisused as error:
        told.put(str(error))
    with Client(endpoints) as own:
        told.put(own.put("after", "the fork").revision)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking beside threads is the point
def test_a_worker_of_multiprocessing_is_refused_the_parents_client_and_makes_its_own(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(1)
    cluster.start()
    forking = multiprocessing.get_context("fork")
    told = forking.SimpleQueue()
    with cluster.client() as client:
        revision = client.put("before", "the fork").revision
        worker = forking.Process(target=use, args=(client, cluster.endpoints, told))
        worker.start()
        assert "made before a fork; make a new one in the child" in told.get()
        assert told.get() == revision + 1
        worker.join()
        assert worker.exitcode == 0
        found = client.get("after")
        assert found is not None
