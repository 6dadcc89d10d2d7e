"""A store that is full refuses what would make it larger, alike on every replica, and recovers."""

from collections.abc import Callable

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses, eventually
from replicas import at_node, details, wait_for_same_hash

from metastore.client import Client, InvalidRequest, MetastoreError, ops, version
from metastore.transport.schema import NO_SPACE, Alarm, Code

QUOTA_BYTES = 200_000
VALUE = b"x" * 2_000

pytestmark = pytest.mark.timeout(90)


def fill(client: Client) -> int:
    """Until it is refused; how many keys there are."""
    told: tuple[int, str] | None = None
    for number in range(1_000):
        try:
            client.put(f"fill/{number:04}", VALUE)
        except InvalidRequest as error:
            told = (error.code, str(error))
            break
    assert told == (Code.RESOURCE_EXHAUSTED, NO_SPACE)
    return number


def check_refusals(client: Client) -> None:
    with pytest.raises(InvalidRequest, match=NO_SPACE):
        client.put("fill/0000", b"")
    with pytest.raises(InvalidRequest, match=NO_SPACE):
        client.txn(version("fill/0000") > 0, [ops.get("fill/0000")], [ops.put("other", b"")])
    with pytest.raises(InvalidRequest, match=NO_SPACE):
        client.lease(60)


def alarms_at(cluster: NodeProcesses, node_id: int) -> tuple[int, ...] | None:
    with at_node(cluster, node_id) as client:
        try:
            return client.alarms(level="local")
        except MetastoreError:
            return None


def wait_for_alarms(cluster: NodeProcesses, expected: tuple[int, ...]) -> None:
    for node_id in cluster.node_ids:
        eventually(
            f"node {node_id} has the alarms {expected}",
            lambda node_id=node_id: (  # type: ignore[misc]
                alarms_at(cluster, node_id) == expected
            ),
        )


@BOTH_ENGINES
def test_a_full_store_refuses_writes_alike_on_every_replica_and_recovers_by_itself(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3, ("--quota-bytes", str(QUOTA_BYTES)))
    cluster.start()
    leader = cluster.leader()
    with cluster.client() as client:
        count = fill(client)
        check_refusals(client)
        wait_for_alarms(cluster, (int(Alarm.NOSPACE),))
        wait_for_same_hash(cluster, client.range("fill/", limit=1).revision)

        # The refusal is a matter of the log: it holds at the next leader, and after a restart.
        cluster.kill(leader)
        cluster.leader(cluster.others(leader))
        check_refusals(client)
        cluster.start(leader)
        wait_for_alarms(cluster, (int(Alarm.NOSPACE),))
        eventually(
            "the status says it (it is published once a tick)",
            lambda: "NOSPACE" in " ".join(details(cluster, leader).get("alarms", ())),
        )

        # Reading, deleting and compacting are the way out.
        assert client.range("fill/", "fill0", count_only=True).count == count
        deleted = client.delete_range("fill/", "fill0")
        assert deleted.deleted == count
        client.compact(deleted.revision)
        wait_for_alarms(cluster, ())
        written = client.put("fill/again", VALUE)
        assert wait_for_same_hash(cluster, written.revision)[2] == deleted.revision
