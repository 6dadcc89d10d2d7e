"""What streams of watches, locks and elections send: ours and a real etcd's, the same.

Each scenario (watch_scenarios.py, line_scenarios.py) is played against both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from etcd_process import EtcdProcess
from line_scenarios import LINES
from node_processes import NodeProcesses
from watch_scenarios import WATCHES
from watch_systems import Etcd, Ours, System

Scenario = Callable[[System], Awaitable[Any]]


@pytest.fixture(scope="module")
def addresses(xprocess: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ExitStack() as stack:
        etcd = EtcdProcess(tmp_path_factory.mktemp("etcd"))
        stack.callback(etcd.stop)
        folder = tmp_path_factory.mktemp("node")
        node = NodeProcesses(xprocess, folder, 1, ("--sync", "never"))
        stack.callback(node.end)
        node.start()
        node.leader()
        yield etcd.port, node.address(1, "client"), node.address(1, "status")


def played(addresses: Any, scenario: Scenario) -> list[Any]:
    """What etcd showed, and what ours did."""

    async def play(make: Callable[[], System]) -> Any:
        system = make()
        try:
            await system.begin()
            return await scenario(system)
        finally:
            await system.close()

    port, client, status = addresses
    return [asyncio.run(play(make)) for make in (lambda: Etcd(port), lambda: Ours(client, status))]


@pytest.mark.parametrize("scenario", [*WATCHES, *LINES], ids=lambda scenario: scenario.__name__)
def test_a_stream_sends_what_etcds_sends(addresses: Any, scenario: Scenario) -> None:
    etcds, ours = played(addresses, scenario)
    assert ours == etcds
