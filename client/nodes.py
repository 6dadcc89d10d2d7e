"""The connections to the nodes: made when needed, greeted, found again, given up.

Reading order 8 of the client. Knows which connection leads to whom, nothing of the calls on it. Not
thread-safe; never waits.
"""

import itertools

import zmq

from metastore.client import verdicts
from metastore.client.connection import Connection
from metastore.client.discovery import Discovery
from metastore.client.errors import MetastoreError, WrongCluster
from metastore.client.security import ClientSecurity
from metastore.transport import envelope
from metastore.transport.envelope import ErrorCode

GREETING_S = 0.05  # between two questions for the leader to the same node
REFRESH_S = 1.0  # between two looks at who the members are and where, while all goes well
GREETING_S_MAX = 1.0  # an answer that has not come by then is not waited for any more
PATIENCE_S = 0.1  # for an endpoint to answer, before the next one is tried


class Nodes:
    """Owns the connections."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        discovery: Discovery,
        security: ClientSecurity | None,
    ) -> None:
        self.discovery = discovery
        self.connections: dict[str, Connection] = {}
        self.refusal: MetastoreError | None = None  # a node refused us for good
        self.changes_count = 0  # grows when the set of sockets changes
        self._context = context
        self._security = security
        self._request_ids = itertools.count(1)
        self._greeted_at: dict[str, float] = {}

    def next_id(self) -> int:
        return next(self._request_ids)

    def ask_everyone(self, now: float) -> None:
        """Greets every node that can be reached, to learn of members and leader."""
        for endpoint in self.discovery.endpoints():
            connection = self.connection_or_none(endpoint, now)
            asked_at = self._greeted_at.get(endpoint, 0.0)
            if connection is None or not connection.is_ready or now - asked_at < GREETING_S:
                continue
            if connection.greeting_ids and now - asked_at < GREETING_S_MAX:
                continue
            self.greet(connection, now)

    def refresh(self, now: float) -> None:
        """Greets the nodes in use now and then: they may all move, one after the other, and the
        last one known must have told us of the others before it goes."""
        for endpoint, connection in self.connections.items():
            is_due = now - self._greeted_at.get(endpoint, 0.0) > REFRESH_S
            if is_due and connection.is_ready and not connection.greeting_ids:
                self.greet(connection, now)

    def greet(self, connection: Connection, now: float) -> None:
        """Earlier greetings to it are not waited for any more."""
        connection.greeting_ids.clear()
        self._greeted_at[connection.endpoint] = now
        connection.greet(self.next_id(), self.discovery.cluster_id)

    def leader_or_none(self, now: float) -> Connection | None:
        if now < self.discovery.pause.until:
            return None
        endpoint = self.discovery.leader_endpoint_or_none()
        if endpoint is None and self.discovery.is_pinned:
            return self.any_or_none(now)  # it knows best whether it can serve
        connection = None if endpoint is None else self.connection_or_none(endpoint, now)
        if connection is None or connection.is_silent(now):
            self.discovery.leader_id = 0
            self.ask_everyone(now)
            return None
        return connection if connection.is_ready else None

    def any_or_none(self, now: float, avoided: str = "") -> Connection | None:
        """The first endpoint that answers, in the order given by the user; the `avoided` one
        last."""
        endpoints = list(self.discovery.endpoints())
        if avoided in endpoints:
            endpoints.remove(avoided)
            endpoints.append(avoided)
        for endpoint in endpoints:
            connection = self.connection_or_none(endpoint, now)
            if connection is None or connection.is_silent(now):
                continue
            if connection.is_ready:
                if self.discovery.holds_data(endpoint):
                    return connection
                continue
            if now - connection.made_at < PATIENCE_S:
                return None  # worth a moment's patience before turning to the next
        return None

    def connection_or_none(self, endpoint: str, now: float) -> Connection | None:
        """The connection to the endpoint, made if need be; None while it pauses after a failure."""
        connection = self.connections.get(endpoint)
        if connection is None and self.discovery.may_connect(endpoint, now):
            curve = None if self._security is None else self._security.curve(endpoint)
            try:
                connection = Connection(self._context, endpoint, curve)
            except zmq.ZMQError as error:
                self.discovery.on_lost(endpoint, f"cannot connect: {error}", now)
                return None
            self.greet(connection, now)
            self.connections[endpoint] = connection
            self.changes_count += 1
        return connection

    def on_welcome(self, connection: Connection, welcome: envelope.Welcome) -> None:
        connection.greeting_ids.discard(welcome.request_id)
        try:
            self.discovery.on_welcome(
                connection.endpoint,
                welcome.cluster_id,
                welcome.node_id,
                welcome.leader_id,
                welcome.members,
            )
        except WrongCluster as error:
            self.refusal = error
            return
        connection.is_ready = True
        self.discovery.on_reached(connection.endpoint)
        if self._security is not None and connection.curve is not None:
            self._security.on_worked(connection.endpoint, connection.curve)

    def on_greeting_failed(self, connection: Connection, failure: envelope.Error) -> None:
        connection.greeting_ids.discard(failure.request_id)
        text = f"{connection.endpoint}: {failure.message or failure.code}"
        if failure.code in (ErrorCode.WRONG_CLUSTER, ErrorCode.WRONG_VERSION):
            self.refusal = verdicts.refusal(failure.code, text)
        elif not connection.is_ready:
            # Let in, but not served: its key was taken away since, or there are too many already.
            connection.refusal = failure.message or failure.code
            connection.is_broken = True

    def forget(self, connection: Connection, reason: str, now: float) -> None:
        """Closes a connection; what was under way on it is the caller's to see to."""
        if self.connections.get(connection.endpoint) is connection:
            del self.connections[connection.endpoint]
            self._greeted_at.pop(connection.endpoint, None)
        self.changes_count += 1
        has_another_key = (
            self._security is not None
            and connection.curve is not None
            and connection.is_other_key
            and self._security.on_failed(connection.endpoint, connection.curve)
        )
        self.discovery.on_lost(
            connection.endpoint,
            reason,
            now,
            is_refusal=bool(connection.refusal),
            pauses=not has_another_key,
        )
        connection.close()

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()
        self.changes_count += 1
