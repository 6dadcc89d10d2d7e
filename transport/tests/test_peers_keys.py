"""Keys between nodes: only who has one is heard, and only for as long as it is a node's."""

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from metastore.transport import limits
from metastore.transport.chunks import SnapshotSender
from metastore.transport.links import DIAL_PATIENCE_S, PeerLink
from metastore.transport.peer_keys import PeerSecurity
from metastore.transport.peers import PeerTransport
from metastore.transport.security import Keys, new_keys
from metastore.transport.zap import ZapHandler

ANY_PORT = "tcp://127.0.0.1:*"
NOWHERE = "tcp://127.0.0.1:1"
WAIT_S = 20
OLD, NEW = new_keys(), new_keys()

Opener = Callable[..., PeerTransport]
Eventually = Callable[[Callable[[], Any]], Any]


class KeyList:
    """The keys of the nodes, as a file of keys would have them; `asked` counts the questions of the
    sockets."""

    def __init__(self, *keys: Keys) -> None:
        self.allowed = {pair.public for pair in keys}
        self.asked = 0

    def is_allowed(self, key: str) -> bool:
        self.asked += 1
        return key in self.allowed

    def security(self, own: Keys, *tried: Keys) -> PeerSecurity:
        return PeerSecurity(own, [pair.public for pair in tried or (own,)], self.is_allowed)


@pytest.fixture
def key_list(context: zmq.Context[Any]) -> Iterator[KeyList]:
    key_list = KeyList(OLD)

    def why_not(domain: str, key: str) -> str:
        return "" if key in key_list.allowed else "unknown"

    handler = ZapHandler(context, why_not, lambda error: None)
    yield key_list
    handler.close()


def drain_after_send(sender: PeerTransport, to: int, receiver: PeerTransport) -> list[bytes]:
    sender.tick()
    sender.send(to, b"x")
    return [payload for _, payload in receiver.drain(100)]


def checked(link: PeerLink) -> PeerLink:
    link.check_state()
    return link


def drain_new(receiver: PeerTransport) -> list[tuple[int, bytes]]:
    """Without what is left of the connecting."""
    return [arrived for arrived in receiver.drain(100) if arrived[1] != b"x"]


@pytest.fixture
def secured_pair(
    node: Opener, key_list: KeyList, meet: Any, eventually: Eventually
) -> tuple[PeerTransport, PeerTransport]:
    one = node(1, {}, security=key_list.security(OLD))
    two = node(2, {1: one.address}, security=key_list.security(OLD))
    meet(one, {2: two.address})
    eventually(lambda: drain_after_send(one, 2, two))
    eventually(lambda: drain_after_send(two, 1, one))
    return one, two


def test_messages_of_every_size_arrive_whole_and_in_order(
    secured_pair: tuple[PeerTransport, PeerTransport], collect: Any
) -> None:
    one, two = secured_pair
    big = os.urandom(limits.PEER_PAYLOAD_BYTES_MAX)
    assert all(one.send(2, payload) for payload in (b"a", big, b"c"))
    assert collect(lambda: drain_new(two), 3) == [(1, b"a"), (1, big), (1, b"c")]


def test_a_key_is_asked_about_once_and_not_with_every_message(
    secured_pair: tuple[PeerTransport, PeerTransport], key_list: KeyList, eventually: Eventually
) -> None:
    one, two = secured_pair
    asked = key_list.asked
    for _ in range(10):
        assert eventually(lambda: drain_after_send(one, 2, two))
    assert key_list.asked == asked


def test_a_key_that_is_taken_away_stops_working_on_an_open_connection_and_works_again(
    secured_pair: tuple[PeerTransport, PeerTransport],
    key_list: KeyList,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, two = secured_pair
    caplog.set_level(logging.WARNING)
    key_list.allowed = {NEW.public}
    one.set_server_keys([OLD.public, NEW.public])
    eventually(lambda: drain_after_send(two, 1, one) or two.refusals)
    for _ in range(5):
        assert drain_after_send(two, 1, one) == []
    assert two.refusals == {1: "unknown key"}
    assert one.counters()["refused"][0]["unknown key"] > 0
    assert [OLD.public in record.getMessage() for record in caplog.records] == [True]
    key_list.allowed = {OLD.public}
    one.set_server_keys([OLD.public])
    eventually(lambda: drain_after_send(two, 1, one))
    eventually(lambda: not two.refusals)


@pytest.mark.parametrize("security", ["plaintext", "unknown key"])
def test_who_has_no_key_of_a_node_never_connects(
    security: str, node: Opener, key_list: KeyList, eventually: Eventually
) -> None:
    one = node(1, {2: NOWHERE}, security=key_list.security(OLD))
    stranger = None if security == "plaintext" else key_list.security(NEW, OLD)
    two = node(2, {1: one.address}, security=stranger)
    link = two._links[1]
    eventually(lambda: checked(link)._has_failed)
    assert not two.send(1, b"x")
    assert one.drain(10) == []


def test_a_node_whose_key_is_let_in_later_connects_though_it_was_refused(
    node: Opener, key_list: KeyList, eventually: Eventually
) -> None:
    """libzmq gives a connection up for ever once its key was refused."""
    one = node(1, {2: NOWHERE}, security=key_list.security(OLD))
    now = [0.0]
    late = key_list.security(NEW, OLD)
    two = node(2, {1: one.address}, security=late, clock=lambda: now[0])
    link = two._links[1]
    eventually(lambda: checked(link)._is_given_up)
    key_list.allowed = {OLD.public, NEW.public}
    two.tick()
    assert link._is_given_up  # not yet: a refused node must not try without pause
    now[0] = DIAL_PATIENCE_S
    assert eventually(lambda: drain_after_send(two, 1, one))


def test_the_keys_of_a_peer_are_tried_in_turn(
    node: Opener, key_list: KeyList, eventually: Eventually
) -> None:
    key_list.allowed = {OLD.public, NEW.public}
    one = node(1, {2: NOWHERE}, security=key_list.security(NEW, OLD, NEW))
    now = [0.0]
    both = key_list.security(OLD, OLD, NEW)
    two = node(2, {1: one.address}, security=both, clock=lambda: now[0])
    link = two._links[1]
    eventually(lambda: checked(link)._has_failed)
    now[0] = DIAL_PATIENCE_S
    assert eventually(lambda: drain_after_send(two, 1, one))
    assert link._place.server_key == NEW.public


def test_a_rotation_keeps_the_connections_that_need_not_change(
    secured_pair: tuple[PeerTransport, PeerTransport], key_list: KeyList, eventually: Eventually
) -> None:
    one, two = secured_pair
    link = two._links[1]
    socket = link._socket
    key_list.allowed = {OLD.public, NEW.public}
    for transport in secured_pair:
        transport.set_server_keys([NEW.public, OLD.public])
    assert two.send(1, b"during")
    assert eventually(lambda: drain_new(one)) == [(2, b"during")]
    assert link._socket is socket
    two.set_server_keys([NEW.public])
    assert link._socket is not socket
    two.set_server_keys([])
    assert not two.send(1, b"nobody may be there")
    two.set_server_keys([OLD.public])
    assert eventually(lambda: drain_after_send(two, 1, one))


# Snapshots


@pytest.fixture
def send(context: zmq.Context[Any], tmp_path: Path) -> Iterator[Callable[..., "queue.Queue[Any]"]]:
    senders: list[SnapshotSender] = []
    content = os.urandom(600_000)
    (tmp_path / "file").write_bytes(content)

    def send(address: str, security: PeerSecurity | None) -> "queue.Queue[Any]":
        senders.append(SnapshotSender(9, 2, 77, 5, context, security=security))
        outcome: queue.Queue[Any] = queue.Queue()
        senders[-1].start(
            1, address, {}, lambda: tmp_path / "file", lambda *heard: outcome.put(heard)
        )
        return outcome

    yield send
    for sender in senders:
        sender.close()


def test_a_snapshot_goes_encrypted_to_whichever_key_of_the_nodes_is_there(
    open_receiver: Any, send: Any, key_list: KeyList, tmp_path: Path
) -> None:
    key_list.allowed = {OLD.public, NEW.public}
    receiving = open_receiver(security=key_list.security(NEW))
    outcome = send(receiving.server.address, key_list.security(OLD, OLD, NEW))
    _, _, path = receiving.arrived.get(timeout=WAIT_S)
    assert path.read_bytes() == (tmp_path / "file").read_bytes()
    assert outcome.get(timeout=WAIT_S) == (True, "")


def test_a_snapshot_of_a_key_that_was_taken_away_is_declined(
    open_receiver: Any, send: Any, key_list: KeyList
) -> None:
    receiving = open_receiver(security=key_list.security(OLD))
    accepted, going_on = threading.Event(), threading.Event()

    def want(sender: int, meta: Any) -> bool:
        accepted.set()
        return going_on.wait(WAIT_S)

    receiving.wanted = want
    outcome = send(receiving.server.address, key_list.security(OLD))
    assert accepted.wait(WAIT_S)
    key_list.allowed = {NEW.public}
    receiving.server.keys_changed()
    going_on.set()
    assert outcome.get(timeout=WAIT_S) == (False, "declined: unknown key")
    assert receiving.server.counters()["unknown key"] > 0
    assert receiving.arrived.empty()


def test_a_snapshot_to_who_has_no_key_of_a_node_fails_with_the_reason(
    open_receiver: Any, send: Any, key_list: KeyList, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_STALL_MS", 1)
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_MS", 50)
    receiving = open_receiver(security=key_list.security(OLD))
    ok, reason = send(receiving.server.address, key_list.security(OLD, NEW)).get(timeout=WAIT_S)
    assert not ok
    assert "answers with a key of the nodes" in reason


def test_a_search_for_the_key_of_a_receiver_ends_when_the_node_stops(
    context: zmq.Context[Any], key_list: KeyList, tmp_path: Path
) -> None:
    sender = SnapshotSender(9, 2, 77, 5, context, security=key_list.security(OLD))
    outcome: queue.Queue[Any] = queue.Queue()
    (tmp_path / "file").write_bytes(b"x")
    found = threading.Event()

    def find() -> Path:
        found.set()
        return tmp_path / "file"

    sender.start(1, NOWHERE, {}, find, lambda *heard: outcome.put(heard))
    assert found.wait(WAIT_S)
    sender.close()
    assert outcome.get_nowait() == (False, "stopped")


def test_a_sender_tries_the_keys_that_it_was_told_last(
    open_receiver: Any, context: zmq.Context[Any], key_list: KeyList, tmp_path: Path
) -> None:
    key_list.allowed = {OLD.public, NEW.public}
    receiving = open_receiver(security=key_list.security(NEW))
    sender = SnapshotSender(9, 2, 77, 5, context, security=key_list.security(OLD))
    sender.set_server_keys([NEW.public])
    outcome: queue.Queue[Any] = queue.Queue()
    (tmp_path / "file").write_bytes(b"x")
    address = receiving.server.address
    sender.start(1, address, {}, lambda: tmp_path / "file", lambda *heard: outcome.put(heard))
    assert outcome.get(timeout=WAIT_S) == (True, "")
    sender.close()
