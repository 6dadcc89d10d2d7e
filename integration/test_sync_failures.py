"""A sync fails once and would then succeed (A9): nothing that it should have covered is ever
acknowledged, the node stops by itself, and a start finds the last good record.
"""

from collections.abc import Callable

import pytest
from lost_power import faults_that_note_syncs, lose_power
from node_processes import BOTH_ENGINES, NodeProcesses

from metastore.client import Client
from metastore.client.errors import MetastoreError
from metastore.node.exit_codes import ExitCode

WRITES_MAX = 200

pytestmark = [pytest.mark.timeout(120), BOTH_ENGINES]


def write_until_refused(client: Client) -> list[str]:
    acknowledged: list[str] = []
    for number in range(WRITES_MAX):
        try:
            client.put(f"k/{number}", "value", timeout_s=2)
        except MetastoreError:
            break
        acknowledged.append(f"k/{number}")
    return acknowledged


def start_alone(make_cluster: Callable[..., NodeProcesses], fault: str) -> NodeProcesses:
    alone = make_cluster(1)
    alone.faults[1] = [*faults_that_note_syncs(alone.data_dir(1)), fault]
    alone.start()
    alone.leader()
    return alone


def missing_after_power_loss(alone: NodeProcesses, acknowledged: list[str]) -> set[str]:
    """The pages that could not be written are dropped: they are read once more and then gone."""
    lose_power(alone.data_dir(1), alone.engine)
    alone.faults.clear()
    alone.start()
    alone.leader()
    with alone.client() as client:
        stored = {kv.key.decode() for kv in client.scan("k", "l")}
        client.put("k/after", "repaired")
    return set(acknowledged) - stored


@pytest.mark.parametrize("operation", ["sync", "write"])
def test_a_disk_that_fails_once_stops_the_node_before_any_further_reply(
    make_cluster: Callable[..., NodeProcesses], operation: str
) -> None:
    alone = start_alone(make_cluster, f"eio@{operation}:20")
    with alone.client() as client:
        acknowledged = write_until_refused(client)
    assert alone.wait_gone(1) == ExitCode.STORAGE
    assert 0 < len(acknowledged) < 20
    last = alone.log(1).strip().splitlines()[-1]
    assert last.startswith("metastore node stopped, exit code 3 (storage)")
    assert "Input/output error" in last
    assert "Traceback" not in alone.log(1)
    assert not missing_after_power_loss(alone, acknowledged)


def test_a_disk_that_fails_without_saying_so_is_caught_with_writes_missing(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    alone = start_alone(make_cluster, "lie@sync:20")
    with alone.client() as client:
        acknowledged = write_until_refused(client)
    alone.kill(1)
    assert len(acknowledged) == WRITES_MAX
    assert missing_after_power_loss(alone, acknowledged)
