"""Keys of a client, against scripted nodes that use some: which is tried when, and what is said."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from fake_cluster import FakeCluster

from metastore.client import Client, InvalidRequest, PermissionDenied, Unavailable, aio
from metastore.client.discovery import Discovery
from metastore.client.driver import Driver
from metastore.client.security import (
    CANNOT_CHECK,
    OTHER_KEY,
    REFUSED_KEY,
    USES_KEYS,
    ClientSecurity,
    is_of_server_key,
    read_security,
    why_failed,
)
from metastore.client.statuses import NOT_LET_IN, ask_statuses
from metastore.transport.security import CurveClient, Keys, new_keys, write_key_file

FIRST, SECOND, STRANGE = new_keys(), new_keys(), new_keys()
OURS = new_keys()
BOTH = [FIRST.public, SECOND.public]
AUTH = zmq.EVENT_HANDSHAKE_FAILED_AUTH
OTHER_EVENTS = (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    write_key_file(tmp_path / "own.key", OURS)
    return tmp_path / "own.key"


@pytest.fixture
def keyed(make_cluster: Callable[..., FakeCluster]) -> FakeCluster:
    """Two nodes with different keys."""
    return make_cluster(2, node_keys=[FIRST, SECOND])


@pytest.fixture
def context() -> Iterator["zmq.Context[Any]"]:
    with zmq.Context() as made:
        yield made


def test_a_key_file_and_server_keys_go_together(key_file: Path) -> None:
    assert read_security(None, ()) is None
    assert read_security("", " , ") is None
    with pytest.raises(InvalidRequest, match="server_keys without key_file; give the file"):
        Client("tcp://127.0.0.1:1", server_keys=FIRST.public)
    with pytest.raises(InvalidRequest, match="key_file without server_keys; give the public keys"):
        aio.Client("tcp://127.0.0.1:1", key_file=key_file)


def test_what_is_no_key_is_refused_and_not_quoted(key_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="number 2: a public key has 40") as refused:
        read_security(key_file, f"{FIRST.public},{OURS.secret[:39]}")
    assert OURS.secret[:39] not in str(refused.value)
    with pytest.raises(InvalidRequest, match="No such file"):
        read_security(tmp_path / "none.key", FIRST.public)
    key_file.chmod(0o644)
    with pytest.raises(InvalidRequest, match="chmod 600"):
        read_security(key_file, FIRST.public)


def security(*server_keys: str) -> ClientSecurity:
    return ClientSecurity(OURS, server_keys)


def test_server_keys_take_turns_and_what_worked_is_tried_first() -> None:
    ours = security("k1", "k2", "k3")
    assert ours.curve("a") == CurveClient(OURS, "k1")
    assert ours.on_failed("a", ours.curve("a"))
    assert ours.on_failed("a", ours.curve("a"))
    assert not ours.on_failed("a", ours.curve("a")), "a round is over: time to wait a little"
    assert ours.curve("a").server_key == "k1"
    ours.on_worked("a", CurveClient(OURS, "k3"))
    assert (ours.curve("a").server_key, ours.curve("b").server_key) == ("k3", "k3")
    ours.on_failed("a", ours.curve("a"))
    assert (ours.curve("a").server_key, ours.curve("b").server_key) == ("k1", "k3")


def test_one_server_key_is_a_round_of_its_own() -> None:
    ours = security("k1")
    assert not ours.on_failed("a", ours.curve("a"))
    assert ours.curve("a").server_key == "k1"


def test_each_failure_of_a_handshake_has_its_reason() -> None:
    curve = CurveClient(OURS, FIRST.public)
    assert why_failed(AUTH, 400, curve) == REFUSED_KEY
    assert why_failed(AUTH, 500, curve) == CANNOT_CHECK
    assert {why_failed(event, 0, curve) for event in OTHER_EVENTS} == {OTHER_KEY}
    assert {why_failed(event, 0, None) for event in (AUTH, *OTHER_EVENTS)} == {USES_KEYS}


def test_who_refused_our_key_has_the_one_that_we_expected() -> None:
    assert not is_of_server_key(AUTH)
    assert all(is_of_server_key(event) for event in OTHER_EVENTS)
    assert not is_of_server_key(zmq.EVENT_DISCONNECTED)


def test_nodes_with_keys_of_their_own_are_found(keyed: FakeCluster, key_file: Path) -> None:
    keyed.leader_id = 2
    endpoints = [node.client_address for node in keyed.nodes]
    server_keys = [STRANGE.public, *BOTH]
    with Client(endpoints, key_file=key_file, server_keys=server_keys) as client:
        assert client.put("a", "1").revision == 2
        assert {n: answer["term"] for n, answer in client.status().items()} == {1: 7, 2: 7}
    assert set(keyed.asked_keys) == {OURS.public}


class Losses(Discovery):
    """Remembers what it was told of each connection that was lost."""

    def __init__(self, endpoint: str) -> None:
        super().__init__([endpoint], False)
        self.told: list[dict[str, Any]] = []

    def on_lost(self, *arguments: Any, **told: Any) -> None:
        self.told.append(told)
        super().on_lost(*arguments, **told)


def test_the_next_server_key_is_tried_at_once_and_what_worked_is_remembered(
    context: Any, keyed: FakeCluster
) -> None:
    ours = security(STRANGE.public, FIRST.public)
    discovery = Losses(keyed.leader.client_address)
    driver = Driver(context, discovery, ours)
    try:
        deadline = time.monotonic() + 10
        assert driver.wait(lambda: bool(discovery.members), deadline, asks=True)
    finally:
        driver.close()
    assert discovery.told == [{"is_refusal": True, "pauses": False}]
    assert ours.curve("elsewhere").server_key == FIRST.public


def test_the_asyncio_client_uses_keys_too(keyed: FakeCluster, key_file: Path) -> None:
    async def body() -> None:
        address = keyed.leader.client_address
        async with aio.Client(address, key_file=key_file, server_keys=",".join(BOTH)) as client:
            assert (await client.put("a", "1")).revision == 2
            answers = await client.status()
            assert {n: answer["term"] for n, answer in answers.items()} == {1: 7, 2: 7}

    asyncio.run(body())


def test_a_key_that_is_let_in_later_serves_the_call_that_waits(
    keyed: FakeCluster, key_file: Path
) -> None:
    keyed.why_not = lambda key: "not yet" if len(keyed.asked_keys) < 3 else ""
    with Client(keyed.leader.client_address, key_file=key_file, server_keys=BOTH) as client:
        assert client.put("a", "1", timeout_s=10).revision == 2
    # To who refused our key no other server key is tried: it would never have asked about ours.
    assert len(keyed.asked_keys) == 3


@pytest.mark.parametrize(
    ("server_key", "reason"), [(FIRST, REFUSED_KEY), (STRANGE, OTHER_KEY), (None, USES_KEYS)]
)
def test_who_is_not_let_in_hears_why(
    keyed: FakeCluster, key_file: Path, server_key: Keys | None, reason: str
) -> None:
    keyed.why_not = lambda key: "nobody"
    options: dict[str, Any] = {}
    if server_key is not None:
        options = {"key_file": key_file, "server_keys": server_key.public}
    client = Client(keyed.leader.client_address, **options)
    with client, pytest.raises(Unavailable, match="not served in time") as failed:
        client.put("a", "1", timeout_s=0.4)
    assert f"{keyed.leader.client_address}: {reason}" in str(failed.value)
    assert not keyed.leader.requests


def test_a_node_without_keys_is_not_talked_to_in_clear(cluster: Any, key_file: Path) -> None:
    address = cluster.leader.client_address
    client = Client(address, key_file=key_file, server_keys=FIRST.public)
    with client, pytest.raises(Unavailable) as failed:
        client.put("a", "1", timeout_s=0.4)
    assert OTHER_KEY in str(failed.value)
    assert not cluster.leader.hellos_count


def test_who_may_not_even_greet_hears_why(cluster: Any) -> None:
    cluster.greeting_error = "permission_denied"
    with Client(cluster.leader.client_address) as client, pytest.raises(Unavailable) as failed:
        client.put("a", "1", timeout_s=0.4)
    assert f"{cluster.leader.client_address}: no entry" in str(failed.value)


def test_what_a_key_may_not_do_is_not_tried_again(cluster: Any) -> None:
    cluster.leader.script.append("permission_denied")
    with Client(cluster.leader.client_address) as client, pytest.raises(PermissionDenied):
        client.put("a", "1")
    assert len(cluster.leader.requests) == 1


def ask(context: Any, cluster: FakeCluster, ours: ClientSecurity | None) -> list[Any]:
    addresses = [node.status_address for node in cluster.nodes]
    timeout_s = 5.0 if ours is not None else 0.3
    return list(ask_statuses(context, addresses, timeout_s, ours).values())


def test_a_status_is_asked_with_each_server_key(context: Any, keyed: FakeCluster) -> None:
    ours = security(STRANGE.public, *BOTH)
    assert [answer["node_id"] for answer in ask(context, keyed, ours)] == [1, 2]
    found = [ours.curve(node.status_address).server_key for node in keyed.nodes]
    assert found == BOTH, "what worked is known the next time"
    assert ours.curve("elsewhere").server_key in BOTH


@pytest.mark.parametrize(("server_key", "reason"), [(FIRST, REFUSED_KEY), (STRANGE, OTHER_KEY)])
def test_a_status_that_is_refused_is_said_at_once(
    context: Any, keyed: FakeCluster, server_key: Keys, reason: str
) -> None:
    keyed.why_not = lambda key: "nobody"
    answer = ask(context, keyed, security(server_key.public))[0]
    assert answer == {"error": {"code": NOT_LET_IN, "message": reason}}


def test_a_status_in_clear_hears_of_keys(context: Any, keyed: FakeCluster) -> None:
    for answer in ask(context, keyed, None):
        assert answer["error"]["code"] == "no_answer"
        assert USES_KEYS in answer["error"]["message"]
