"""The two systems that test_etcd_watch.py compares: a real etcd by gRPC, our services on a node.

`call` is one call of a unary method, `stream` one of a stream's; both give etcd's messages, or
("error", code, text). What differs by nature is taken out by `plain`: ids of cluster, member and
lease, the term, and the revision that the test began at.
"""

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import zmq
from google.protobuf import json_format

from metastore.api import calls
from metastore.api.calls import ApiError, Caller
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import election, lock, rpc
from metastore.api.services.election import Election
from metastore.api.services.kv import Kv
from metastore.api.services.lease import Lease
from metastore.api.services.lock import Lock
from metastore.api.services.watch import Watch

ANSWER_S = 20.0
QUIET_S = 0.3  # nothing more comes, if nothing has come for so long

_REVISIONS = ("revision", "mod_revision", "create_revision", "compact_revision", "rev")


class Talk:
    """One stream of watches. `heard` are the responses so far."""

    def __init__(self, start: Callable[[AsyncIterator[Any]], AsyncIterator[Any]]) -> None:
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        self.heard: list[Any] = []
        self._task = asyncio.ensure_future(self._hear(start(self._sent())))

    async def _sent(self) -> AsyncIterator[Any]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _hear(self, responses: AsyncIterator[Any]) -> None:
        async for response in responses:
            self.heard.append(response)

    def create(self, key: bytes, range_end: bytes = b"", **options: Any) -> None:
        create = rpc.WatchCreateRequest(key=key, range_end=range_end, **options)
        self._requests.put_nowait(rpc.WatchRequest(create_request=create))

    def cancel(self, watch_id: int) -> None:
        cancel = rpc.WatchCancelRequest(watch_id=watch_id)
        self._requests.put_nowait(rpc.WatchRequest(cancel_request=cancel))

    def ask_progress(self) -> None:
        self._requests.put_nowait(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))

    def send(self, request: Any) -> None:
        self._requests.put_nowait(request)

    def end_requests(self) -> None:
        self._requests.put_nowait(None)

    async def until(self, responses: int = 0, events: int = 0) -> None:
        """So many responses, or events in them, have been heard in all."""
        async with asyncio.timeout(ANSWER_S):
            while len(self.heard) < responses or self._events_count() < events:
                if self._task.done():
                    await self._task
                await asyncio.sleep(0.01)

    def _events_count(self) -> int:
        return sum(len(response.events) for response in self.heard)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.RpcError):
            await self._task


class System:
    """What both have in common."""

    name: str
    base = 0  # its revision when the test began
    leases: dict[int, str]

    async def call(self, method: str, request: Any, timeout_s: float = ANSWER_S) -> Any:
        raise NotImplementedError

    def watch(self) -> Talk:
        raise NotImplementedError

    def observe(self, name: bytes) -> AsyncIterator[Any]:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def begin(self) -> None:
        everything = rpc.DeleteRangeRequest(key=b"\0", range_end=b"\0")
        await self.call("etcdserverpb.KV/DeleteRange", everything)
        found = await self.call("etcdserverpb.KV/Range", rpc.RangeRequest(key=b"none"))
        self.base = found.header.revision
        self.leases = {}

    async def put(self, key: bytes, value: bytes = b"", lease: int = 0) -> Any:
        request = rpc.PutRequest(key=key, value=value, lease=lease)
        return await self.call("etcdserverpb.KV/Put", request)

    async def delete(self, key: bytes, range_end: bytes = b"") -> Any:
        request = rpc.DeleteRangeRequest(key=key, range_end=range_end)
        return await self.call("etcdserverpb.KV/DeleteRange", request)

    async def compact(self, revision: int) -> Any:
        request = rpc.CompactionRequest(revision=self.base + revision)
        return await self.call("etcdserverpb.KV/Compact", request)

    async def grant(self, name: str) -> int:
        """A lease that `plain` shows by this name."""
        granted = await self.call("etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=600))
        self.leases[granted.ID] = name
        return int(granted.ID)

    async def revoke(self, lease: int) -> None:
        await self.call("etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease))

    def plain(self, answer: Any) -> Any:
        if isinstance(answer, tuple):
            return answer
        shown = json_format.MessageToDict(answer, preserving_proto_field_name=True)
        return self._plain(shown)

    def _plain(self, shown: Any) -> Any:
        if isinstance(shown, list):
            return [self._plain(item) for item in shown]
        if not isinstance(shown, dict):
            return shown
        found: dict[str, Any] = {}
        for name, value in shown.items():
            if name in _REVISIONS:
                found[name] = int(value) - self.base
            elif name == "lease":
                found[name] = self.leases.get(int(value), "another")
            elif name == "key":
                found[name] = self._plain_key(value)
            elif name not in ("cluster_id", "member_id", "raft_term"):
                found[name] = self._plain(value)
        return found

    def _plain_key(self, value: str) -> str:
        text = base64.b64decode(value).decode("latin-1")
        return re.sub("(?<=/)[0-9a-f]+$", lambda m: self.leases.get(int(m[0], 16), "?"), text)


class Etcd(System):
    name = "etcd"

    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")

    async def call(self, method: str, request: Any, timeout_s: float = ANSWER_S) -> Any:
        ask = self._channel.unary_unary(
            f"/{method}", lambda m: m.SerializeToString(), _reply_class(method).FromString
        )
        try:
            return await ask(request, timeout=timeout_s)
        except grpc.RpcError as error:
            return ("error", error.code().value[0], error.details())

    def watch(self) -> Talk:
        ask = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            lambda m: m.SerializeToString(),
            rpc.WatchResponse.FromString,
        )
        return Talk(lambda requests: ask(requests))

    def observe(self, name: bytes) -> AsyncIterator[Any]:
        ask = self._channel.unary_stream(
            "/v3electionpb.Election/Observe",
            lambda m: m.SerializeToString(),
            election.LeaderResponse.FromString,
        )
        return ask(election.LeaderRequest(name=name))  # type: ignore[no-any-return]

    async def close(self) -> None:
        await self._channel.close()


class Ours(System):
    name = "ours"

    def __init__(self, client_address: str, status_address: str) -> None:
        context = zmq.Context.instance()
        self.link = NodeLink(client_address, status_address, context=context)
        self.watches = Watch(self.link)
        self._election = Election(self.link)
        table = calls.methods(
            [
                ("etcdserverpb.KV", Kv(self.link)),
                ("etcdserverpb.Lease", Lease(self.link)),
                ("v3lockpb.Lock", Lock(self.link)),
                ("v3electionpb.Election", self._election),
            ]
        )
        self._methods = {method.path: method.handler for method in table}

    async def call(self, method: str, request: Any, timeout_s: float = ANSWER_S) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._methods[f"/{method}"](request, Caller())
        except ApiError as error:
            return ("error", int(error.code), error.message)
        except TimeoutError:
            return ("error", grpc.StatusCode.DEADLINE_EXCEEDED.value[0], "Deadline Exceeded")

    def watch(self) -> Talk:
        return Talk(lambda requests: self.watches.watch(requests, Caller()))

    def observe(self, name: bytes) -> AsyncIterator[Any]:
        return self._election.observe(election.LeaderRequest(name=name), Caller())

    async def close(self) -> None:
        await self.link.close()


def _reply_class(method: str) -> Any:
    package, _, rest = method.partition(".")
    name = rest.partition("/")[2]
    messages = {"etcdserverpb": rpc, "v3lockpb": lock, "v3electionpb": election}[package]
    return getattr(messages, "CompactionResponse" if name == "Compact" else f"{name}Response")
