"""The door of a node, with real sockets: open without keys; with them nobody gets in unasked."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from metastore.node.access.file import AccessFile
from metastore.node.door import Door
from metastore.node.security import NodeSecurity
from metastore.transport.security import CLIENT_DOMAIN, CurveClient, Keys, new_keys
from metastore.transport.sockets import close_router, open_dealer, open_router

OWN, WEB, STRANGER = new_keys(), new_keys(), new_keys()
SIZES: dict[str, Any] = {"frame_bytes_max": 1000, "send_max": 8, "receive_max": 8}
WAIT_MS = 20_000


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    with zmq.Context() as made:
        yield made


@pytest.fixture
def security(tmp_path: Path) -> NodeSecurity:
    path = tmp_path / "access.toml"
    path.write_text(
        f'[nodes]\nkeys = ["{OWN.public}"]\n[clients.web]\nkeys = ["{WEB.public}"]\nrole = "read"\n'
    )
    return NodeSecurity(OWN, AccessFile(path, OWN.public))


def no_death(error: BaseException) -> None:
    raise AssertionError(error)


@pytest.fixture
def listening(context: zmq.Context[Any]) -> Iterator[Callable[..., tuple[Door, Any, str]]]:
    made: list[tuple[Door, Any]] = []

    def listen(security: NodeSecurity | None) -> tuple[Door, Any, str]:
        door = Door(context, security, no_death)
        curve = door.curve(CLIENT_DOMAIN)
        router, address = open_router(context, "tcp://127.0.0.1:*", curve=curve, **SIZES)
        door.start()
        made.append((door, router))
        return door, router, address

    yield listen
    for door, router in made:
        close_router(router)
        door.close()
        door.close()


def says(context: Any, address: str, keys: Keys | None, text: bytes) -> Any:
    """A client that sends as soon as it is let in, if ever."""
    curve = None if keys is None else CurveClient(keys, OWN.public)

    def keep_unsent(socket: Any) -> None:
        socket.setsockopt(zmq.IMMEDIATE, 0)

    socket = open_dealer(
        context, address, routing_id=b"", prepare=keep_unsent, curve=curve, **SIZES
    )
    socket.send(text)
    return socket


def heard(router: Any) -> bytes:
    assert router.poll(WAIT_MS)
    frame: bytes = router.recv_multipart()[-1]
    return frame


def test_without_keys_the_door_is_open_and_asks_for_nothing(
    context: Any, listening: Callable[..., tuple[Door, Any, str]]
) -> None:
    door, router, address = listening(None)
    assert (door.curve(CLIENT_DOMAIN), door.for_peers()) == (None, None)
    client = says(context, address, None, b"in clear")
    assert heard(router) == b"in clear"
    assert door.counters() == {}
    client.close(0)


def test_who_has_a_known_key_comes_in_and_everybody_else_is_counted(
    context: Any, listening: Callable[..., tuple[Door, Any, str]], security: NodeSecurity
) -> None:
    door, router, address = listening(security)
    stranger = says(context, address, STRANGER, b"let me in")
    plain = says(context, address, None, b"in clear")
    reasons: dict[str, int] = {}
    poller = zmq.Poller()
    while len(reasons) < 2:
        poller.poll(5)
        reasons = door.counters().get(CLIENT_DOMAIN, {})
    assert any("not in the access file" in reason for reason in reasons)
    assert any("plaintext" in reason for reason in reasons)
    client = says(context, address, WEB, b"it is me")
    assert heard(router) == b"it is me"
    assert not router.poll(0), "nothing of the others came through"
    for socket in (stranger, plain, client):
        socket.close(0)


def test_between_nodes_the_own_key_speaks_and_those_of_the_file_answer(
    context: Any, listening: Callable[..., tuple[Door, Any, str]], security: NodeSecurity
) -> None:
    door, _, _ = listening(security)
    peers = door.for_peers()
    assert peers is not None
    assert (peers.keys, peers.server_keys) == (OWN, [OWN.public])
    assert (peers.is_allowed(OWN.public), peers.is_allowed(WEB.public)) == (True, False)
