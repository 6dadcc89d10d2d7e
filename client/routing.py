"""Where each call goes, and what the answers mean for it: the one place that decides about retries.

Reading order 7 of the client. A call is retried here if and only if that is safe:
  * it only reads, or
  * it never left (no connection, or dropped from the queue), or
  * the node said that it was not proposed ("not_leader", "unavailable").
A write that left and got none of these answers ends as OutcomeUnknown. Not thread-safe; never
waits.
"""

import itertools
from collections import deque

import zmq

from metastore.client import verdicts
from metastore.client.calls import Call
from metastore.client.connection import SILENCE_S_MAX, Connection
from metastore.client.discovery import Discovery
from metastore.client.errors import (
    MetastoreError,
    NotLeader,
    Unavailable,
    WrongCluster,
    WrongVersion,
)
from metastore.client.results import Member
from metastore.transport import envelope, schema
from metastore.transport.envelope import ErrorCode, ReadLevel
from metastore.transport.errors import Malformed
from metastore.transport.limits import ANSWER_FRAME_BYTES_MAX

GREETING_S = 0.05  # between two questions for the leader to the same node
GREETING_S_MAX = 1.0  # an answer that has not come by then is not waited for any more
PATIENCE_S = 0.1  # for an endpoint to answer, before the next one is tried


class Router:
    """Owns the connections. `parked` are the calls that no connection has."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", discovery: Discovery) -> None:
        self.discovery = discovery
        self.connections: dict[str, Connection] = {}
        self.parked: deque[Call] = deque()
        self.refusal: MetastoreError | None = None  # a node refused us for good
        self.changes_count = 0  # grows when the set of sockets changes
        self._context = context
        self._request_ids = itertools.count(1)
        self._greeted_at: dict[str, float] = {}

    # Outwards

    def route(self, now: float) -> None:
        """Gives every parked call that can go somewhere to a connection, and sends."""
        if self.parked:
            self._route_parked(now)
        for connection in self.connections.values():
            connection.send_queued()

    def ask_everyone(self, now: float) -> None:
        """Greets every node that can be reached, to learn of members and leader."""
        for endpoint in self.discovery.endpoints():
            connection = self._connection_or_none(endpoint, now)
            asked_at = self._greeted_at.get(endpoint, 0.0)
            if connection is None or not connection.is_ready or now - asked_at < GREETING_S:
                continue
            if connection.greeting_ids and now - asked_at < GREETING_S_MAX:
                continue
            connection.greeting_ids.clear()
            self._greeted_at[endpoint] = now
            connection.greet(next(self._request_ids), self.discovery.cluster_id)

    def _route_parked(self, now: float) -> None:
        calls, self.parked = self.parked, deque()
        leader: Connection | None = None
        is_leader_sought = False
        for call in calls:
            if self.refusal is not None:
                call.fail(self.refusal)
                continue
            if call.deadline <= now:
                self._give_up(call)
                continue
            if call.level is ReadLevel.LOCAL:
                connection = self._any_connection_or_none(now)
            else:
                if not is_leader_sought:
                    is_leader_sought, leader = True, self._leader_connection_or_none(now)
                connection = leader
            if connection is None:
                call.reason = self.discovery.reason
                self.parked.append(call)
            else:
                connection.queue(next(self._request_ids), call)

    def _leader_connection_or_none(self, now: float) -> Connection | None:
        if now < self.discovery.pause.until:
            return None
        endpoint = self.discovery.leader_endpoint_or_none()
        if endpoint is None and self.discovery.is_pinned:
            return self._any_connection_or_none(now)  # it knows best whether it can serve
        connection = None if endpoint is None else self._connection_or_none(endpoint, now)
        if connection is None or connection.is_silent(now):
            self.discovery.leader_id = 0
            self.ask_everyone(now)
            return None
        return connection if connection.is_ready else None

    def _any_connection_or_none(self, now: float) -> Connection | None:
        """The first endpoint that answers, in the order given by the user."""
        for endpoint in self.discovery.endpoints():
            connection = self._connection_or_none(endpoint, now)
            if connection is None or connection.is_silent(now):
                continue
            if connection.is_ready:
                return connection
            if now - connection.made_at < PATIENCE_S:
                return None  # worth a moment's patience before turning to the next
        return None

    def _connection_or_none(self, endpoint: str, now: float) -> Connection | None:
        """The connection to the endpoint, made if need be; None while it pauses after a failure."""
        connection = self.connections.get(endpoint)
        if connection is None and self.discovery.may_connect(endpoint, now):
            try:
                connection = Connection(self._context, endpoint)
            except zmq.ZMQError as error:
                self.discovery.on_lost(endpoint, f"cannot connect: {error}", now)
                return None
            connection.greet(next(self._request_ids), self.discovery.cluster_id)
            self._greeted_at[endpoint] = now
            self.connections[endpoint] = connection
            self.changes_count += 1
        return connection

    # Inwards

    def receive(self, connection: Connection, now: float) -> None:
        """Takes in all that arrived on a connection, and its end if it ended."""
        # The monitor first: what the socket holds when the end is known is all that will ever come.
        connection.check_broken()
        for frame in connection.receive():
            self._on_frame(connection, frame, now)
        if connection.is_broken and not connection.is_closed:
            reason = "the connection broke" if connection.is_ready else "connection refused"
            self._drop(connection, reason, now)

    def _on_frame(self, connection: Connection, frame: bytes, now: float) -> None:
        try:
            reply = envelope.decode_node_frame(frame)
        except Malformed as error:
            self._on_malformed(connection, frame, error, now)
            return
        if isinstance(reply, envelope.Results):
            if (call := connection.waiting.pop(reply.request_id, None)) is not None:
                self.discovery.on_served()
                self._finish(call, reply.results)
        elif isinstance(reply, envelope.Welcome):
            self._on_welcome(connection, reply)
        else:
            self._on_failure(connection, reply, now)

    def _on_malformed(
        self, connection: Connection, frame: bytes, error: Malformed, now: float
    ) -> None:
        if len(frame) > ANSWER_FRAME_BYTES_MAX:
            # Asking again would give the same: it must not look like a node out of order.
            call = connection.waiting.pop(verdicts.peek_request_id(frame), None)
            if call is not None:
                unread = verdicts.unknown("the node's answer is too large to be read")
                call.fail(verdicts.too_large(len(frame)) if call.is_read else unread)
            return
        if error.code == ErrorCode.WRONG_VERSION:
            self.refusal = WrongVersion(f"{connection.endpoint}: {error}")
        self._drop(connection, f"sent something that is no answer ({error})", now)

    def _finish(self, call: Call, data: bytes) -> None:
        try:
            call.finish(schema.decode_results(data))
        except Exception:
            text = "the node's answer cannot be read; is it of another version?"
            call.fail(WrongVersion(text) if call.is_read else verdicts.unknown(text))

    def _on_welcome(self, connection: Connection, welcome: envelope.Welcome) -> None:
        connection.greeting_ids.discard(welcome.request_id)
        members = [Member(*member) for member in welcome.members]
        try:
            self.discovery.on_welcome(
                connection.endpoint, welcome.cluster_id, welcome.node_id, welcome.leader_id, members
            )
        except WrongCluster as error:
            self.refusal = error
            return
        connection.is_ready = True
        self.discovery.on_reached(connection.endpoint)

    def _on_failure(self, connection: Connection, failure: envelope.Error, now: float) -> None:
        text = f"{connection.endpoint}: {failure.message or failure.code}"
        if failure.request_id in connection.greeting_ids:
            connection.greeting_ids.discard(failure.request_id)
            if failure.code in (ErrorCode.WRONG_CLUSTER, ErrorCode.WRONG_VERSION):
                self.refusal = verdicts.refusal(failure.code, text)
            return
        call = connection.waiting.pop(failure.request_id, None)
        if call is None:
            return
        call.reason = text
        if failure.code == ErrorCode.NOT_LEADER:
            self.discovery.on_redirect(connection.endpoint, failure.leader_id, now)
            self._retry_elsewhere(call, text, failure.leader_id)
        elif failure.code == ErrorCode.UNAVAILABLE or (
            failure.code == ErrorCode.OUTCOME_UNKNOWN and call.is_read
        ):
            self.discovery.on_unavailable(now)
            self._park(call)
        elif failure.code == ErrorCode.OUTCOME_UNKNOWN:
            call.fail(verdicts.unknown(text))
        else:
            call.fail(verdicts.refusal(failure.code, text))

    def _retry_elsewhere(self, call: Call, text: str, leader_id: int) -> None:
        endpoint = self.discovery.leader_endpoint_or_none()
        if not (self.discovery.is_pinned and leader_id and endpoint is None):
            self._park(call)
            return
        member = self.discovery.members.get(leader_id)
        address = member.client_address if member else ""
        hint = f"; the leader is node {leader_id}" + (f" at {address}" if address else "")
        call.fail(NotLeader(text + hint, leader_id, address))

    def _park(self, call: Call) -> None:
        call.is_sent = False
        self.parked.append(call)

    # Endings

    def sweep(self, now: float) -> None:
        """Ends what has waited too long: calls, connections that do not come, nodes that fell
        silent."""
        for connection in list(self.connections.values()):
            overdue = [rid for rid, call in connection.waiting.items() if call.deadline <= now]
            for request_id in overdue:
                self._give_up(connection.waiting.pop(request_id))
            if connection.is_overdue(now):
                self._drop(
                    connection, "no answer; is it running, and is this its client port?", now
                )
            elif connection.is_silent(now):
                self._on_silent(connection, now)
        if any(call.deadline <= now for call in self.parked):
            self._route_parked(now)

    def _on_silent(self, connection: Connection, now: float) -> None:
        self.discovery.on_silent(connection.endpoint)
        reads = [
            request_id
            for request_id, call in connection.waiting.items()
            if call.is_read and now - call.sent_at > SILENCE_S_MAX
        ]
        for request_id in reads:
            call = connection.waiting.pop(request_id)
            call.reason = f"{connection.endpoint} does not answer"
            self._park(call)
        self.ask_everyone(now)

    def _give_up(self, call: Call) -> None:
        if call.is_sent and not call.is_read:
            call.fail(verdicts.unknown("no answer came in time"))
        else:
            call.fail(Unavailable(f"not served in time; {call.reason}"))

    def _drop(self, connection: Connection, reason: str, now: float) -> None:
        """Ends a connection. Reads and what never left go elsewhere; the rest is unknown."""
        if self.connections.get(connection.endpoint) is connection:
            del self.connections[connection.endpoint]
        self.changes_count += 1
        self.discovery.on_lost(connection.endpoint, reason, now)
        calls, connection.waiting = connection.waiting, {}
        connection.close()
        for call in calls.values():
            call.reason = f"{connection.endpoint}: {reason}"
            if call.is_sent and not call.is_read:
                call.fail(verdicts.unknown(f"{connection.endpoint} went away before the answer"))
            else:
                self._park(call)

    def close(self, error: MetastoreError) -> None:
        for call in self.parked:
            call.fail(error)
        self.parked.clear()
        for connection in self.connections.values():
            for call in connection.waiting.values():
                is_unknown = call.is_sent and not call.is_read
                call.fail(verdicts.unknown("the client was closed") if is_unknown else error)
            connection.close()
        self.connections.clear()
        self.changes_count += 1
