"""The client: one object for all calls, for any number of threads.

Reading order 23 of the client, and the door to it. Every call waits for its outcome, at most
`timeout_s` seconds; what the errors mean is drawn in errors.py, what is sent again in routing.py.
The calls themselves are in key_calls.py, coordination.py and member_calls.py.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

import zmq

from metastore.client.calls import Call
from metastore.client.coordination import Coordination
from metastore.client.discovery import Discovery
from metastore.client.driver import Driver
from metastore.client.errors import InvalidRequest, Unavailable
from metastore.client.futures import WINDOW_COUNT, Pipeline
from metastore.client.member_calls import MemberCalls
from metastore.client.security import read_security
from metastore.client.sessions import HEADER_BYTES_MAX
from metastore.client.statuses import ask_statuses
from metastore.transport import schema
from metastore.transport.addresses import parse_connect_address
from metastore.transport.envelope import MemberAddresses, ReadLevel
from metastore.transport.errors import BadAddress

TIMEOUT_S = 5.0
# A session's header has to fit, too.
OPERATIONS_MAX = schema.OPERATIONS_MAX - 1
REQUEST_BYTES_MAX = schema.REQUEST_BYTES_MAX - HEADER_BYTES_MAX


class Client(Coordination, MemberCalls):
    """Talks to one cluster. Knowing one node is enough: the others are learned from it.

    endpoints: "tcp://host:port" of client sockets, in order of preference; a sequence, or one text
        with commas.
    timeout_s: seconds until a call gives up, unless the call says otherwise.
    is_pinned: never talk to any node but those given.
    use_sessions: number the writes, so that one without an answer can be sent again until its time
        is up, and yet is carried out once. Without, such a write ends as OutcomeUnknown.
    key_file, server_keys: for nodes that use keys (docs/guide/keys.md). The file of this client's
        own key, read now, and the public keys that a node may have, tried in turn: a sequence, or
        one text with commas. Give both the old and the new ones while the nodes' keys change.
    context: a ZeroMQ context to share; by default the process's own.

    Raises InvalidRequest for endpoints that are no addresses and keys that cannot be used. Nothing
    is sent before the first call.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        timeout_s: float = TIMEOUT_S,
        is_pinned: bool = False,
        use_sessions: bool = True,
        key_file: str | os.PathLike[str] | None = None,
        server_keys: str | Sequence[str] = (),
        context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._use_sessions = use_sessions
        self._context = context if context is not None else zmq.Context.instance()
        self._security = read_security(key_file, server_keys)
        self._discovery = Discovery(parse_endpoints(endpoints), is_pinned)
        self._driver = Driver(self._context, self._discovery, self._security)

    def pipeline(self, *, window: int = WINDOW_COUNT, timeout_s: float | None = None) -> Pipeline:
        """Requests without waiting for each; leaving the context waits for all. `timeout_s` counts
        from the moment a request is added."""

        def make_call(operations: Sequence[schema.Operation], level: ReadLevel) -> Call:
            return self._make_call(operations, timeout_s, level)

        return Pipeline(self._driver, make_call, window)

    def known_nodes(self, *, timeout_s: float | None = None) -> tuple[MemberAddresses, ...]:
        """The nodes of the cluster, by id, as the first node that answers knows them: needs no
        leader, and may be old. `client` is "" where clients are not served (a witness)."""
        discovery = self._discovery
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        if not self._driver.wait(lambda: bool(discovery.members), deadline, asks=True):
            raise Unavailable(f"no node answered; {discovery.reason}")
        return tuple(discovery.members[node_id] for node_id in sorted(discovery.members))

    @property
    def cluster_id(self) -> int:
        """0: no node has been reached yet."""
        return self._discovery.cluster_id

    def status(self, *, timeout_s: float | None = None) -> dict[int, dict[str, Any]]:
        """What the status socket of every member says, by node id. A node that does not answer has
        {"error": {"code", "message"}}."""
        nodes = self.known_nodes(timeout_s=timeout_s)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        answers = ask_statuses(
            self._context, [node.status for node in nodes], limit_s, self._security
        )
        return {node.node_id: answers[node.status] for node in nodes}

    def close(self) -> None:
        """Ends calls under way with an error. The client is of no use afterwards."""
        self._driver.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _perform(
        self,
        operations: Sequence[schema.Operation],
        timeout_s: float | None = None,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
    ) -> Call:
        call = self._make_call(operations, timeout_s, level)
        self._driver.submit([call])
        # The driver itself ends the call at its deadline, and knows better what is then known of
        # it.
        if not self._driver.wait(lambda: call.is_done, call.deadline + 1.0):
            raise Unavailable("the request outlived its time-out; the client cannot go on")
        return call

    def _make_call(
        self, operations: Sequence[schema.Operation], timeout_s: float | None, level: ReadLevel
    ) -> Call:
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        return make_call(operations, limit_s, level, use_sessions=self._use_sessions)


def make_call(
    operations: Sequence[schema.Operation],
    timeout_s: float,
    level: ReadLevel,
    *,
    use_sessions: bool,
) -> Call:
    """A call that has `timeout_s` seconds from now. Raises InvalidRequest if no node takes it."""
    if not operations:
        raise InvalidRequest("a request needs at least one operation")
    if len(operations) > OPERATIONS_MAX:
        raise InvalidRequest(f"{len(operations)} operations are too many; at most {OPERATIONS_MAX}")
    call = Call(operations, level, time.monotonic() + timeout_s, use_sessions=use_sessions)
    if len(call.request) > REQUEST_BYTES_MAX:
        raise InvalidRequest(f"{len(call.request)} bytes are too many; at most {REQUEST_BYTES_MAX}")
    return call


def parse_endpoints(endpoints: str | Sequence[str]) -> list[str]:
    """Raises InvalidRequest for what are no addresses, and if there are none."""
    texts = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    stripped = [text.strip() for text in texts if text.strip()]
    if not stripped:
        raise InvalidRequest("no endpoint given; name at least one, such as tcp://127.0.0.1:7002")
    try:
        return [str(parse_connect_address(text)) for text in stripped]
    except BadAddress as error:
        raise InvalidRequest(str(error)) from None
