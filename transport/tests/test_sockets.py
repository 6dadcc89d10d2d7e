"""Socket options: each stands for a measured default that loses or hoards messages."""

import os
from typing import Any

import pytest
import zmq

from metastore.transport import limits
from metastore.transport.errors import BadAddress, BindFailed
from metastore.transport.sockets import inproc_address, open_dealer, open_router

ANY_PORT = "tcp://127.0.0.1:*"
SIZES: dict[str, Any] = {"frame_bytes_max": 4096, "send_max": 5, "receive_max": 6}
FENCE = 100  # messages of another connection, after which one that could come has come
COMMON = {
    "LINGER": 0,
    "MAXMSGSIZE": 4096,
    "SNDHWM": 5,
    "RCVHWM": 6,
    "HANDSHAKE_IVL": limits.HANDSHAKE_TIMEOUT_MS,
    "TCP_KEEPALIVE": 1,
    "TCP_KEEPALIVE_IDLE": limits.KEEPALIVE_IDLE_SECONDS,
    "TCP_KEEPALIVE_INTVL": limits.KEEPALIVE_INTERVAL_SECONDS,
    "TCP_KEEPALIVE_CNT": limits.KEEPALIVE_COUNT,
    "TCP_MAXRT": limits.UNACKNOWLEDGED_MS_MAX,
}
DEALER = COMMON | {
    "IMMEDIATE": 1,
    "RECONNECT_IVL": limits.RECONNECT_MS,
    "RECONNECT_IVL_MAX": limits.RECONNECT_MS_MAX,
    "CONNECT_TIMEOUT": limits.CONNECT_TIMEOUT_MS,
    "ROUTING_ID": b"me",
}
ROUTER = COMMON | {"BACKLOG": limits.LISTEN_BACKLOG}


@pytest.mark.parametrize("option", DEALER)
def test_a_connecting_socket_has(option: str, context: zmq.Context[Any]) -> None:
    socket = open_dealer(context, "tcp://127.0.0.1:1", routing_id=b"me", **SIZES)
    assert socket.getsockopt(getattr(zmq, option)) == DEALER[option]


@pytest.mark.parametrize("option", ROUTER)
def test_a_listening_socket_has(option: str, context: zmq.Context[Any]) -> None:
    socket, _ = open_router(context, ANY_PORT, **SIZES)
    assert socket.getsockopt(getattr(zmq, option)) == ROUTER[option]


def test_a_listening_socket_refuses_to_send_to_nobody(context: zmq.Context[Any]) -> None:
    socket, _ = open_router(context, ANY_PORT, **SIZES)
    with pytest.raises(zmq.ZMQError) as caught:
        socket.send_multipart([b"nobody", b"x"], zmq.NOBLOCK)
    assert caught.value.errno == zmq.EHOSTUNREACH


def test_a_new_connection_takes_over_the_routing_id_of_an_open_one(
    context: zmq.Context[Any], raw: Any
) -> None:  # libzmq#2892, H3
    router, address = open_router(context, ANY_PORT, takes_over=True, **SIZES)
    router.setsockopt(zmq.RCVTIMEO, 20_000)
    first = raw(address, routing_id=b"node")
    first.send(b"first")
    assert router.recv_multipart() == [b"node", b"first"]
    second = raw(address, routing_id=b"node")
    second.send(b"second")
    assert router.recv_multipart() == [b"node", b"second"]
    router.send_multipart([b"node", b"for the second"])
    assert second.recv() == b"for the second"


def test_a_connection_whose_id_another_one_brings_is_closed_when_its_client_is_gone(
    context: zmq.Context[Any], raw: Any, eventually: Any
) -> None:  # found by scripts/fuzz
    router, address = open_router(context, ANY_PORT, **SIZES)
    router.setsockopt(zmq.RCVTIMEO, 20_000)
    fence = raw(address)
    fence.send(b"")
    router.recv_multipart()
    before = len(os.listdir("/proc/self/fd"))
    first = raw(address, routing_id=b"node")
    first.linger = 2000
    first.send(b"first")
    assert router.recv_multipart() == [b"node", b"first"]
    second = raw(address, routing_id=b"node")
    second.send(b"second")
    for _ in range(FENCE):
        fence.send(b"")
        router.recv_multipart()
    for _ in range(FENCE):
        first.send(b"more" * 1000)
        fence.send(b"")
        router.recv_multipart()
    first.close()
    second.close()

    def all_are_closed() -> bool:
        while router.poll(0):
            router.recv_multipart()
        return len(os.listdir("/proc/self/fd")) <= before

    eventually(all_are_closed)


def test_a_taken_port_is_a_bind_failure_that_names_address_and_reason(
    context: zmq.Context[Any],
) -> None:  # H6
    _, address = open_router(context, ANY_PORT, **SIZES)
    with pytest.raises(BindFailed, match="in use") as caught:
        open_router(context, address, **SIZES)
    assert address in str(caught.value)


@pytest.mark.parametrize("address", ["nonsense", "tcp://192.0.2.1:7001"])
def test_an_address_that_is_not_ours_is_a_bind_failure(
    address: str, context: zmq.Context[Any]
) -> None:
    with pytest.raises(BindFailed):
        open_router(context, address, **SIZES)


def test_a_connecting_socket_can_be_watched_before_it_connects(context: zmq.Context[Any]) -> None:
    seen: list[str] = []
    open_dealer(
        context,
        "tcp://127.0.0.1:1",
        routing_id=b"",
        prepare=lambda socket: seen.append(
            socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        ),
        **SIZES,
    )
    assert seen == [""]


def test_a_bad_address_to_connect_to_opens_nothing(context: zmq.Context[Any]) -> None:
    with pytest.raises(BadAddress):
        open_dealer(context, "tcp://host", routing_id=b"", **SIZES)
    context.term()  # would wait for a socket left open


def test_an_address_inside_the_process_is_never_given_twice() -> None:
    assert len({inproc_address("x") for _ in range(100)}) == 100
