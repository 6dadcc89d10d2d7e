"""A thread that serves a socket: it ends when told, and whoever relies on it hears of any other
end."""

import queue
from typing import Any

import zmq

from metastore.transport.socket_thread import SocketThread
from metastore.transport.sockets import open_router

WAIT_S = 20


def test_an_unexpected_end_is_reported_and_leaves_no_socket_open(  # H7
    context: zmq.Context[Any], raw: Any
) -> None:
    router, address = open_router(
        context, "tcp://127.0.0.1:*", frame_bytes_max=1000, send_max=1, receive_max=1
    )
    deaths: queue.Queue[BaseException] = queue.Queue()
    broken = RuntimeError("the handler is broken")

    def serve() -> None:
        raise broken

    thread = SocketThread(context, router, "ill", serve, deaths.put)
    thread.start()
    raw(address).send(b"x")
    assert deaths.get(timeout=WAIT_S) is broken
    thread.close()
    assert router.closed


def test_a_stop_is_no_death_and_finishes_before_the_socket_closes(
    context: zmq.Context[Any],
) -> None:
    router, _ = open_router(
        context, "tcp://127.0.0.1:*", frame_bytes_max=1000, send_max=1, receive_max=1
    )
    deaths: list[BaseException] = []
    was_closed: list[bool] = []
    thread = SocketThread(
        context,
        router,
        "well",
        lambda: None,
        deaths.append,
        finish=lambda: was_closed.append(router.closed),
    )
    thread.start()
    thread.close()
    thread.close()
    assert (deaths, was_closed, router.closed) == ([], [False], True)


def test_it_serves_after_the_wait_even_when_nothing_arrives(context: zmq.Context[Any]) -> None:
    router, _ = open_router(
        context, "tcp://127.0.0.1:*", frame_bytes_max=1000, send_max=1, receive_max=1
    )
    served: queue.Queue[str] = queue.Queue()
    thread = SocketThread(
        context, router, "ticking", lambda: served.put("x"), lambda error: None, wait_ms=lambda: 1
    )
    thread.start()
    assert served.get(timeout=WAIT_S) == "x"
    thread.close()
