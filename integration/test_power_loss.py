"""Power goes: what no sync had covered is gone too. Whatever was acknowledged must not be (A3, A6,
A15). The same with syncs left out must be noticed, or these tests would prove nothing.
"""

from collections.abc import Callable, Sequence

import pytest
from load import Writer, Written, start_writers
from lost_power import faults_that_note_syncs, lose_power
from node_processes import BOTH_ENGINES, NodeProcesses, eventually

WRITES_AT_LEAST = 100
CHUNKS, WRITES_A_CHUNK = 5, 200

pytestmark = [pytest.mark.timeout(180), BOTH_ENGINES]


@pytest.fixture
def start_on_losing_disks(
    make_cluster: Callable[..., NodeProcesses],
) -> Callable[..., NodeProcesses]:
    def start(count: int, *options: str) -> NodeProcesses:
        cluster = make_cluster(count, options)
        for node_id in cluster.node_ids:
            cluster.faults[node_id] = faults_that_note_syncs(cluster.data_dir(node_id))
        cluster.start()
        cluster.leader()
        return cluster

    return start


def power_loss(cluster: NodeProcesses, writers: Sequence[Writer] = ()) -> int:
    """Of all nodes at once; returns how many bytes were lost. The writers must not go on: they
    would soon write all that was lost anew."""
    cluster.kill(*cluster.node_ids)
    for writer in writers:
        writer.stopping.set()
    lost = [lose_power(cluster.data_dir(n), cluster.engine) for n in cluster.node_ids]
    cluster.start()
    cluster.leader()
    return sum(lost)


def write_and_lose_power(cluster: NodeProcesses, number: int, written: Written) -> int:
    with cluster.client() as client:
        writers = start_writers(client, str(number))
        try:
            eventually("enough is written", lambda: sum(map(_count, writers)) > WRITES_AT_LEAST)
            return power_loss(cluster, writers)
        finally:
            written.stop(writers)


def _count(writer: Writer) -> int:
    return writer.number


def test_a_cluster_that_loses_power_as_a_whole_keeps_all_it_acknowledged(
    start_on_losing_disks: Callable[..., NodeProcesses],
) -> None:
    cluster = start_on_losing_disks(3, "--snapshot-entries", "150")
    written = Written()
    for number in range(2):
        write_and_lose_power(cluster, number, written)
        with cluster.client() as client:
            written.check(client, f"round {number}")


def test_a_cluster_without_syncs_that_loses_power_is_caught_with_writes_missing(
    start_on_losing_disks: Callable[..., NodeProcesses],
) -> None:
    cluster = start_on_losing_disks(3, "--sync", "never")
    written = Written()
    assert write_and_lose_power(cluster, 0, written) > 0
    with cluster.client() as client, pytest.raises(AssertionError, match="acknowledged was"):
        written.check(client, "without syncs")


def write_one_by_one(cluster: NodeProcesses, name: str) -> dict[str, str]:
    """The last reply is the last thing that happens before the power goes."""
    acknowledged = {}
    with cluster.client() as client:
        for count in range(WRITES_A_CHUNK):
            client.put(f"k/{name}/{count}", str(count))
            acknowledged[f"k/{name}/{count}"] = str(count)
        power_loss(cluster)
    return acknowledged


def missing(cluster: NodeProcesses, acknowledged: dict[str, str]) -> set[str]:
    with cluster.client() as client:
        stored = {kv.key.decode(): kv.value.decode() for kv in client.scan("k", "l")}
    return {key for key, value in acknowledged.items() if stored.get(key) != value}


def test_a_single_node_that_loses_power_right_after_its_reply_has_lost_no_write(
    start_on_losing_disks: Callable[..., NodeProcesses],
) -> None:
    """A6: with one voter nobody else would have it (etcd#14370)."""
    alone = start_on_losing_disks(1)
    acknowledged: dict[str, str] = {}
    for number in range(CHUNKS):
        acknowledged |= write_one_by_one(alone, str(number))
        assert not missing(alone, acknowledged)
    assert len(acknowledged) == CHUNKS * WRITES_A_CHUNK


def test_a_single_node_without_syncs_is_caught_with_writes_missing(
    start_on_losing_disks: Callable[..., NodeProcesses],
) -> None:
    alone = start_on_losing_disks(1, "--sync", "never")
    assert missing(alone, write_one_by_one(alone, "never synced"))
