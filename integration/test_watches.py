"""Five hundred watchers on three nodes, while nodes die and sleep and history is compacted: each
sees every revision that is its business once, in order, complete, or is told that it is too late.

METASTORE_WATCH_WRITES sets how many revisions are written, METASTORE_WATCH_SEED what is in them.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses, eventually
from replicas import at_node, details, paused, wait_for_same_hash
from tcp_links import Link, links
from watch_readers import KEYS, KEYS_END, Reader, Written

from metastore.client import Client, Compacted

WRITES = int(os.environ.get("METASTORE_WATCH_WRITES", "400"))
SEED = int(os.environ.get("METASTORE_WATCH_SEED", "1"))
WATCHERS = 500
CLIENTS_PER_NODE = 2
OPTIONS = ("--snapshot-entries", "100", "--snapshot-trailing-entries", "10")

pytestmark = pytest.mark.timeout(120 + WRITES // 10)


@contextmanager
def watchers(cluster: NodeProcesses, seed: int) -> Iterator[list[Reader]]:
    """Over several connections to each node; a tenth reads slowly: nothing until all is written. A
    client goes to the other nodes when its own fails it."""
    chance = random.Random(seed)
    with ExitStack() as stack:
        clients = []
        for node_id in cluster.node_ids * CLIENTS_PER_NODE:
            order = [node_id, *cluster.others(node_id)]
            endpoints = [cluster.address(each, "client") for each in order]
            clients.append(stack.enter_context(Client(endpoints, timeout_s=20)))
        yield [
            Reader.drawn(clients[number % len(clients)], chance, is_slow=number % 10 == 0)
            for number in range(WATCHERS)
        ]


def write_past_the_log(cluster: NodeProcesses, written: Written, client: Client, of: int) -> None:
    """Until the leader holds nothing any more of what the node `of` needs, which hears nothing."""
    leader = cluster.leader(cluster.others(of))
    last = details(cluster, leader)["log"]["last_index"]

    def is_gone() -> bool:
        written.write(client, 20)
        return bool(details(cluster, leader).get("log", {}).get("first_index", 0) > last)

    eventually("the leader's log no longer holds what that node needs", is_gone)


@contextmanager
def cuttable(
    make_cluster: Callable[..., NodeProcesses],
) -> Iterator[tuple[NodeProcesses, dict[tuple[int, int], Link]]]:
    """A running cluster, and the links between its nodes."""
    cluster = make_cluster(3, OPTIONS)
    peers = [(near, far) for near in cluster.node_ids for far in cluster.others(near)]
    with links({(near, far): cluster.ports[far]["peer"] for near, far in peers}) as network:
        cluster.peer_port_seen_by = {pair: link.port for pair, link in network.items()}
        cluster.start()
        cluster.leader()
        yield cluster, network
        cluster.stop()


@BOTH_ENGINES
def test_every_watcher_sees_every_revision_once_in_order_and_complete(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    """While a node is killed and returns, and another one, serving its watchers, is cut off from
    the others until only a snapshot can help it."""
    written = Written(SEED)
    with (
        cuttable(make_cluster) as (cluster, network),
        cluster.client(timeout_s=20) as client,
        watchers(cluster, SEED) as readers,
    ):
        killed, cut_off = cluster.others(cluster.leader())
        quick = [reader for reader in readers if not reader.is_slow]
        written.write(client, WRITES // 4)
        for reader in quick:
            reader.read(written)

        cluster.kill(killed)
        written.write(client, WRITES // 4)
        for reader in quick[:: 1 + len(quick) // 50]:
            reader.read(written)
        cluster.start(killed)
        cluster.leader()

        around = [link for pair, link in network.items() if cut_off in pair]
        for link in around:
            link.cut()
        write_past_the_log(cluster, written, client, cut_off)
        for link in around:
            link.heal()
        eventually("it got a snapshot", lambda: "restored snapshot" in cluster.log(cut_off))
        written.write(client, WRITES // 4)
        written.touch_everything(client)
        for reader in readers:
            reader.read(written)
            reader.check(written)
        assert not any(reader.compacted for reader in readers)


def test_slow_watchers_see_all_or_are_told_of_the_compaction_and_quick_ones_see_all(
    cluster: NodeProcesses,
) -> None:
    written = Written(SEED)
    with cluster.client(timeout_s=20) as client, watchers(cluster, SEED) as readers:
        for _ in range(3):
            written.write(client, 40)
            for reader in readers:
                if not reader.is_slow:
                    reader.read(written)
        # At a revision that deletes, to which etcd once lost the deletion itself.
        written.put_all(client, KEYS)
        deleted = written.delete(client, KEYS[3])
        client.compact(deleted.revision, physical=True)
        written.write(client, 40)
        written.touch_everything(client)
        for reader in readers:
            reader.read(written)
        for reader in readers:
            reader.check(written)
            assert reader.compacted in (0, deleted.revision)
        assert any(reader.compacted for reader in readers if reader.is_slow)


@BOTH_ENGINES
def test_any_revision_that_is_not_compacted_can_be_watched_from_on_every_node(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    """The compacted one included, even if it is a deletion; after a restart, too."""
    cluster = make_cluster(3, OPTIONS)
    cluster.start()
    written = Written(SEED)
    sleeping, *_ = cluster.others(cluster.leader())
    with cluster.client(timeout_s=20) as client:
        written.write(client, 30)
        written.put_all(client, KEYS)
        with paused(cluster, sleeping):
            deleted = written.delete(client, KEYS[5]).revision
            client.compact(deleted, physical=True)
            write_past_the_log(cluster, written, client, sleeping)
            written.touch_everything(client)
        wait_for_same_hash(cluster, written.revision)
        for node_id in cluster.node_ids:
            check_history(cluster, node_id, written, deleted)
        cluster.kill(*cluster.node_ids)
        cluster.start()
        cluster.leader()
        wait_for_same_hash(cluster, written.revision)
        for node_id in cluster.node_ids:
            check_history(cluster, node_id, written, deleted)


def check_history(cluster: NodeProcesses, node_id: int, written: Written, oldest: int) -> None:
    with at_node(cluster, node_id) as client:
        for start in range(oldest, written.revision + 1, 7):
            for filters in ((), ("put",), ("delete",)):
                reader = Reader.open(client, start_revision=start, filters=filters)
                reader.read(written)
                reader.check(written)
                reader.watch.close()
        with Reader.open(client, KEYS[5], "", start_revision=oldest).watch as watch:
            first = watch.get(20)
            assert first is not None
            assert (first.kind, first.item.mod_revision) == ("delete", oldest)
        # Of the compacted revision itself, what was there before may be gone; of later ones not.
        reader = Reader.open(client, start_revision=oldest + 1, with_previous=True)
        reader.read(written)
        reader.check(written)
        with pytest.raises(Compacted) as caught:
            Reader.open(client, start_revision=oldest - 1).watch.get(20)
        assert caught.value.revision == oldest
        with client.watch(KEYS[0], KEYS_END, start_revision=oldest, progress=True) as watch:
            watch.ask_progress()
            assert any(not r.events and r.revision >= written.revision for r in watch.revisions())
