"""Fixtures of the tests across processes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import GatewayCluster
from node_processes import NodeProcesses

# Nodes are started by forks while clients' threads run: gRPC would take its own locks for that.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# Files of tests that are skipped where something is missing, and what they are.
TOLD = {
    "test_network.py": "tests in network namespaces",
    "test_etcd_clients.py": "tests with client libraries of etcd",
}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Whether they ran."""
    for file, what in TOLD.items():
        counts = {
            outcome: sum(
                file in report.nodeid
                for report in terminalreporter.stats.get(outcome, ())
                if outcome == "skipped" or report.when == "call"
            )
            for outcome in ("passed", "failed", "skipped")
        }
        if any(counts.values()):
            told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
            terminalreporter.write_line(f"{what}: {told}")


@pytest.fixture
def engine() -> str:
    """What the nodes keep their data with; modules marked BOTH_ENGINES get each in turn."""
    return "memory"


@pytest.fixture
def make_cluster(
    xprocess: Any, tmp_path: Path, engine: str
) -> Iterator[Callable[..., NodeProcesses]]:
    """Makes clusters that are killed at the end; not yet started."""
    made: list[NodeProcesses] = []

    def make(count: int = 3, options: tuple[str, ...] = ()) -> NodeProcesses:
        folder = tmp_path / f"{tmp_path.name}-{len(made)}"
        folder.mkdir()
        made.append(NodeProcesses(xprocess, folder, count, options, engine))
        return made[-1]

    yield make
    for cluster in made:
        cluster.end()


@pytest.fixture
def cluster(make_cluster: Callable[..., NodeProcesses]) -> NodeProcesses:
    """Three running nodes with a leader."""
    three: NodeProcesses = make_cluster(3)
    three.start()
    three.leader()
    return three


@pytest.fixture
def make_gateways(
    xprocess: Any, tmp_path: Path, engine: str
) -> Iterator[Callable[..., GatewayCluster]]:
    """As make_cluster, with an etcd gateway beside each node."""
    made: list[GatewayCluster] = []

    def make(count: int = 3, options: tuple[str, ...] = ()) -> GatewayCluster:
        folder = tmp_path / f"{tmp_path.name}-g{len(made)}"
        folder.mkdir()
        made.append(GatewayCluster(xprocess, folder, count, options, engine))
        return made[-1]

    yield make
    for cluster in made:
        cluster.end()
