"""The gateway's way to its node, and through it to the cluster.

Writes and linearizable reads go to whoever leads, each write in a session, so that one that has to
be sent again happens once; what may be old is asked of the gateway's own node. Every question is
asked in somebody's name (access), and again if users or roles have changed in between.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import zmq

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.failures import STOPPED as STOPPED
from metastore.api.failures import TIMED_OUT, TOO_LARGE, translated
from metastore.api.failures import AnswerTooLarge as AnswerTooLarge
from metastore.api.failures import WatchCompacted as WatchCompacted
from metastore.api.followed_watch import FollowedWatch
from metastore.api.own_node import OwnNode
from metastore.api.protocol.messages import rpc
from metastore.client import errors
from metastore.client.aio.bridge import Bridge
from metastore.client.calls import Call
from metastore.client.driver import Driver
from metastore.client.security import ClientSecurity
from metastore.client.sessions import HEADER_BYTES_MAX
from metastore.client.statuses import ask_statuses
from metastore.client.streams import Stream
from metastore.transport import auth_ops
from metastore.transport.envelope import MemberAddresses, ReadLevel
from metastore.transport.member_ops import MEMBER_OPERATIONS
from metastore.transport.schema import REQUEST_BYTES_MAX, Operation, range_

REQUEST_TIMEOUT_S = 7.0  # etcd's: 5 s and twice the election timeout
STALE_ATTEMPTS_MAX = 8  # of one call, while users and roles keep changing under it
WATCH_BYTES_MAX = REQUEST_BYTES_MAX - 1024  # of its keys; the rest of its frame is numbers
LOOK_S = 1.0  # between two looks whether the own node is back
_NOTHING: Operation = range_(b"\0")  # a read that finds next to nothing


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller as the node knows it: "" as user, one that said no name."""

    user: str
    auth_revision: int


class Access(Protocol):
    """Who tells callers apart."""

    async def identity_of(self, caller: Caller) -> Identity:
        """Raises ApiError for a token that is not valid."""
        ...

    async def refresh(self) -> None:
        """Users or roles have changed since they were looked up."""
        ...


class NodeLink:
    """One per gateway, for one event loop. `node_id` and `cluster_id` are 0 until the node has
    been reached once (`start`)."""

    def __init__(
        self,
        client_address: str,
        status_address: str,
        *,
        context: "zmq.Context[zmq.Socket[bytes]]",
        security: ClientSecurity | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self.client_address = client_address
        self.status_address = status_address
        self.term = 0  # the newest that anybody answered in
        self.revision = 0  # the newest that any answer told
        self.access: Access | None = None  # set once, before the first call; None: nobody is asked
        self._context = context
        self._security = security
        self._timeout_s = timeout_s
        self._discovery = OwnNode(client_address)
        self._bridge = Bridge(Driver(context, self._discovery, security))
        self._asking: set[asyncio.Future[dict[str, dict[str, Any]]]] = set()
        self._spoken_as = (0, 0, 0)  # what _header was made of
        self._header = rpc.ResponseHeader()  # of every answer, but for its revision
        self._look_at = 0.0  # for the own node, not before; of time.monotonic()

    async def start(self, timeout_s: float) -> None:
        """Until the own node has said who it is. Raises ApiError when it has not in so many
        seconds: the sentence says why."""
        own = self._discovery
        try:
            is_reached = await self._bridge.wait(lambda: own.is_reached, timeout_s, asks=True)
        except errors.MetastoreError as error:
            raise translated(error) from None
        if not is_reached:
            text = f"the node at {self.client_address} was not reached within {timeout_s:g} s"
            raise ApiError(Status.UNAVAILABLE, f"{text}: {own.reason}")

    @property
    def node_id(self) -> int:
        """Of the node that this gateway belongs to, also while it is away."""
        return self._discovery.own_id

    @property
    def cluster_id(self) -> int:
        return self._discovery.cluster_id

    @property
    def leader_id(self) -> int:
        """As far as the last answers tell; 0: none known."""
        return self._discovery.leader_id

    def known_members(self) -> Sequence[MemberAddresses]:
        return tuple(self._discovery.members.values())

    def header(self, revision: int = 0, term: int = 0) -> Any:
        """Of an answer: this node speaks. Revision 0 leaves it out."""
        header = rpc.ResponseHeader()
        self.fill_header(header, revision)
        if term:
            header.raft_term = term
        return header

    def fill_header(self, header: Any, revision: int) -> None:
        """The same into a message that is there; the hot path."""
        own = self._discovery
        speaks_as = (own.cluster_id, own.own_id, self.term)
        if speaks_as != self._spoken_as:
            self._spoken_as = speaks_as
            cluster_id, node_id, term = speaks_as
            self._header = rpc.ResponseHeader(
                cluster_id=cluster_id, member_id=node_id, raft_term=term
            )
        header.CopyFrom(self._header)
        header.revision = revision

    async def ask(
        self,
        caller: Caller,
        operation: Operation,
        *,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
        timeout_s: float | None = None,
    ) -> Sequence[Any]:
        """The result of one operation, in the caller's name; result[1] is the revision. Raises
        ApiError."""
        if self.access is None:
            return await self.ask_as_gateway(operation, level=level, timeout_s=timeout_s)
        for _ in range(STALE_ATTEMPTS_MAX):
            identity = await self.access.identity_of(caller)
            header = auth_ops.as_user(identity.user, identity.auth_revision)
            result = (await self._perform((header, operation), level, timeout_s))[-1]
            if result[0] == Status.OK:
                return result
            if result[1] != auth_ops.AUTH_OLD_REVISION:
                break
            await self.access.refresh()
            level = ReadLevel.LINEARIZABLE  # the own node may not have heard of the change yet
        raise ApiError(Status(result[0]), result[1])

    async def ask_as_gateway(
        self,
        operation: Operation,
        *,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
        timeout_s: float | None = None,
    ) -> Sequence[Any]:
        """In nobody's name: what the gateway needs for itself, or has checked the caller for."""
        result = (await self._perform((operation,), level, timeout_s))[-1]
        if result[0] != Status.OK:
            raise ApiError(Status(result[0]), result[1])
        return result

    async def ask_together(
        self, operations: Sequence[Operation], *, timeout_s: float | None = None
    ) -> Sequence[Sequence[Any]]:
        """The results of up to schema.OPERATIONS_MAX operations in one request, as the gateway;
        each may be an error of its own. Raises ApiError when all of them failed as one."""
        results = await self._perform(operations, ReadLevel.LINEARIZABLE, timeout_s)
        if len(results) != len(operations):
            raise ApiError(Status(results[0][0]), results[0][1])
        return results

    async def check(
        self, caller: Caller, need: auth_ops.Need, key: bytes = b"", range_end: bytes = b""
    ) -> None:
        """Raises ApiError unless the caller may; for what is no operation of the store."""
        if self.access is not None:
            operation = auth_ops.auth(auth_ops.AuthAction.CHECK, int(need), key, range_end)
            await self.ask(caller, operation)

    async def status(self, timeout_s: float | None = None, address: str = "") -> dict[str, Any]:
        """What the status socket of the node says, or of the one at `address`. Raises ApiError when
        it does not answer."""
        address = address or self.status_address
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        asking = asyncio.ensure_future(
            asyncio.to_thread(ask_statuses, self._context, [address], limit_s, self._security)
        )
        # A thread that asks cannot be cancelled; `close` waits for it, since its sockets would keep
        # the context from ending for ever.
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        answers = await asyncio.shield(asking)
        answer = answers[address]
        if "error" in answer:
            raise ApiError(Status.UNAVAILABLE, TIMED_OUT)
        return answer

    # Watches: raw batches, whole revisions in order

    def follow_watch(
        self,
        key: bytes,
        range_end: bytes,
        start_revision: int,
        flags: int,
        on_news: Callable[[], None],
    ) -> FollowedWatch:
        """One of many, of which nobody waits for each. flags: WatchFlag. Raises ApiError."""
        if len(key) + len(range_end) > WATCH_BYTES_MAX:
            # The node would close the connection, and with it all other watches.
            raise ApiError(Status.INVALID_ARGUMENT, TOO_LARGE)
        stream = Stream(key, range_end, start_revision, flags)
        try:
            return FollowedWatch(self._bridge, stream, on_news)
        except errors.MetastoreError as error:
            raise translated(error) from None

    def ask_progress(self, watches: Iterable[FollowedWatch]) -> None:
        """One sign of progress from each, after all events of it that are under way."""
        with suppress(errors.MetastoreError):  # the watches tell
            self._bridge.ask_progress(*(watch.stream for watch in watches))

    def close_watches(self, watches: Iterable[FollowedWatch]) -> None:
        """All at once; they tell nothing any more."""
        self._bridge.close_stream(*(watch.stream for watch in watches))

    async def close(self) -> None:
        await self._bridge.close()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _perform(
        self, operations: Sequence[Operation], level: ReadLevel, timeout_s: float | None
    ) -> Sequence[Sequence[Any]]:
        now = time.monotonic()
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        call = Call(operations, level, now + limit_s, use_sessions=True)
        if len(call.request) > REQUEST_BYTES_MAX - HEADER_BYTES_MAX:
            # The node would close the connection, and all calls on it would have to start again.
            raise ApiError(Status.INVALID_ARGUMENT, TOO_LARGE)
        if not self._discovery.is_reached and now >= self._look_at:
            self._look_for_own_node(now)
        try:
            await self._bridge.perform(call)
        except errors.MetastoreError as error:
            raise translated(error) from None
        if call.error is not None:
            raise translated(call.error)
        # A node that lags behind may answer in an older term; ours never goes back.
        if call.term > self.term:
            self.term = call.term
        last = call.results[-1]
        if last[0] == Status.OK and operations[-1][0] not in MEMBER_OPERATIONS:
            self.revision = max(self.revision, last[1])
        return call.results

    def _look_for_own_node(self, now: float) -> None:
        """Everything may go well without it; but it may come back under another id, and nobody else
        would tell us."""
        self._look_at = now + LOOK_S
        with suppress(errors.MetastoreError):  # the call that we look beside says it
            self._bridge.send(Call((_NOTHING,), ReadLevel.LOCAL, now + LOOK_S))
