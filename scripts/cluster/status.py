"""Asking nodes for their status over REQ sockets, and showing the answers as a table.

Needs only pyzmq and msgpack: this is also the example of how any program asks a node.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack
import zmq

TIMEOUT_SECONDS = 2.0
COLUMNS = ("node_id", "state", "term", "leader_id", "commit", "applied")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one endpoint said: `status`, or why there is none in `problem`."""

    endpoint: str
    status: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


class Keys(NamedTuple):
    """For nodes that use keys: our own pair, and the public keys that a node may have (Z85)."""

    public: str
    secret: str
    server_keys: Sequence[str]

    def __repr__(self) -> str:
        return f"Keys(public={self.public!r}, secret=<hidden>, server_keys={self.server_keys!r})"


def ask_all(
    endpoints: Sequence[str],
    method: str = "raft_status",
    timeout: float = TIMEOUT_SECONDS,
    keys: Keys | None = None,
) -> list[Answer]:
    """Asks all endpoints at once; returns one Answer each, in order, after at most `timeout`
    seconds. Never raises for what an endpoint does or is."""
    context = zmq.Context()
    try:
        polls = [_asked(context, endpoint, method, keys) for endpoint in endpoints]
        deadline = time.monotonic() + timeout
        problem = "no answer (is our key in its access file, and one of the server keys its own?)"
        if keys is None:
            problem = "no answer"
        return [
            _answer(endpoint, poller, deadline, problem)
            for endpoint, poller in zip(endpoints, polls, strict=True)
        ]
    finally:
        context.destroy(linger=0)


def _asked(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, method: str, keys: Keys | None
) -> zmq.Poller | None:
    """Whichever socket of it answers; one for each key that the node may have. None: no address."""
    poller = zmq.Poller()
    for server_key in keys.server_keys if keys is not None else ("",):
        socket = context.socket(zmq.REQ)
        # From the start: a connection that is refused ends with the linger of that moment, and
        # what was not sent would hold it for ever.
        socket.linger = 0
        if keys is not None:
            socket.curve_serverkey = server_key.encode()
            socket.curve_publickey = keys.public.encode()
            socket.curve_secretkey = keys.secret.encode()
            socket.setsockopt(zmq.RECONNECT_IVL, -1)  # one try: a wrong key stays wrong
        try:
            socket.connect(endpoint)
        except zmq.ZMQError:
            return None
        with suppress(zmq.Again):  # refused that fast
            socket.send(msgpack.packb({"method": method}), zmq.NOBLOCK)
        poller.register(socket, zmq.POLLIN)
    return poller


def _answer(endpoint: str, poller: zmq.Poller | None, deadline: float, no_answer: str) -> Answer:
    if poller is None:
        return Answer(endpoint, problem="not an address like tcp://127.0.0.1:7003")
    left_ms = max(0, int((deadline - time.monotonic()) * 1000))
    ready = poller.poll(left_ms)
    if not ready:
        return Answer(endpoint, problem=no_answer)
    try:
        reply = msgpack.unpackb(ready[0][0].recv())
    except Exception as error:  # whatever is at that address, it is no node
        return Answer(endpoint, problem=f"not a node: {error}")
    if not isinstance(reply, dict):
        return Answer(endpoint, problem="not a node: the answer is no map")
    if "error" in reply:
        return Answer(endpoint, problem=str(reply["error"]))
    return Answer(endpoint, reply)


def agreed_leader(answers: Sequence[Answer]) -> int:
    """The leader's id when every node answers, all name the same one and it says so itself; else
    0."""
    leaders = {answer.status.get("leader_id", 0) for answer in answers}
    if len(leaders) != 1:
        return 0
    leader = leaders.pop()
    claims = [a.status.get("node_id") for a in answers if a.status.get("state") == "leader"]
    return leader if claims == [leader] else 0


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell, two spaces between them."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, tuple("-" * width for width in widths), *rows)
    ]
    return "\n".join(lines)


def status_table(
    answers: Sequence[Answer], extra: Mapping[str, Sequence[str]] | None = None
) -> str:
    """`extra`: further columns by heading, one cell per answer."""
    extra = extra or {}
    rows = []
    for i, answer in enumerate(answers):
        cells = [str(answer.status.get(column, "-")) for column in COLUMNS]
        cells += [cell[i] for cell in extra.values()]
        rows.append((*cells, answer.endpoint, answer.problem))
    return table((*COLUMNS, *extra, "status endpoint", ""), rows)
