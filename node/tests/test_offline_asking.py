"""Before a cluster is given up, those who may still live in it are asked."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from metastore.node.members.records import MemberRecord
from metastore.node.offline.asking import Answer, Sign, ask
from metastore.transport import envelope
from metastore.transport.member_ops import Role

CLUSTER_ID = 5
PATIENCE_S = 0.4


def member(node_id: int, client: str) -> MemberRecord:
    return MemberRecord(node_id, Role.VOTER.value, "", client, "", "")


@contextmanager
def node(leader_id: int) -> Iterator[str]:
    """Greets one client and ends."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")

    def serve() -> None:
        if router.poll(5000):
            identity, frame = router.recv_multipart()
            hello = envelope.decode_client_frame(frame)
            welcome = envelope.encode_welcome(hello.request_id, CLUSTER_ID, 2, leader_id, ())
            router.send_multipart([identity, welcome])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        thread.join()
        context.destroy(0)


@contextmanager
def listening() -> Iterator[str]:
    """Somebody who says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_a_node_that_knows_a_leader_is_told_from_one_that_does_not() -> None:
    with node(3) as led, node(0) as alone:
        asked = [member(2, led), member(3, alone)]
        assert ask(asked, CLUSTER_ID, 5) == [Answer(2, led, Sign.LED), Answer(3, alone, Sign.ALONE)]


def test_nobody_is_told_from_somebody_who_cannot_be_understood() -> None:
    with listening() as address:
        gone = member(2, "")
        with socket.create_server(("127.0.0.1", 0)) as server:
            free = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        asked = [member(3, free), member(4, address), gone]
        signs = [answer.sign for answer in ask(asked, CLUSTER_ID, PATIENCE_S)]
        assert signs == [Sign.NONE, Sign.UNCLEAR, Sign.NOT_ASKED]
