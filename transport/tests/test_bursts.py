"""A burst into one listening socket while it sends: everything is taken in, however it is woken.

libzmq's file descriptor tells of news once, and not for as long as there is some (pyzmq#1203): the
server drains until the socket is empty, and polls the socket itself.
"""

import select
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from metastore.transport.clients import ClientServer
from metastore.transport.envelope import encode_request_frame, encode_results_frame

ANY_PORT = "tcp://127.0.0.1:*"
CLIENTS = 4
MESSAGES_EACH = 25_000
WINDOW = (
    50  # unanswered at most; libzmq frees a queue of 128 by halves, and no answer may be dropped
)
STALL_MS = 20_000  # nothing at all arrived for so long, though somebody is owed an answer
BUDGET = 64


@pytest.fixture
def server(context: zmq.Context[Any]) -> Iterator[ClientServer]:
    server = ClientServer(ANY_PORT, context)
    yield server
    server.close()


class Asking:
    """Sends its messages as fast as the answers allow, on a thread of its own."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.answered = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        frame = encode_request_frame(1, 0, b"operations")
        sent = 0
        while self.answered < MESSAGES_EACH:
            while sent < MESSAGES_EACH and sent - self.answered < WINDOW:
                self._socket.send(frame)
                sent += 1
            if not self._socket.poll(STALL_MS):
                return
            while self._socket.poll(0):
                self._socket.recv(zmq.NOBLOCK)
                self.answered += 1


def test_a_hundred_thousand_messages_are_drained_while_answers_are_sent(  # H4
    server: ClientServer, raw: Any
) -> None:
    clients = [Asking(raw(server.address)) for _ in range(CLIENTS)]
    poller = zmq.Poller()
    for pollable in server.pollables():
        poller.register(pollable, zmq.POLLIN)
    answer = encode_results_frame(1, b"results")
    arrived = 0
    while arrived < CLIENTS * MESSAGES_EACH:
        assert poller.poll(STALL_MS), f"stalled after {arrived} messages"
        for message in server.drain(BUDGET):
            arrived += 1
            assert server.reply(message.identity, [answer])
    for client in clients:
        client.thread.join(STALL_MS / 1000)
    assert [client.answered for client in clients] == [MESSAGES_EACH] * CLIENTS
    assert server.counters()["received"] == CLIENTS * MESSAGES_EACH
    assert not server.drain(BUDGET)


def test_who_takes_one_message_for_each_signal_of_the_descriptor_is_never_woken_again(
    context: zmq.Context[Any],
) -> None:  # H4, the twin: why nothing here waits for that descriptor
    receiver, sender = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    receiver.bind("inproc://edge")  # within the process, a message has arrived when it is sent
    sender.connect("inproc://edge")
    poller = select.poll()  # not select(), which knows no descriptor above 1023
    poller.register(receiver.getsockopt(zmq.FD), select.POLLIN)

    def is_signalled() -> bool:
        return bool(poller.poll(0))

    while is_signalled():
        receiver.getsockopt(zmq.EVENTS)
    for number in range(3):
        sender.send(b"%d" % number)
    assert is_signalled()
    assert receiver.recv(zmq.NOBLOCK) == b"0"
    assert not is_signalled()
    assert receiver.getsockopt(zmq.EVENTS) & zmq.POLLIN
    assert receiver.recv(zmq.NOBLOCK) == b"1"
