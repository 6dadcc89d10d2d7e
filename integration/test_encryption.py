"""Whoever listens to the network sees no key and no value if the nodes use keys.

The control run without keys shows that the same eyes do find them. Skipped, with the reason, where
packets cannot be captured.
"""

import secrets
from collections.abc import Callable
from pathlib import Path

import capture
import pytest
from node_keys import Keyring
from node_processes import SOCKETS, NodeProcesses, eventually
from replicas import snapshots_received, wait_for_same_hash

from metastore.client import Client, prefix_range

OPTIONS = ("--snapshot-entries", "100", "--snapshot-trailing-entries", "10")
PIECE = 12  # characters: a marker may be cut in two by the borders of packets

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(bool(capture.why_not()), reason=capture.why_not() or "it can be done"),
]


@pytest.mark.parametrize(
    ("engine", "has_keys"), [("memory", True), ("rocksdb", True), ("memory", False)]
)
def test_nothing_of_what_is_stored_can_be_read_on_the_network(
    make_cluster: Callable[..., NodeProcesses], tmp_path: Path, has_keys: bool
) -> None:
    cluster = make_cluster(1, OPTIONS)
    ring = Keyring(cluster) if has_keys else None
    cluster.give_ports(2)
    ports = {port: name for node in cluster.ports.values() for name, port in node.items()}
    key, value = (secrets.token_hex(24) for _ in range(2))
    with capture.Capture(tmp_path, list(ports)) as eyes:
        cluster.start(1)
        with Client(cluster.endpoints[:1], timeout_s=20, **cluster.client_options) as client:
            use(client, key, value)
            join(cluster, client, 2)
            # It got the past by a snapshot, and gets this one as an entry.
            wait_for_same_hash(cluster, client.put(key, value).revision)
        with cluster.client() as client:
            assert set(client.status()) == {1, 2}
        eventually("it came by a snapshot", lambda: snapshots_received(cluster, 2))
        seen = eyes.stop()

    for name in SOCKETS:
        assert any(data for port, data in seen.items() if ports[port] == name), f"nothing of {name}"
    told = {ports[port] for port, data in seen.items() if tells(data, key) or tells(data, value)}
    if ring is None:
        assert told == set(SOCKETS) - {"status"}, "the same eyes see what is not encrypted"
    else:
        assert not told
        assert not any(tells(data, secret) for data in seen.values() for secret in ring.secrets())


def use(client: Client, key: str, value: str) -> None:
    """Whatever a client does: writes, reads, a watch and a transaction; enough for a snapshot."""
    with client.watch(key, prefix=True) as watch:
        client.put(key, value)  # a node alone is never behind
        event = watch.get(timeout_s=20)
        assert event is not None
        assert event.item.value == value.encode()
    for number in range(120):
        client.put(f"{key}/{number}", value)
    kv = client.get(key)
    assert kv is not None
    assert len(client.range(*prefix_range(key.encode())).items) == 121
    client.status()


def join(cluster: NodeProcesses, client: Client, node_id: int) -> None:
    cluster.join(node_id)
    eventually(
        f"node {node_id} belongs to them",
        lambda: {m.node_id: m.state for m in client.members()}.get(node_id) == "member",
    )


def tells(data: bytes, marker: str) -> bool:
    """Whether a good part of the marker can be read there."""
    pieces = (marker[at : at + PIECE] for at in range(0, len(marker) - PIECE + 1, PIECE))
    return any(piece.encode() in data for piece in pieces)
