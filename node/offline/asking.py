"""Whether other members of a cluster still answer, and whether one of them knows a leader.

Reading order 8 of the offline tools, before recover.py. Only greets: whoever is asked notices a
client that came and went. What cannot be understood (a cluster with keys, say) still counts as
somebody who is there.
"""

import socket
import time
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import zmq

from metastore.node.members.conversation import Conversation
from metastore.node.members.records import MemberRecord
from metastore.transport.addresses import parse_connect_address
from metastore.transport.envelope import Welcome
from metastore.transport.errors import BadAddress
from metastore.transport.sockets import Socket

PATIENCE_S = 1.0  # for all of them together, and as much again for those that stay silent


class Sign(Enum):
    """Of life."""

    NONE = "does not answer"
    ALONE = "answers, but knows no leader"
    LED = "answers and knows a leader: the cluster works without this node"
    UNCLEAR = "cannot be understood, but something listens at its address"
    NOT_ASKED = "could not be asked, its address is not known"


class Answer(NamedTuple):
    node_id: int
    address: str
    sign: Sign


def ask(members: Sequence[MemberRecord], cluster_id: int, patience_s: float) -> list[Answer]:
    """One answer for each of them, in this order."""
    deadline = time.monotonic() + patience_s
    context: zmq.Context[Socket] = zmq.Context()
    try:
        greeted = [_greet(context, member.client, cluster_id, deadline) for member in members]
    finally:
        context.destroy(0)
    deadline += patience_s
    return [
        Answer(member.node_id, member.client, found or _listening(member.client, deadline))
        for member, found in zip(members, greeted, strict=True)
    ]


def _greet(
    context: "zmq.Context[Socket]", address: str, cluster_id: int, deadline: float
) -> Sign | None:
    """None: no answer that could be understood."""
    if not address:
        return Sign.NOT_ASKED
    # A node at the end of the list gets a moment, too, when those before it were silent.
    patience_s = max(deadline - time.monotonic(), 0.1)
    try:
        with Conversation(context, address, None, _wait) as conversation:
            answer = conversation.greet(cluster_id, patience_s)
    except BadAddress:
        return Sign.NOT_ASKED
    if not isinstance(answer, Welcome):
        return None
    return Sign.LED if answer.leader_id else Sign.ALONE


def _wait(waiting: Socket, events: int, patience_s: float) -> bool:
    return bool(waiting.poll(int(patience_s * 1000), events))


def _listening(address: str, deadline: float) -> Sign:
    place = parse_connect_address(address)
    patience_s = max(deadline - time.monotonic(), 0.1)
    try:
        socket.create_connection((place.host, place.port), patience_s).close()
    except OSError:
        return Sign.NONE
    return Sign.UNCLEAR
