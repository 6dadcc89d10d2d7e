"""Addresses: what is one, what is not, and that the refusal names it."""

import pytest

from metastore.transport.addresses import (
    Address,
    parse_bind_address,
    parse_connect_address,
    resolve_bind_address,
)
from metastore.transport.errors import BadAddress, BindFailed


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:7001", Address("127.0.0.1", 7001)),
        ("tcp://node-1.example.org:7001", Address("node-1.example.org", 7001)),
        ("tcp://[::1]:7001", Address("::1", 7001)),
    ],
)
def test_an_address_is_a_host_and_a_port_and_prints_as_it_was(text: str, address: Address) -> None:
    assert parse_connect_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:7001",
        "ipc:///tmp/x",
        "tcp://127.0.0.1",
        "tcp://:7001",
        "tcp://host:",
        "tcp://host:70000",
        "tcp://host:-1",
        "tcp://host:seven",
        "tcp://host:²",
        "tcp://ho st:7001",
        "tcp://host/x:7001",
        "tcp://::1:7001",
        "tcp://[nonsense]:7001",
        "tcp://*:7001",
        "tcp://host:*",
        "tcp://host:0",
        "tcp://" + "h" * 300 + ":1",
    ],
)
def test_what_is_no_address_to_connect_to_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse_connect_address(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "[::]"])
def test_every_interface_is_a_wildcard_however_it_is_spelled(host: str) -> None:
    assert parse_bind_address(f"tcp://{host}:1").is_wildcard


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "node-1"])
def test_a_host_is_no_wildcard(host: str) -> None:
    assert not parse_bind_address(f"tcp://{host}:1").is_wildcard


def test_listening_takes_wildcards() -> None:
    assert str(parse_bind_address("tcp://*:0")) == "tcp://*:*"
    assert resolve_bind_address("tcp://*:7001") == Address("*", 7001)


def test_listening_resolves_a_name_once() -> None:
    assert resolve_bind_address("tcp://localhost:7001") == Address("127.0.0.1", 7001)


def test_a_name_that_does_not_resolve_cannot_be_listened_on() -> None:
    with pytest.raises(BindFailed, match="does not resolve"):
        resolve_bind_address("tcp://no-such-host.invalid:7001")
