"""The gateway's way to its node, and through it to the cluster.

Writes and linearizable reads go to whoever leads, each write in a session, so that one that has to
be sent again happens once; what may be old is asked of the gateway's own node. Every question is
asked in somebody's name (access), and again if users or roles have changed in between.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import zmq

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.protocol.messages import rpc
from metastore.client import errors
from metastore.client.aio.bridge import Bridge
from metastore.client.calls import Call
from metastore.client.discovery import Discovery
from metastore.client.driver import Driver
from metastore.client.security import ClientSecurity
from metastore.client.statuses import ask_statuses
from metastore.client.streams import Batch, Stream
from metastore.transport import auth_ops
from metastore.transport.envelope import MemberAddresses, ReadLevel
from metastore.transport.schema import COMPACTED, Operation

REQUEST_TIMEOUT_S = 7.0  # etcd's: 5 s and twice the election timeout
TIMED_OUT = "etcdserver: request timed out"
STOPPED = "etcdserver: server stopped"
STALE_ATTEMPTS_MAX = 8  # of one call, while users and roles keep changing under it


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


class WatchCompacted(ApiError):
    """A watch from before the compaction."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__(Status.OUT_OF_RANGE, COMPACTED)
        self.compact_revision = compact_revision


class NodeLink:
    """One per gateway, for one event loop. `node_id` and `cluster_id` are 0 until the node has
    been reached once."""

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
        self.node_id = 0
        self.term = 0  # of whoever answered last
        self.access: Access | None = None  # set once, before the first call; None: nobody is asked
        self._context = context
        self._security = security
        self._timeout_s = timeout_s
        self._discovery = Discovery((client_address,), False)
        self._bridge = Bridge(Driver(context, self._discovery, security))

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
        return rpc.ResponseHeader(
            cluster_id=self.cluster_id,
            member_id=self.node_id,
            revision=revision,
            raft_term=term or self.term,
        )

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
            result = await self._perform((header, operation), level, timeout_s)
            if result[0] == Status.OK:
                return result
            if result[1] != auth_ops.AUTH_OLD_REVISION:
                break
            await self.access.refresh()
        raise ApiError(Status(result[0]), result[1])

    async def ask_as_gateway(
        self,
        operation: Operation,
        *,
        level: ReadLevel = ReadLevel.LINEARIZABLE,
        timeout_s: float | None = None,
    ) -> Sequence[Any]:
        """In nobody's name: what the gateway needs for itself, or has checked the caller for."""
        result = await self._perform((operation,), level, timeout_s)
        if result[0] != Status.OK:
            raise ApiError(Status(result[0]), result[1])
        return result

    async def check(
        self, caller: Caller, need: auth_ops.Need, key: bytes = b"", range_end: bytes = b""
    ) -> None:
        """Raises ApiError unless the caller may; for what is no operation of the store."""
        operation = auth_ops.auth(auth_ops.AuthAction.CHECK, int(need), key, range_end)
        if self.access is not None:
            await self.ask(caller, operation)

    async def status(self) -> dict[str, Any]:
        """What the status socket of the node says. Raises ApiError when it does not answer."""
        answers = await asyncio.to_thread(
            ask_statuses, self._context, [self.status_address], self._timeout_s, self._security
        )
        answer = answers[self.status_address]
        if "error" in answer:
            raise ApiError(Status.UNAVAILABLE, TIMED_OUT)
        return answer

    # Watches: raw batches, whole revisions in order

    def open_watch(
        self, key: bytes, range_end: bytes, start_revision: int, flags: int
    ) -> "NodeWatch":
        """flags: WatchFlag."""
        return NodeWatch(self._bridge, Stream(key, range_end, start_revision, flags))

    async def close(self) -> None:
        await self._bridge.close()

    async def _perform(
        self, operations: Sequence[Operation], level: ReadLevel, timeout_s: float | None
    ) -> Sequence[Any]:
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            call = Call(operations, level, time.monotonic() + limit_s, use_sessions=True)
            call = await self._bridge.perform(call)
            if call.error is not None:
                raise call.error
        except errors.MetastoreError as error:
            raise _translated(error) from None
        self.term = call.term or self.term
        return tuple(call.results[-1])


class NodeWatch:
    """One watch on the node; goes on on another node when its own is gone, from where it stands.
    For one task."""

    def __init__(self, bridge: Bridge, stream: Stream) -> None:
        self._bridge = bridge
        self.stream = stream
        self._arrived: deque[Batch] = deque()

    async def open(self, timeout_s: float) -> None:
        """Until a node serves it; its `stream.next_revision` then says from where. Raises ApiError,
        WatchCompacted for a revision that is gone."""
        self._bridge.open_stream(self.stream)
        is_ready = await self._bridge.wait(self.stream.is_ready, timeout_s)
        if self.stream.error is not None:
            raise _translated(self.stream.error)
        if not is_ready:
            raise ApiError(Status.UNAVAILABLE, TIMED_OUT)

    async def batches(self) -> AsyncIterator[Batch]:
        """Until closed. A batch without events is a sign of progress (WatchFlag.PROGRESS). Raises
        WatchCompacted, or ApiError when the node ends it for another reason."""
        while not self.stream.is_closed:
            await self._bridge.listen(self.stream, self._arrived)
            while self._arrived:
                yield self._arrived.popleft()
            if self.stream.error is not None and not self.stream.has_batch():
                raise _translated(self.stream.error)

    def ask_progress(self) -> None:
        self._bridge.ask_progress(self.stream)

    def close(self) -> None:
        self._bridge.close_stream(self.stream)


def _translated(error: errors.MetastoreError) -> ApiError:
    """An error of the client library in etcd's words."""
    text = str(error)
    if isinstance(error, errors.Compacted):
        return WatchCompacted(error.revision)
    if isinstance(error, errors.AnswerTooLarge):
        return ApiError(Status.RESOURCE_EXHAUSTED, text)
    if isinstance(error, errors.PermissionDenied):
        return ApiError(Status.PERMISSION_DENIED, auth_ops.PERMISSION_DENIED)
    if isinstance(error, errors.InvalidRequest):
        return ApiError(Status(error.code), text)
    if isinstance(error, errors.ClientMisused):
        return ApiError(Status.UNAVAILABLE, STOPPED)
    return ApiError(Status.UNAVAILABLE, TIMED_OUT)  # also when it may have happened, as in etcd
