"""Fixtures of the transport's tests: contexts, nodes, receivers, and waiting for a condition. Puts
this folder on sys.path, for `keyed`."""

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from metastore.transport.chunks import SnapshotReceiver
from metastore.transport.peers import PeerTransport

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)

DEADLINE_S = 20.0
ANY_PORT = "tcp://127.0.0.1:*"
NOWHERE = "tcp://127.0.0.1:1"
CLUSTER = 9
DIRECTORY = 77

Opener = Callable[..., PeerTransport]
Eventually = Callable[[Callable[[], Any]], Any]


def _eventually(condition: Callable[[], Any]) -> Any:
    """The first true value of `condition`; fails the test at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        pause.wait(0.002)
    pytest.fail("the condition did not become true in time")


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    return _eventually


@pytest.fixture
def collect() -> Callable[[Callable[[], list[Any]], int], list[Any]]:
    """What repeated calls of a drain give, until there are `count` of it."""

    def collect(drain: Callable[[], list[Any]], count: int) -> list[Any]:
        arrived: list[Any] = []

        def is_complete() -> bool:
            arrived.extend(drain())
            return len(arrived) >= count

        _eventually(is_complete)
        return arrived

    return collect


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    """Its end closes what a failed test left open; LINGER is 0 for all of it."""
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def raw(context: zmq.Context[Any]) -> Callable[..., Any]:
    """A plain DEALER or REQ, as somebody else's program would open it. Kept until the test ends: a
    socket that is collected closes, and with LINGER 0 loses what it was given."""
    opened: list[Any] = []

    def connect(address: str, kind: int = zmq.DEALER, routing_id: bytes = b"") -> Any:
        socket = context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, int(DEADLINE_S * 1000))
        if routing_id:
            socket.setsockopt(zmq.ROUTING_ID, routing_id)
        socket.connect(address)
        opened.append(socket)
        return socket

    return connect


@pytest.fixture
def node(context: zmq.Context[Any]) -> Iterator[Opener]:
    opened: list[PeerTransport] = []

    def make(
        node_id: int,
        peers: dict[int, str],
        *,
        incarnation: int = 1,
        directory: int = DIRECTORY,
        cluster: int = CLUSTER,
        bind: str = ANY_PORT,
        **options: Any,
    ) -> PeerTransport:
        transport = PeerTransport(
            cluster, node_id, directory, incarnation, bind, context, **options
        )
        opened.append(transport)
        _meet(transport, peers)
        return transport

    yield make
    for transport in opened:
        transport.close()


def _meet(transport: PeerTransport, peers: dict[int, str]) -> None:
    addresses = {peer: [address] for peer, address in peers.items()}
    transport.set_members(addresses, dict.fromkeys(peers, 0), ())


@pytest.fixture
def meet() -> Callable[[PeerTransport, dict[int, str]], None]:
    """Makes these the peers, each at one place and with any data directory."""
    return _meet


@pytest.fixture
def pair(node: Opener, eventually: Eventually) -> tuple[PeerTransport, PeerTransport]:
    """Nodes 1 and 2, connected both ways."""
    one = node(1, {2: NOWHERE})
    two = node(2, {1: one.address})
    _meet(one, {2: two.address})
    eventually(lambda: one.counters()["connected"] and two.counters()["connected"])
    return one, two


class Receiving:
    """A receiver and what it handed over; `wanted` may be replaced."""

    def __init__(
        self, context: zmq.Context[Any], directory: Path, bind: str, **options: Any
    ) -> None:
        self.wanted: Callable[[int, dict[str, Any]], bool] = lambda sender, meta: True
        self.prepare: Callable[[int, dict[str, Any], Path], None] = lambda sender, meta, path: None
        self.deaths: list[BaseException] = []
        self.arrived: queue.Queue[tuple[int, dict[str, Any], Path]] = queue.Queue()
        self.directory = directory
        self.server = SnapshotReceiver(
            CLUSTER,
            1,
            DIRECTORY,
            1,
            bind,
            directory,
            lambda sender, meta: self.wanted(sender, meta),
            lambda sender, meta, path: self.prepare(sender, meta, path),
            lambda sender, meta, path: self.arrived.put((sender, meta, path)),
            context,
            self.deaths.append,
            **options,
        )
        self.server.set_members({2: 0, 3: 0}, ())


@pytest.fixture
def open_receiver(context: zmq.Context[Any], tmp_path: Path) -> Iterator[Callable[..., Receiving]]:
    """Opens receivers, one after the other, on one directory."""
    opened: list[Receiving] = []

    def make(bind: str = ANY_PORT, **options: Any) -> Receiving:
        opened.append(Receiving(context, tmp_path / "incoming", bind, **options))
        return opened[-1]

    yield make
    for receiving in opened:
        receiving.server.close()


@pytest.fixture
def receiving(open_receiver: Callable[..., Receiving]) -> Receiving:
    return open_receiver()
