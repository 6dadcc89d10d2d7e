"""Messages between nodes: delivered, or dropped and counted; strangers refused and told."""

import contextlib
import os
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest
import zmq

from metastore.transport import limits
from metastore.transport.errors import BadAddress, BindFailed
from metastore.transport.links import NOT_CONNECTED, QUEUE_FULL
from metastore.transport.peers import UNKNOWN_PEER, PeerTransport

ANY_PORT = "tcp://127.0.0.1:*"
NOWHERE = "tcp://127.0.0.1:1"
CLUSTER = 9

Opener = Callable[..., PeerTransport]
Eventually = Callable[[Callable[[], Any]], Any]


def reopen(node: Opener, eventually: Eventually, *args: Any, **options: Any) -> PeerTransport:
    """libzmq gives up a closed socket's port in the background, so the port is asked for again."""

    def open_or_none() -> PeerTransport | None:
        with contextlib.suppress(BindFailed):
            return node(*args, **options)
        return None

    return cast(PeerTransport, eventually(open_or_none))


def receive(transport: PeerTransport, eventually: Eventually) -> list[tuple[int, bytes]]:
    return list(eventually(lambda: transport.drain(100)))


# Delivery


def test_messages_arrive_with_their_sender_in_order(
    pair: tuple[PeerTransport, PeerTransport], collect: Any
) -> None:
    one, two = pair
    big = os.urandom(1 << 20)
    assert all(one.send(2, payload) for payload in (b"a", big, b"c"))
    arrived = collect(lambda: two.drain(100), 3)
    assert arrived == [(1, b"a"), (1, big), (1, b"c")]
    assert one.counters()["sent"] == {2: 3}
    assert two.counters()["received"] == {1: 3}


def test_a_drain_stops_at_its_budget_and_the_rest_stays(
    pair: tuple[PeerTransport, PeerTransport], eventually: Eventually
) -> None:
    one, two = pair
    for number in range(5):
        one.send(2, bytes([number]))
    poll = zmq.Poller()
    for pollable in two.pollables():
        poll.register(pollable, zmq.POLLIN)
    arrived: list[bytes] = []
    while len(arrived) < 5:
        poll.poll()
        batch = two.drain(2)
        assert len(batch) <= 2
        arrived += [payload for _, payload in batch]
    assert arrived == [bytes([number]) for number in range(5)]


def test_a_drain_stops_at_its_bytes(
    pair: tuple[PeerTransport, PeerTransport],
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = pair
    monkeypatch.setattr(limits, "PEER_DRAIN_BYTES_MAX", 10)
    for _ in range(3):
        one.send(2, bytes(10))
    for _ in range(3):
        assert len(receive(two, eventually)) == 1


# Drops: H1 and H2


def test_a_message_to_an_unknown_peer_is_dropped_and_counted(node: Opener) -> None:
    one = node(1, {})
    assert not one.send(2, b"x")
    assert one.counters()["dropped"] == {0: {UNKNOWN_PEER: 1}}


def test_a_message_over_the_limit_is_dropped_by_the_sender(
    pair: tuple[PeerTransport, PeerTransport],
) -> None:
    one, _ = pair
    assert not one.send(2, bytes(limits.PEER_PAYLOAD_BYTES_MAX + 1))
    assert one.counters()["dropped"] == {2: {"oversized": 1}}


def test_nothing_queues_for_a_peer_that_was_never_there(
    node: Opener, meet: Any, eventually: Eventually
) -> None:  # H2
    one = node(1, {2: NOWHERE})
    assert not any(one.send(2, b"stale") for _ in range(300))
    assert one.counters()["dropped"] == {2: {NOT_CONNECTED: 300}}
    two = node(2, {1: one.address})
    meet(one, {2: two.address})
    eventually(lambda: one.send(2, b"fresh"))
    assert receive(two, eventually)[0] == (1, b"fresh")


def test_nothing_queues_for_a_peer_that_went_away(
    pair: tuple[PeerTransport, PeerTransport], node: Opener, eventually: Eventually
) -> None:  # H2
    one, two = pair
    two.close()
    eventually(lambda: not one.send(2, b"lost"))
    assert not any(one.send(2, b"stale") for _ in range(300))
    assert one.counters()["connected"] == []
    again = reopen(node, eventually, 2, {1: one.address}, incarnation=2, bind=two.address)
    eventually(lambda: one.send(2, b"fresh"))
    assert {payload for _, payload in receive(again, eventually)} == {b"fresh"}


def test_a_slow_reader_fills_a_short_queue_and_what_was_sent_arrives(
    pair: tuple[PeerTransport, PeerTransport], collect: Any
) -> None:  # H1
    one, two = pair
    payload = bytes(64 << 10)
    tried = 2 * (limits.PEER_SEND_QUEUE_MAX + limits.PEER_RECEIVE_QUEUE_MAX)
    believed = sum(one.send(2, payload) for _ in range(tried))
    dropped = one.counters()["dropped"]
    assert dropped == {2: {QUEUE_FULL: tried - believed}}
    arrived = collect(lambda: two.drain(1000), believed)
    assert len(arrived) == believed == one.counters()["sent"][2]


# Restarts: H3


def test_traffic_resumes_in_both_directions_after_every_restart(
    node: Opener, meet: Any, eventually: Eventually
) -> None:
    one = node(1, {2: NOWHERE})
    two = node(2, {1: one.address})
    meet(one, {2: two.address})
    for incarnation in range(2, 22):
        two.close()
        two = reopen(
            node, eventually, 2, {1: one.address}, incarnation=incarnation, bind=two.address
        )
        mark = b"%d" % incarnation

        def heard(by: PeerTransport, of: PeerTransport, to: int, mark: bytes = mark) -> bool:
            of.send(to, mark)
            return mark in [payload for _, payload in by.drain(100)]

        eventually(partial(heard, one, two, 1))
        eventually(partial(heard, two, one, 2))
    assert one.counters()["refused"] == {}


def test_a_peer_that_moves_is_found_at_its_new_address(
    pair: tuple[PeerTransport, PeerTransport], node: Opener, meet: Any, eventually: Eventually
) -> None:
    one, two = pair
    two.close()
    moved = node(2, {1: one.address}, incarnation=2)
    meet(one, {2: moved.address})
    eventually(lambda: one.send(2, b"found"))
    assert receive(moved, eventually) == [(1, b"found")]


def test_a_name_that_does_not_resolve_drops_but_neither_raises_nor_waits(node: Opener) -> None:
    one = node(1, {2: "tcp://no-such-host.invalid:7001"})
    assert not one.send(2, b"x")
    assert one.counters()["dropped"] == {2: {NOT_CONNECTED: 1}}


# Starting and stopping


def test_a_taken_port_is_a_bind_failure(node: Opener) -> None:  # H6
    one = node(1, {})
    with pytest.raises(BindFailed):
        node(2, {}, bind=one.address)


def test_a_bad_peer_address_changes_nothing_and_leaves_no_socket_open(
    pair: tuple[PeerTransport, PeerTransport], eventually: Eventually, context: zmq.Context[Any]
) -> None:  # H5, H6
    one, two = pair
    with pytest.raises(BadAddress):
        one.set_members({3: [NOWHERE, "host:7001"]}, {3: 0}, (2,))
    assert not one.send(3, b"x")
    assert one.send(2, b"still here")
    two.send(1, b"heard")
    assert receive(one, eventually) == [(2, b"heard")]
    one.close()
    two.close()
    context.term()  # would wait for a socket left open


def test_a_close_with_unsent_messages_lets_the_context_end(
    pair: tuple[PeerTransport, PeerTransport], context: zmq.Context[Any]
) -> None:  # H5
    one, two = pair
    for _ in range(limits.PEER_SEND_QUEUE_MAX):
        one.send(2, bytes(64 << 10))
    one.close()
    two.close()
    context.term()
