"""Three nodes on three hosts with addresses of their own, on a network that can be cut one way and
both ways, lose packets and delay them: writes go on, and nothing acknowledged is lost.

Skipped, with the reason, where network namespaces cannot be made.
"""

from collections.abc import Callable, Iterator

import network
import pytest
from load import Written, start_writers
from network import Network
from node_processes import NodeProcesses, eventually
from replicas import wait_for_same_hash

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(bool(network.why_not()), reason=network.why_not() or "it can be made"),
]
NODES = (1, 2, 3)
CLIENTS = 4  # the host of the clients
ENOUGH = 20  # writes acknowledged during a fault


@pytest.fixture(scope="module")
def hosts() -> Iterator[Network]:
    with Network(4, seed=20) as made:
        yield made


@pytest.fixture
def spread(hosts: Network, make_cluster: Callable[..., NodeProcesses]) -> Iterator[NodeProcesses]:
    """Running, each node on a host of its own."""
    cluster = make_cluster(3, options=("--insecure",))
    for node_id in NODES:
        cluster.hosts[node_id] = hosts.address(node_id)
        cluster.around[node_id] = hosts.command(node_id)
    cluster.context = hosts.context(CLIENTS)
    cluster.start()
    cluster.leader()
    yield cluster
    hosts.heal()
    hosts.degrade()
    cluster.end()


def writes_go_on(written: Written, cluster: NodeProcesses, fault: str) -> None:
    """Acknowledged ones, by writers that begin in the middle of the fault."""
    with cluster.client(timeout_s=10) as client:
        writers = start_writers(client, fault)
        eventually(
            f"{ENOUGH} writes are acknowledged: {fault}",
            lambda: sum(len(writer.acknowledged) for writer in writers) > ENOUGH,
            60,
        )
        written.stop(writers)
        written.check(client, fault)


def test_writes_go_on_while_links_are_cut_and_nothing_is_lost(
    hosts: Network, spread: NodeProcesses
) -> None:
    written = Written()
    leader = spread.leader()
    followers = spread.others(leader)

    for follower in followers:  # it hears everybody, and reaches no other node
        hosts.cut(leader, follower)
    successor = spread.leader(followers)
    writes_go_on(written, spread, "leader cannot send")
    hosts.heal()
    spread.leader()

    leader = spread.leader()
    for follower in spread.others(leader):  # it reaches everybody, and hears no other node
        hosts.cut(follower, leader)
    writes_go_on(written, spread, "leader cannot hear")
    hosts.heal()
    spread.leader()

    leader = spread.leader()
    hosts.isolate(leader)
    successor = spread.leader(spread.others(leader))
    assert successor != leader
    writes_go_on(written, spread, "leader isolated")
    hosts.heal()
    spread.leader()
    with spread.client(timeout_s=10) as client:
        written.check(client, "after all cuts")
        revision = client.put("last", "one").revision
    wait_for_same_hash(spread, revision)


def test_writes_go_on_over_a_slow_network_that_loses_packets(
    hosts: Network, spread: NodeProcesses
) -> None:
    written = Written()
    lost = hosts.lost_count
    hosts.degrade(delay_s=0.01, loss=0.02)
    writes_go_on(written, spread, "slow and losing")
    assert hosts.lost_count > lost, "the network lost nothing"
    hosts.degrade()
    with spread.client(timeout_s=10) as client:
        written.check(client, "healthy again")
        revision = client.put("last", "one").revision
    wait_for_same_hash(spread, revision)
