"""What the client's tests share: a cluster of scripted nodes, the `metastore` command in front of
it; and this folder on sys.path, for `fake_cluster` and its like."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zmq
from click.testing import CliRunner, Result

from metastore.client.command.main import cli
from metastore.transport.security import Keys

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)
from fake_cluster import FakeCluster  # noqa: E402  (needs the line above)


@pytest.fixture
def make_cluster() -> Iterator[Callable[..., FakeCluster]]:
    made: list[FakeCluster] = []

    def make(
        nodes_count: int = 1, leader_id: int = 1, node_keys: Sequence[Keys] = ()
    ) -> FakeCluster:
        made.append(FakeCluster(nodes_count, leader_id, node_keys))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(make_cluster: Callable[..., FakeCluster]) -> FakeCluster:
    """One node, which leads."""
    return make_cluster()


@pytest.fixture
def unused_address() -> str:
    """Where nobody listens."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    socket.close(0)
    context.term()
    return f"tcp://127.0.0.1:{port}"


@pytest.fixture
def run(cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs the command in an empty directory, with the cluster's endpoint in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METASTORE_ENDPOINTS", cluster.leader.client_address)
    return lambda *arguments, **options: CliRunner().invoke(cli, arguments, **options)
