"""The transport in memory: the same contract, and the same seed gives the same deliveries."""

from metastore.transport.contract import PeerCarrier
from metastore.transport.limits import (
    PEER_PAYLOAD_BYTES_MAX,
    PEER_RECEIVE_QUEUE_MAX,
    PEER_SEND_QUEUE_MAX,
)
from metastore.transport.memory import MemoryNetwork, MemoryPeerTransport
from metastore.transport.peers import PeerTransport


def node(
    network: MemoryNetwork,
    node_id: int,
    *,
    incarnation: int = 1,
    cluster: int = 9,
    directory: int = 77,
    address: str = "",
) -> MemoryPeerTransport:
    address = address or f"node-{node_id}"
    transport = MemoryPeerTransport(cluster, node_id, directory, incarnation, address, network)
    meet(transport, 1, 2, 3)
    return transport


def meet(transport: MemoryPeerTransport, *peers: int) -> None:
    addresses = {peer: [f"node-{peer}"] for peer in peers}
    transport.set_members(addresses, dict.fromkeys(peers, 0), ())


def deliveries(seed: int) -> list[tuple[int, bytes]]:
    network = MemoryNetwork(seed, drop_probability=0.3, duplicate_probability=0.3)
    one, two = node(network, 1), node(network, 2)
    for number in range(100):
        one.send(2, bytes([number]))
    return two.drain(1000)


def test_both_transports_keep_the_contract() -> None:
    carriers: list[type[PeerCarrier]] = [PeerTransport, MemoryPeerTransport]
    names = [name for name in vars(PeerCarrier) if not name.startswith("_")]
    assert all(hasattr(carrier, name) for carrier in carriers for name in names)


def test_messages_arrive_in_order_within_the_budget() -> None:
    network = MemoryNetwork(1)
    one, two = node(network, 1), node(network, 2)
    assert all(one.send(2, payload) for payload in (b"a", b"b", b"c"))
    assert two.drain(2) == [(1, b"a"), (1, b"b")]
    assert two.drain(2) == [(1, b"c")]
    assert one.counters()["sent"] == {2: 3}
    assert two.counters()["received"] == {1: 3}


def test_the_same_seed_gives_the_same_deliveries_and_another_seed_others() -> None:
    assert deliveries(1) == deliveries(1) != deliveries(2)


def test_drops_and_duplicates_happen() -> None:
    arrived = [payload for _, payload in deliveries(1)]
    assert len(set(arrived)) < 100
    assert len(set(arrived)) < len(arrived)


def test_a_cut_is_silent_and_in_one_direction() -> None:
    network = MemoryNetwork(1)
    one, two = node(network, 1), node(network, 2)
    network.cut("node-1", "node-2")
    assert one.send(2, b"lost")
    assert two.send(1, b"heard")
    assert two.drain(10) == []
    assert one.drain(10) == [(2, b"heard")]
    assert network.lost_count == 1
    network.heal()
    one.send(2, b"healed")
    assert two.drain(10) == [(1, b"healed")]


def test_a_partition_cuts_both_directions_between_its_sides() -> None:
    network = MemoryNetwork(1)
    one, two, three = node(network, 1), node(network, 2), node(network, 3)
    network.partition(["node-1"], ["node-2", "node-3"])
    for sender, target in ((one, 2), (one, 3), (two, 1), (three, 1), (two, 3)):
        sender.send(target, b"x")
    assert [len(each.drain(10)) for each in (one, two, three)] == [0, 0, 1]


def test_what_cannot_be_sent_is_dropped_with_its_reason() -> None:
    network = MemoryNetwork(1)
    one = node(network, 1)
    assert not one.send(7, b"x")
    assert not one.send(2, b"x")
    two = node(network, 2)
    assert not one.send(2, bytes(PEER_PAYLOAD_BYTES_MAX + 1))
    for _ in range(PEER_SEND_QUEUE_MAX + PEER_RECEIVE_QUEUE_MAX):
        assert one.send(2, b"x")
    assert not one.send(2, b"x")
    reasons = {"not connected": 1, "oversized": 1, "queue full": 1}
    assert one.counters()["dropped"] == {0: {"unknown peer": 1}, 2: reasons}
    two.close()
    assert one.counters()["connected"] == []


def test_a_stranger_is_refused_and_told() -> None:
    network = MemoryNetwork(1)
    one, stranger = node(network, 1), node(network, 2, cluster=8)
    stranger.send(1, b"x")
    assert one.drain(10) == []
    assert one.counters()["refused"] == {0: {"stranger cluster": 1}}
    assert stranger.refusals == {1: "stranger cluster"}


def test_who_is_no_member_is_refused_until_it_is_one_again() -> None:
    network = MemoryNetwork(1)
    one, two = node(network, 1), node(network, 2, incarnation=5)
    meet(one, 3)
    two.send(1, b"x")
    assert one.drain(10) == []
    assert two.refusals == {1: "unknown node"}
    meet(one, 2, 3)
    two.send(1, b"y")
    assert one.drain(10) == [(2, b"y")]
    assert two.refusals == {}


def test_a_restarted_node_takes_over_its_address_and_the_old_one_is_refused() -> None:
    network = MemoryNetwork(1)
    one, old = node(network, 1), node(network, 2)
    new = node(network, 2, incarnation=2)
    one.send(2, b"x")
    assert (old.drain(10), new.drain(10)) == ([], [(1, b"x")])
    new.send(1, b"new")
    old.send(1, b"old")
    assert one.drain(10) == [(2, b"new")]
    old.close()
    assert one.send(2, b"y")


def test_a_removed_node_and_one_whose_disk_was_emptied_are_refused() -> None:
    network = MemoryNetwork(1)
    one, two, three = node(network, 1), node(network, 2), node(network, 3, directory=78)
    one.set_members({3: ["node-3"]}, {3: 77}, (2,))
    two.send(1, b"x")
    three.send(1, b"x")
    assert one.drain(10) == []
    assert two.refusals == {1: "removed"}
    assert three.refusals == {1: "lost data"}
    assert one.refusals == {}


def test_a_peer_is_looked_for_at_its_next_place_when_another_node_has_its_first() -> None:
    network = MemoryNetwork(1)
    one, two, three = node(network, 1), node(network, 2, address="moved"), node(network, 3)
    one.set_members({2: ["nowhere", "node-3", "moved"]}, {2: 0}, ())
    assert not one.send(2, b"to nobody")
    one.tick()
    one.send(2, b"to another node")
    assert three.drain(10) == []
    one.tick()
    one.send(2, b"found")
    one.tick()
    assert two.drain(10) == [(1, b"found")]
    assert one.refusals == {}
