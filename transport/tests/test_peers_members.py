"""Who is who between nodes: wiped and removed members, and members that are somewhere else now."""

import contextlib
import socket as tcp
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from metastore.transport.links import DIAL_PATIENCE_S, PeerLink
from metastore.transport.peers import PeerTransport

NOWHERE = "tcp://127.0.0.1:1"
DIRECTORY, OTHER_DIRECTORY = 77, 78

Opener = Callable[..., PeerTransport]
Eventually = Callable[[Callable[[], Any]], Any]


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def drain_after_send(sender: PeerTransport, to: int, receiver: PeerTransport) -> list[bytes]:
    sender.send(to, b"x")
    return [payload for _, payload in receiver.drain(100)]


def checked(link: PeerLink) -> PeerLink:
    link.check_state()
    return link


def becomes_connected(transport: PeerTransport, peer: int, eventually: Eventually) -> None:
    eventually(lambda: peer in transport.counters()["connected"])


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, Callable[[], tcp.socket]]]:
    """An address where connections are taken and nothing is said, and how to take one."""
    with tcp.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}", lambda: server.accept()[0]


# Who may speak


def test_a_node_whose_disk_was_emptied_is_refused_and_told(
    node: Opener, eventually: Eventually
) -> None:
    one = node(1, {})
    one.set_members({}, {2: DIRECTORY}, ())
    wiped = node(2, {1: one.address}, directory=OTHER_DIRECTORY)
    eventually(lambda: drain_after_send(wiped, 1, one) or wiped.refusals)
    assert wiped.refusals == {1: "lost data"}
    assert set(one.counters()["refused"]) == {2}


def test_a_removed_node_is_refused_and_told_and_so_is_a_stranger(
    node: Opener, eventually: Eventually
) -> None:
    one = node(1, {})
    one.set_members({}, {}, {2})
    removed = node(2, {1: one.address})
    stranger = node(3, {1: one.address})
    eventually(lambda: drain_after_send(removed, 1, one) or removed.refusals)
    eventually(lambda: drain_after_send(stranger, 1, one) or stranger.refusals)
    assert removed.refusals == {1: "removed"}
    assert stranger.refusals == {1: "unknown node"}


def test_a_peer_that_is_removed_while_connected_is_no_longer_heard(
    pair: tuple[PeerTransport, PeerTransport], eventually: Eventually
) -> None:
    one, two = pair
    eventually(lambda: drain_after_send(two, 1, one))
    one.set_members({2: [two.address]}, {2: 0}, {2})
    eventually(lambda: (drain_after_send(two, 1, one), two.refusals)[1])
    assert drain_after_send(two, 1, one) == []


def test_a_node_is_never_its_own_peer(node: Opener) -> None:
    one = node(1, {})
    one.set_members({1: [NOWHERE]}, {1: 0}, ())
    assert not one.send(1, b"x")
    assert one.counters()["dropped"] == {0: {"unknown peer": 1}}


# Where they are


def test_an_unchanged_link_stays_open_while_others_come_and_go(
    pair: tuple[PeerTransport, PeerTransport],
) -> None:
    one, two = pair
    link = one._links[2]._socket
    one.set_members({2: [two.address], 3: [NOWHERE]}, {2: DIRECTORY, 3: 0}, {4})
    one.set_members({2: [NOWHERE, two.address]}, {2: DIRECTORY}, {3, 4})
    assert one._links[2]._socket is link
    assert one.send(2, b"still here")
    assert not one.send(3, b"x")


def test_a_search_is_not_begun_anew_when_nothing_changed_for_the_peer(
    node: Opener, clock: Clock
) -> None:
    one = node(1, {}, clock=clock)
    places = [NOWHERE, "tcp://127.0.0.1:2"]
    one.set_members({2: places}, {2: 0}, ())
    clock.now = DIAL_PATIENCE_S
    one.tick()
    one.set_members({2: places, 3: [NOWHERE]}, {2: 0, 3: 0}, ())
    assert one._links[2]._place.address == places[1]


def test_the_second_place_is_tried_when_nobody_answers_at_the_first(
    node: Opener, clock: Clock, eventually: Eventually
) -> None:
    one = node(1, {}, clock=clock)
    two = node(2, {1: one.address})
    one.set_members({2: [NOWHERE, two.address]}, {2: 0}, ())
    clock.now = DIAL_PATIENCE_S - 0.01
    one.tick()
    assert one._links[2]._place.address == NOWHERE
    clock.now = DIAL_PATIENCE_S
    one.tick()
    becomes_connected(one, 2, eventually)
    clock.now = 100.0
    one.tick()
    assert one._links[2]._place.address == two.address
    assert eventually(lambda: drain_after_send(one, 2, two))


def test_the_search_goes_around_until_somebody_answers(node: Opener, clock: Clock) -> None:
    one = node(1, {}, clock=clock)
    places = [f"tcp://127.0.0.1:{port}" for port in (1, 2, 3)]
    one.set_members({2: places}, {2: 0}, ())
    seen = []
    for number in range(4):
        seen.append(one._links[2]._place.address)
        clock.now = (number + 1) * DIAL_PATIENCE_S
        one.tick()
    assert seen == [*places, places[0]]


def test_with_one_place_only_the_connecting_is_left_to_libzmq(node: Opener, clock: Clock) -> None:
    one = node(1, {2: NOWHERE}, clock=clock)
    link = one._links[2]._socket
    clock.now = 100.0
    one.tick()
    assert one._links[2]._socket is link


@pytest.mark.parametrize(
    ("taken_by", "why"),
    [
        ({"node_id": 1}, "duplicate node"),
        ({"node_id": 2, "cluster": 8}, "stranger cluster"),
        ({"node_id": 3}, "wrong node"),
    ],
)
def test_a_place_where_somebody_else_answers_is_left_at_once(
    taken_by: dict[str, int], why: str, node: Opener, clock: Clock, eventually: Eventually
) -> None:
    one = node(1, {}, clock=clock)
    two = node(2, {1: one.address})
    other = node(peers={1: one.address}, **taken_by)
    one.set_members({2: [other.address, two.address]}, {2: 0}, ())
    eventually(lambda: drain_after_send(one, 2, other) or one.refusals)
    assert one.refusals == {2: why}
    one.tick()
    assert eventually(lambda: drain_after_send(one, 2, two))


def test_two_members_that_swapped_their_addresses_are_both_found(
    node: Opener, clock: Clock, eventually: Eventually
) -> None:
    one = node(1, {}, clock=clock)
    two, three = node(2, {1: one.address}), node(3, {1: one.address})
    places = {2: [three.address, two.address], 3: [two.address, three.address]}
    one.set_members(places, {2: 0, 3: 0}, ())

    def found() -> bool:
        one.send(2, b"to 2")
        one.send(3, b"to 3")
        one.tick()
        heard.update([payload for receiver in (two, three) for payload in receiver.drain(10)])
        return heard == {(1, b"to 2"), (1, b"to 3")}

    heard: set[tuple[int, bytes]] = set()
    eventually(found)
    assert one.refusals == {}


def test_a_peer_that_moves_from_a_place_that_does_not_answer_is_looked_for_at_once(
    node: Opener, clock: Clock, eventually: Eventually
) -> None:
    one = node(1, {2: NOWHERE}, clock=clock)
    two = node(2, {1: one.address})
    one.set_members({2: [two.address, NOWHERE]}, {2: 0}, ())
    becomes_connected(one, 2, eventually)


def test_a_peer_without_an_address_is_a_member_that_cannot_be_sent_to(
    node: Opener, eventually: Eventually
) -> None:
    one = node(1, {})
    one.set_members({2: []}, {2: 0}, ())
    two = node(2, {1: one.address})
    assert eventually(lambda: drain_after_send(two, 1, one))
    assert not one.send(2, b"x")


class Monitor:
    """Tells a link what happened to its connection, in place of libzmq."""

    def __init__(self, *events: int) -> None:
        self._events = list(events)

    def recv_multipart(self, _flags: int) -> list[bytes]:
        if not self._events:
            raise zmq.Again
        return [self._events.pop(0).to_bytes(2, "little")]


def test_who_takes_connections_and_never_shakes_hands_is_waited_for_once(
    node: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = node(1, {2: NOWHERE})._links[2]
    for events, waits in (
        ((zmq.EVENT_CONNECTED,), True),
        ((zmq.EVENT_DISCONNECTED, zmq.EVENT_CONNECTED), False),
        ((zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_DISCONNECTED, zmq.EVENT_CONNECTED), False),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(link, "_monitor", Monitor(*events))
            link.check_state()
        assert link._is_in_handshake is waits


def test_a_line_that_is_slow_to_shake_hands_is_waited_for(
    node: Opener, clock: Clock, eventually: Eventually
) -> None:
    one = node(1, {}, clock=clock)
    with listening() as (address, accept):
        one.set_members({2: [address, NOWHERE]}, {2: 0}, ())
        connection = accept()
        eventually(lambda: checked(one._links[2])._is_in_handshake)
        clock.now = 10 * DIAL_PATIENCE_S
        one.tick()
        assert one._links[2]._place.address == address
        connection.close()
        eventually(lambda: checked(one._links[2])._has_failed)
        one.tick()
        assert one._links[2]._place.address == NOWHERE
