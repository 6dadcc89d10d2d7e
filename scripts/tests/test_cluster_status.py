"""Asking for status: what answers, what does not, and when a leader is agreed on."""

import threading
from collections.abc import Callable, Iterator

import msgpack
import pytest
import zmq
from cluster import status
from cluster.status import Answer, Keys

from metastore.transport.security import new_keys
from metastore.transport.zap import ZapHandler

Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answers one request with the given bytes; returns the endpoint."""
    context = zmq.Context()
    threads = []

    def start(reply: bytes) -> str:
        socket = context.socket(zmq.REP)
        port = socket.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            socket.recv()
            socket.send(reply)
            socket.close(linger=1000)

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return f"tcp://127.0.0.1:{port}"

    yield start
    for thread in threads:
        thread.join()
    context.term()


def test_an_answer_is_the_nodes_status(serve: Serve) -> None:
    (answer,) = status.ask_all([serve(msgpack.packb({"node_id": 4, "term": 2}))])
    assert answer.status == {"node_id": 4, "term": 2}
    assert not answer.problem


@pytest.mark.parametrize("reply", [b"\xc1", b"", msgpack.packb([1, 2]), b"\x93"])
def test_what_is_no_node_is_said_so(serve: Serve, reply: bytes) -> None:
    (answer,) = status.ask_all([serve(reply)])
    assert answer.problem.startswith("not a node")


def test_an_error_of_the_node_is_a_problem(serve: Serve) -> None:
    reply = msgpack.packb({"error": {"code": "unknown_method", "message": "no such method"}})
    (answer,) = status.ask_all([serve(reply)])
    assert "no such method" in answer.problem


def test_a_silent_endpoint_does_not_hide_the_others(serve: Serve) -> None:
    endpoints = ["tcp://127.0.0.1:1", serve(msgpack.packb({"node_id": 1})), "no address"]
    silent, speaking, wrong = status.ask_all(endpoints, timeout=0.5)
    assert silent.problem == "no answer"
    assert speaking.status == {"node_id": 1}
    assert "not an address" in wrong.problem


def node(node_id: int, leader_id: int, state: str) -> Answer:
    return Answer("", {"node_id": node_id, "leader_id": leader_id, "state": state})


def test_a_leader_is_agreed_on_when_all_name_it_and_it_says_so_itself() -> None:
    assert status.agreed_leader([node(1, 2, "follower"), node(2, 2, "leader")]) == 2


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [node(1, 0, "follower"), node(2, 2, "leader")],
        [node(1, 2, "follower"), node(2, 2, "candidate")],
        [node(1, 1, "leader"), node(2, 2, "leader")],
        [node(2, 2, "leader"), Answer("", problem="no answer")],
        [node(1, 0, "candidate"), node(2, 0, "candidate")],
    ],
)
def test_without_agreement_there_is_no_leader(answers: list[Answer]) -> None:
    assert status.agreed_leader(answers) == 0


def test_the_table_is_aligned_and_shows_what_is_wrong() -> None:
    answers = [node(1, 12345, "leader"), Answer("tcp://x:1", problem="no answer")]
    lines = status.status_table(answers, {"pid": ["7", "8"]}).splitlines()
    assert lines[0].split()[:4] == ["node_id", "state", "term", "leader_id"]
    assert lines[0].index("leader_id") == lines[2].index("12345")
    assert lines[3].endswith("tcp://x:1        no answer")


NODE, OURS = new_keys(), new_keys()


@pytest.fixture
def keyed() -> Iterator[str]:
    """Where somebody with the key NODE answers to whoever has the key OURS."""
    with zmq.Context() as context:
        zap = ZapHandler(context, lambda domain, key: "" if key == OURS.public else "no", print)
        with context.socket(zmq.REP) as socket:
            socket.linger = 1000
            socket.curve_server = 1
            socket.curve_secretkey = NODE.secret.encode()
            socket.zap_domain = b"status"
            port = socket.bind_to_random_port("tcp://127.0.0.1")
            thread = threading.Thread(target=answer_one, args=(socket,))
            thread.start()
            yield f"tcp://127.0.0.1:{port}"
            thread.join()
        zap.close()


def answer_one(socket: "zmq.Socket[bytes]") -> None:
    if socket.poll(10_000):
        socket.recv()
        socket.send(msgpack.packb({"node_id": 4}))


def test_with_keys_each_that_the_node_may_have_is_tried(keyed: str) -> None:
    wrong = Keys(*OURS, [new_keys().public])
    (unheard,) = status.ask_all([keyed], timeout=0.3, keys=wrong)
    assert "one of the server keys its own?" in unheard.problem
    (unknown,) = status.ask_all([keyed], timeout=0.3, keys=Keys(*new_keys(), [NODE.public]))
    assert "is our key in its access file" in unknown.problem
    keys = Keys(*OURS, [new_keys().public, NODE.public])
    assert OURS.secret not in repr(keys)
    (answer,) = status.ask_all([keyed], keys=keys)
    assert answer.status == {"node_id": 4}
