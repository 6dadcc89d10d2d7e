"""Where each call goes, and what the answers mean for it: the one place that decides about retries.

Reading order 10 of the client. A call is sent again if and only if that is safe:
  * it only reads, or does no harm twice (a lease's keep-alive, a change of the members), or
  * it never left (no connection, or dropped from the queue), or
  * the node said that it was not proposed ("not_leader", "unavailable"), or
  * it has a number in a session: the cluster carries it out once, however often it arrives.
Such a call goes on until its deadline, on whichever node leads. A write that left, got none of
these answers and may not be sent again ends as OutcomeUnknown; so does one with a number at its
deadline, or when the cluster has forgotten the session in between. Not thread-safe; never waits.
"""

from collections import deque

import zmq

from metastore.client import verdicts
from metastore.client.calls import Call
from metastore.client.connection import FAREWELL_MS_MAX, SILENCE_S_MAX, Connection
from metastore.client.discovery import Discovery
from metastore.client.errors import MetastoreError, NotLeader, Unavailable, WrongVersion
from metastore.client.nodes import Nodes
from metastore.client.security import ClientSecurity
from metastore.client.sessions import Sessions, why_unknown
from metastore.client.watching import Watching
from metastore.transport import envelope, schema, watch_frames
from metastore.transport.envelope import ErrorCode, ReadLevel
from metastore.transport.errors import Malformed
from metastore.transport.limits import ANSWER_FRAME_BYTES_MAX


class Router:
    """`parked` are the calls that no connection has."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        discovery: Discovery,
        security: ClientSecurity | None,
    ) -> None:
        self.discovery = discovery
        self.nodes = Nodes(context, discovery, security)
        self.watching = Watching(self.nodes)
        self.parked: deque[Call] = deque()
        self._sessions = Sessions()

    # Outwards

    def route(self, now: float) -> None:
        """Gives every parked call that can go somewhere to a connection, and sends."""
        if self.parked:
            self._route_parked(now)
        self.watching.resume(now)
        self.send()

    def send(self) -> None:
        """Lets what is queued on the connections leave."""
        for connection in self.nodes.connections.values():
            connection.send_queued()

    def _route_parked(self, now: float) -> None:
        calls, self.parked = self.parked, deque()
        leader: Connection | None = None
        is_leader_sought = needs_session = False
        for call in calls:
            if self.nodes.refusal is not None:
                self._refuse(call, self.nodes.refusal)
                continue
            if call.deadline <= now:
                self._give_up(call)
                continue
            if call.level is ReadLevel.LOCAL:
                connection = self.nodes.any_or_none(now)
            else:
                if not is_leader_sought:
                    is_leader_sought, leader = True, self.nodes.leader_or_none(now)
                connection = leader
            if connection is None:
                call.reason = self.discovery.reason
                self.parked.append(call)
            elif call.wants_session and not self._sessions.admit(call):
                if not call.is_done:
                    call.reason = "the session for it is not open yet"
                    needs_session = True
                    self.parked.append(call)
            else:
                connection.queue(self.nodes.next_id(), call)
        self._sessions.forget_failure()
        if needs_session and leader is not None:
            opening = self._sessions.opening_or_none(now)
            if opening is not None:
                leader.queue(self.nodes.next_id(), opening)

    # Inwards

    def receive(self, connection: Connection, now: float) -> None:
        """Takes in all that arrived on a connection, and its end if it ended."""
        # The monitor first: what the socket holds when the end is known is all that will ever come.
        connection.check_broken()
        for frame in connection.receive():
            self._on_frame(connection, frame, now)
        if connection.is_broken and not connection.is_closed:
            self._drop(connection, connection.ending, now)

    def _on_frame(self, connection: Connection, frame: bytes, now: float) -> None:
        try:
            reply = envelope.decode_node_frame(frame)
            if isinstance(
                reply, watch_frames.Events | watch_frames.Watched | watch_frames.Canceled
            ):
                self.watching.on_frame(connection, reply, now)
                return
        except Malformed as error:
            self._on_malformed(connection, frame, error, now)
            return
        if isinstance(reply, envelope.Results):
            if (call := connection.waiting.pop(reply.request_id, None)) is not None:
                self.discovery.on_served()
                self._finish(call, reply)
        elif isinstance(reply, envelope.Welcome):
            self.nodes.on_welcome(connection, reply)
        elif reply.request_id in connection.greeting_ids:
            self.nodes.on_greeting_failed(connection, reply)
        elif not self.watching.on_failure(connection, reply, now):
            self._on_failure(connection, reply, now)

    def _on_malformed(
        self, connection: Connection, frame: bytes, error: Malformed, now: float
    ) -> None:
        if len(frame) > ANSWER_FRAME_BYTES_MAX:
            # Asking again would give the same: it must not look like a node out of order.
            call = connection.waiting.pop(verdicts.peek_request_id(frame), None)
            if call is not None:
                unread = verdicts.unknown_of(call, "the node's answer is too large to be read")
                call.fail(verdicts.too_large(len(frame)) if call.is_read else unread)
            return
        if error.code == ErrorCode.WRONG_VERSION:
            self.nodes.refusal = WrongVersion(f"{connection.endpoint}: {error}")
        self._drop(connection, f"sent something that is no answer ({error})", now)

    def _finish(self, call: Call, reply: envelope.Results) -> None:
        try:
            results = schema.decode_results(reply.results)
            refusal = self._sessions.refusal_or_none(call, results)
        except Exception:
            text = "the node's answer cannot be read; is it of another version?"
            call.fail(WrongVersion(text) if call.is_read else verdicts.unknown_of(call, text))
            return
        if refusal is None:
            call.finish(results, reply.term)
        elif call.is_lost or refusal == schema.REPLY_TOO_LARGE:
            call.fail(verdicts.unknown(why_unknown(refusal)))
        else:
            # Its first and only sending was refused as a whole: it never happened.
            self._sessions.renumber(call, refusal)
            self._park(call)

    def _on_failure(self, connection: Connection, failure: envelope.Error, now: float) -> None:
        text = f"{connection.endpoint}: {failure.message or failure.code}"
        call = connection.waiting.pop(failure.request_id, None)
        if call is None:
            return
        call.reason = text
        if failure.code == ErrorCode.NOT_LEADER:
            self.discovery.on_redirect(connection.endpoint, failure.leader_id, now)
            self._retry_elsewhere(call, text, failure.leader_id)
        elif failure.code == ErrorCode.UNAVAILABLE:
            self.discovery.on_unavailable(now)
            self._park(call)
        elif failure.code == ErrorCode.OUTCOME_UNKNOWN and call.may_be_sent_again():
            self.discovery.on_unavailable(now)
            self._park(call, is_lost=True)
        elif failure.code == ErrorCode.OUTCOME_UNKNOWN:
            call.fail(verdicts.unknown_of(call, text))
        else:
            self._refuse(call, verdicts.refusal(failure.code, text), is_answered=True)

    def _retry_elsewhere(self, call: Call, text: str, leader_id: int) -> None:
        endpoint = self.discovery.leader_endpoint_or_none()
        if not (self.discovery.is_pinned and leader_id and endpoint is None):
            self._park(call)
            return
        member = self.discovery.members.get(leader_id)
        address = member.client if member else ""
        hint = f"; the leader is node {leader_id}" + (f" at {address}" if address else "")
        self._refuse(call, NotLeader(text + hint, leader_id, address), is_answered=True)

    def _park(self, call: Call, *, is_lost: bool = False) -> None:
        """`is_lost`: if it left, no answer to that will be taken any more."""
        call.is_lost |= is_lost and call.is_sent
        call.is_sent = False
        self.parked.append(call)

    # Endings

    def sweep(self, now: float) -> None:
        """Ends what has waited too long: calls, connections that do not come, nodes that fell
        silent."""
        for connection in list(self.nodes.connections.values()):
            overdue = [rid for rid, call in connection.waiting.items() if call.deadline <= now]
            for request_id in overdue:
                self._give_up(connection.waiting.pop(request_id))
            if connection.is_overdue(now):
                self._drop(
                    connection, "no answer; is it running, and is this its client port?", now
                )
            elif connection.is_silent(now):
                self._on_silent(connection, now)
            elif connection.is_doubtful(now):
                self._on_doubtful(connection, now)
        self.nodes.refresh(now)
        for connection in self.watching.silent(now):
            self._drop(connection, "no sign of life for a watch", now)
        if any(call.deadline <= now for call in self.parked):
            self._route_parked(now)

    def _on_doubtful(self, connection: Connection, now: float) -> None:
        """The calls stay: sent again, a long one would be worked out twice and never end."""
        self.watching.on_owing(connection)
        self.nodes.greet(connection, now)
        connection.send_queued()  # at once: the next turn may be late, and time counts from now

    def _on_silent(self, connection: Connection, now: float) -> None:
        self.discovery.on_silent(connection.endpoint)
        movable = [
            request_id
            for request_id, call in connection.waiting.items()
            if call.may_be_sent_again() and now - call.sent_at > SILENCE_S_MAX
        ]
        for request_id in movable:
            call = connection.waiting.pop(request_id)
            call.reason = f"{connection.endpoint} does not answer"
            self._park(call, is_lost=True)
        self.watching.on_owing(connection)
        self.nodes.ask_everyone(now)

    def _give_up(self, call: Call) -> None:
        if call.may_have_happened():
            call.fail(verdicts.unknown_of(call, "no answer came in time"))
        else:
            call.fail(Unavailable(f"not served in time; {call.reason}"))

    def _refuse(self, call: Call, error: MetastoreError, *, is_answered: bool = False) -> None:
        """Ends a call that goes no further; `is_answered`: the last sending had no effect."""
        call.is_sent &= not is_answered
        is_unknown = call.may_have_happened()
        call.fail(verdicts.unknown_of(call, str(error)) if is_unknown else error)

    def _drop(self, connection: Connection, reason: str, now: float) -> None:
        """Ends a connection. What may be sent again goes elsewhere; the rest is unknown."""
        calls, connection.waiting = connection.waiting, {}
        self.watching.on_lost(connection, reason)
        self.nodes.forget(connection, reason, now)
        for call in calls.values():
            call.reason = f"{connection.endpoint}: {reason}"
            if call.is_sent and not call.may_be_sent_again():
                text = f"{connection.endpoint} went away before the answer"
                call.fail(verdicts.unknown_of(call, text))
            else:
                self._park(call, is_lost=True)

    def close(self, error: MetastoreError) -> None:
        for call in self.parked:
            self._refuse(call, error)
        self.parked.clear()
        self.watching.close(error)
        self._say_farewell()
        for connection in self.nodes.connections.values():
            for call in connection.waiting.values():
                is_unknown = call.may_have_happened()
                closed = verdicts.unknown_of(call, "the client was closed")
                call.fail(closed if is_unknown else error)
        self.nodes.close()

    def _say_farewell(self) -> None:
        """Lets the cluster forget the session, if that costs no waiting."""
        farewell = self._sessions.farewell_or_none()
        leader = self.nodes.connections.get(self.discovery.leader_endpoint_or_none() or "")
        if farewell is not None and leader is not None and leader.is_ready:
            leader.queue(self.nodes.next_id(), farewell)
            leader.send_queued()
            leader.close(FAREWELL_MS_MAX)
