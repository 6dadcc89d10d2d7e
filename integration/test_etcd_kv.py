"""etcd's KV and Lease services against a real etcd: the same requests, the same answers.

Ours are called on a loop, in front of a node of each engine; etcd is asked by gRPC. Everything is
compared but the ids of cluster and member, the term, and what is left of a lease's time.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import zmq
from etcd_process import EtcdProcess
from kv_requests import EVERYTHING, MANY, Drawing, Request, limits, many_keys, oddities
from node_processes import BOTH_ENGINES, NodeProcesses

from metastore.api.calls import ApiError, Caller, Method, methods
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.services.kv import Kv
from metastore.api.services.lease import CHOSEN_MIN, Lease

pytestmark = BOTH_ENGINES
SEEDS = (1, 2, 3)
REQUESTS_PER_SEED = 150
START_S = 10.0
ANSWER_S = 20.0
CALLER = Caller()

Answer = Any  # a message, or (code, text)


class Etcd:
    """A real etcd, through stubs without generated code."""

    def __init__(self, port: int, table: Iterable[Method]) -> None:
        options = [("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
        self._stubs = {}
        for method in table:
            kind = "stream_stream" if method.takes_stream else "unary_unary"
            self._stubs[method.handler.__name__] = getattr(self._channel, kind)(
                method.path,
                request_serializer=method.request_class.SerializeToString,
                response_deserializer=method.reply_class.FromString,
            )

    def ask(self, method: str, request: Any) -> Answer:
        try:
            return self._stubs[method](request, timeout=ANSWER_S)
        except grpc.RpcError as error:
            return (error.code().value[0], error.details())

    def keep_alive(self, leases: Iterable[int]) -> list[Answer]:
        requests = iter([rpc.LeaseKeepAliveRequest(ID=lease) for lease in leases])
        return list(self._stubs["lease_keep_alive"](requests, timeout=ANSWER_S))

    def close(self) -> None:
        self._channel.close()


class Ours:
    """The services in front of one node."""

    def __init__(self, link: NodeLink) -> None:
        services = (("etcdserverpb.KV", Kv(link)), ("etcdserverpb.Lease", Lease(link)))
        self.table = list(methods(services))
        self._handlers = {method.handler.__name__: method.handler for method in self.table}

    async def ask(self, method: str, request: Any) -> Answer:
        # Over the wire and back: what cannot be encoded is no answer.
        request = type(request).FromString(request.SerializeToString())
        try:
            reply = await self._handlers[method](request, CALLER)
        except ApiError as error:
            return (int(error.code), error.message)
        return type(reply).FromString(reply.SerializeToString())

    async def keep_alive(self, leases: Iterable[int]) -> list[Answer]:
        async def requests() -> AsyncIterator[Any]:
            for lease in leases:
                yield rpc.LeaseKeepAliveRequest(ID=lease)

        stream = self._handlers["lease_keep_alive"](requests(), CALLER)
        return [reply async for reply in stream]

    async def stream(self, request: Any) -> tuple[int, Any]:
        """How many parts, and what they make."""
        merged, count = rpc.RangeResponse(), 0
        async for part in self._handlers["range_stream"](request, CALLER):
            merged.MergeFrom(part.range_response)
            count += 1
        return count, merged


class Pair:
    """Both, asked the same."""

    def __init__(self, etcd: Etcd, ours: Ours) -> None:
        self.etcd = etcd
        self.ours = ours
        self.revision = 1
        self.refused_count = 0

    async def same(self, method: str, request: Any) -> Answer:
        expected = self.etcd.ask(method, request)
        answer = await self.ours.ask(method, request)
        assert comparable(answer, request) == comparable(expected, request), (method, request)
        if isinstance(answer, tuple):
            self.refused_count += 1
        else:
            self.revision = answer.header.revision
        return answer


def comparable(answer: Answer, request: Any) -> Answer:
    if isinstance(answer, tuple):
        return answer
    plain = type(answer).FromString(answer.SerializeToString())
    for name in ("cluster_id", "member_id", "raft_term"):
        setattr(plain.header, name, int(getattr(plain.header, name) > 0))
    if isinstance(plain, rpc.RangeResponse) and request.sort_target:
        # Ties are in no promised order: what is sorted by counts, and the keys if all are there.
        name = ("key", "version", "create_revision", "mod_revision", "value")[request.sort_target]
        by = [getattr(kv, name) for kv in plain.kvs]
        found = sorted(kv.SerializeToString() for kv in plain.kvs) if not plain.more else []
        del plain.kvs[:]
        return plain, by, found
    if isinstance(plain, rpc.LeaseTimeToLiveResponse):
        plain.TTL = min(plain.TTL, 1)
        plain.keys[:] = sorted(plain.keys)
    if isinstance(plain, rpc.LeaseLeasesResponse):
        return plain.header, sorted(lease.ID for lease in plain.leases)
    if isinstance(plain, rpc.LeaseGrantResponse) and not request.ID:
        assert plain.ID >= CHOSEN_MIN
        plain.ID = 0
    return plain


@pytest.fixture
def node(make_cluster: Any) -> NodeProcesses:
    one: NodeProcesses = make_cluster(1, ("--sync", "never"))
    one.start()
    one.leader()
    return one


@pytest.fixture
def etcd_port(tmp_path: Path) -> Iterator[int]:
    etcd = EtcdProcess(tmp_path)
    yield etcd.port
    etcd.stop()


def compare(node: NodeProcesses, etcd_port: int, body: Any) -> None:
    async def main() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        places = [node.address(1, name) for name in ("client", "status")]
        link = NodeLink(*places, context=context)
        await link.start(START_S)
        ours = Ours(link)
        etcd = Etcd(etcd_port, ours.table)
        try:
            await body(Pair(etcd, ours))
        finally:
            etcd.close()
            await link.close()
            context.term()

    asyncio.run(main())


async def all_same(pair: Pair, requests: Iterable[Request]) -> None:
    for method, request in requests:
        await pair.same(method, request)


def test_drawn_requests_are_answered_as_by_etcd(node: NodeProcesses, etcd_port: int) -> None:
    async def body(pair: Pair) -> None:
        for seed in SEEDS:
            drawing = Drawing(seed)
            for _ in range(REQUESTS_PER_SEED):
                drawing.revision = pair.revision
                await pair.same(*drawing.request())
            await pair.same("range", rpc.RangeRequest(**EVERYTHING))
        # Not all of it was refused.
        assert pair.refused_count < len(SEEDS) * REQUESTS_PER_SEED / 2

    compare(node, etcd_port, body)


def test_limits_and_oddities_are_those_of_etcd(node: NodeProcesses, etcd_port: int) -> None:
    async def body(pair: Pair) -> None:
        await all_same(pair, limits())
        await all_same(pair, oddities())
        for lease in (1, 2):
            await pair.same("lease_grant", rpc.LeaseGrantRequest(ID=lease, TTL=60 * lease))
        leases = (1, 2, 99, 1, 0, -5)
        expected = pair.etcd.keep_alive(leases)
        answers = await pair.ours.keep_alive(leases)
        assert [comparable(answer, None) for answer in answers] == [
            comparable(answer, None) for answer in expected
        ]

    compare(node, etcd_port, body)


def test_ranges_of_many_keys_are_those_of_etcd(node: NodeProcesses, etcd_port: int) -> None:
    async def body(pair: Pair) -> None:
        requests = list(many_keys())
        for method, request in requests[:-2]:
            answer = await pair.same(method, request)
            if method == "range" and not request.sort_order and not request.min_mod_revision:
                parts_count, merged = await pair.ours.stream(request)
                if not request.sort_target:  # a stream passes over it
                    assert merged == answer
                assert parts_count > 1 or request.count_only or 0 < request.limit < 100
        await all_same(pair, requests[-2:])
        assert pair.refused_count == 0
        assert MANY > 1000

    compare(node, etcd_port, body)
