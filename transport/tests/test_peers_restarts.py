"""A peer that dies and returns under its own name, again and again; and what a queue would keep for
it meanwhile. Each protecting option is taken away once, to see what it protects from (H2, H3)."""

import contextlib
from collections.abc import Callable
from typing import Any, cast

import pytest
import zmq

from metastore.transport import limits, links, peers
from metastore.transport.errors import BindFailed
from metastore.transport.peers import PeerTransport

NOWHERE = "tcp://127.0.0.1:1"
RESTARTS = 200
FENCE = 50  # messages of somebody else, after which one that was sent before will not come

Opener = Callable[..., PeerTransport]
Eventually = Callable[[Callable[[], Any]], Any]


class Restarting:
    """Node 2, which dies without a word: its connection to node 1 is not closed, as after a power
    cut or behind a broken line, so that node 1 goes on holding it."""

    def __init__(self, node: Opener, one: PeerTransport, eventually: Eventually) -> None:
        self._node = node
        self._one = one
        self._eventually = eventually
        self.incarnation = 1
        self._held: list[Any] = []
        self.transport: PeerTransport = node(2, {1: one.address})
        self.address = self.transport.address

    def restart(self, *, is_new_process: bool) -> None:
        self.incarnation += is_new_process
        # Closed only with the one after it: the new connection always meets the old one.
        for link in self._held:
            link.close()
        self._held = [self.transport._links.pop(1)]
        self.transport.close()
        self.transport = cast(PeerTransport, self._eventually(self._open_or_none))

    def _open_or_none(self) -> PeerTransport | None:
        with contextlib.suppress(BindFailed):  # libzmq gives up a port in the background
            return self._node(
                2, {1: self._one.address}, incarnation=self.incarnation, bind=self.address
            )
        return None

    def end(self) -> None:
        for link in self._held:
            link.close()


@pytest.fixture
def one(node: Opener) -> PeerTransport:
    return node(1, {2: NOWHERE})


@pytest.fixture
def two(one: PeerTransport, node: Opener, meet: Any, eventually: Eventually) -> Any:
    restarting = Restarting(node, one, eventually)
    meet(one, {2: restarting.address})
    yield restarting
    restarting.end()


def is_heard(sender: PeerTransport, receiver: PeerTransport, to: int, mark: bytes) -> bool:
    sender.send(to, mark)
    return mark in [payload for _, payload in receiver.drain(1000)]


@pytest.mark.parametrize("is_new_process", [True, False], ids=["new process", "same process"])
def test_traffic_resumes_both_ways_each_of_200_times_though_the_old_connection_is_held(
    one: PeerTransport, two: Restarting, eventually: Eventually, is_new_process: bool
) -> None:  # H3
    for number in range(RESTARTS):
        two.restart(is_new_process=is_new_process)
        mark = b"%d" % number
        eventually(lambda mark=mark: is_heard(two.transport, one, 1, mark))
        eventually(lambda mark=mark: is_heard(one, two.transport, 2, mark))
    assert one.counters()["refused"] == {}


def test_without_a_handover_who_returns_is_never_heard_while_the_old_connection_is_held(
    node: Opener, meet: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:  # H3, the twin
    open_router = peers.open_router
    monkeypatch.setattr(
        peers, "open_router", lambda *a, **o: open_router(*a, **{**o, "takes_over": False})
    )
    one = node(1, {2: NOWHERE, 3: NOWHERE})
    two = Restarting(node, one, eventually)
    three = node(3, {1: one.address})
    meet(one, {2: two.address, 3: three.address})
    eventually(lambda: is_heard(two.transport, one, 1, b"before"))
    two.restart(is_new_process=False)
    eventually(lambda: two.transport.send(1, b"after"))
    heard: list[tuple[int, bytes]] = []
    for _ in range(FENCE):
        two.transport.send(1, b"after")
        eventually(lambda: three.send(1, b"fence"))
        heard += eventually(lambda: one.drain(1000))
    two.end()
    assert (3, b"fence") in heard
    assert (2, b"after") not in heard


def messages_kept_for_an_absent_peer(
    node: Opener, meet: Any, eventually: Eventually, one: PeerTransport, count: int
) -> list[bytes]:
    """What a peer finds on its return, up to the first message that was sent after it."""
    for number in range(count):
        one.send(2, b"%d" % number)
    two = node(2, {1: one.address})
    meet(one, {2: two.address})
    found: list[bytes] = []

    def has_fresh_one() -> bool:
        one.send(2, b"fresh")
        found.extend(payload for _, payload in two.drain(10 * count))
        return b"fresh" in found

    eventually(has_fresh_one)
    return found[: found.index(b"fresh")]


@pytest.fixture
def absent_address(context: zmq.Context[Any]) -> str:
    """Where nobody listens yet."""
    socket = context.socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    socket.unbind(f"tcp://127.0.0.1:{port}")
    socket.close(0)
    return f"tcp://127.0.0.1:{port}"


class Absent:
    """Opens node 2 where node 1 has dialled it all the time."""

    def __init__(self, node: Opener, address: str, eventually: Eventually) -> None:
        self._node, self._address, self._eventually = node, address, eventually

    def __call__(self, node_id: int, dialled: dict[int, str]) -> PeerTransport:
        def open_or_none() -> PeerTransport | None:
            with contextlib.suppress(BindFailed):
                return self._node(node_id, dialled, bind=self._address)
            return None

        return cast(PeerTransport, self._eventually(open_or_none))


def test_a_peer_that_was_away_finds_nothing_that_was_sent_meanwhile(
    node: Opener, meet: Any, eventually: Eventually, absent_address: str
) -> None:  # H2
    one = node(1, {2: absent_address})
    returns = Absent(node, absent_address, eventually)
    assert messages_kept_for_an_absent_peer(returns, meet, eventually, one, 1000) == []


def test_without_immediate_it_finds_a_whole_queue_of_old_messages(
    node: Opener,
    meet: Any,
    eventually: Eventually,
    absent_address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # H2, the twin
    open_dealer = links.open_dealer

    def hoarding(*args: Any, prepare: Any, **options: Any) -> Any:
        def prepare_to_hoard(socket: Any) -> None:
            socket.setsockopt(zmq.IMMEDIATE, 0)
            prepare(socket)

        return open_dealer(*args, prepare=prepare_to_hoard, **options)

    monkeypatch.setattr(links, "open_dealer", hoarding)
    one = node(1, {2: absent_address})
    returns = Absent(node, absent_address, eventually)
    kept = messages_kept_for_an_absent_peer(returns, meet, eventually, one, 1000)
    assert kept[0] == b"0"
    # It is the short queue that bounds it even then.
    assert len(kept) == limits.PEER_SEND_QUEUE_MAX
