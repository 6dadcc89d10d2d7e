"""The members as etcd's clients see and change them, on real nodes; refusals as by a real etcd."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import zmq
from etcd_process import EtcdProcess
from node_processes import DEADLINE_S, SOCKETS, NodeProcesses, ask_status
from own_ports import own_ports

from metastore.api.calls import ApiError, Caller
from metastore.api.link import NodeLink
from metastore.api.protocol.messages import rpc
from metastore.api.services.cluster import Cluster

pytestmark = pytest.mark.timeout(240)
REMOVED = 7  # exit code
Call = Callable[..., Awaitable[Any]]


def play(cluster: NodeProcesses, node_id: int, body: Callable[[Call], Awaitable[None]]) -> None:
    """The body with calls of the service at that node: call("list", linearizable=True)."""

    async def main() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        places = (cluster.address(node_id, "client"), cluster.address(node_id, "status"))
        link = NodeLink(*places, context=context)
        service = Cluster(link)

        async def call(method: str, **fields: Any) -> Any:
            request = getattr(rpc, f"Member{method.capitalize()}Request")(**fields)
            return await getattr(service, f"member_{method}")(request, Caller())

        try:
            await link.start(DEADLINE_S)
            await body(call)
        finally:
            await link.close()
            context.term()

    asyncio.run(main())


async def eventually(what: str, call: Call, is_so: Callable[[Any], bool], **fields: Any) -> Any:
    """The first answer that is so; a refusal is not."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                found = await call(what, **fields)
                if is_so(found):
                    return found
            except ApiError:
                pass
            await asyncio.sleep(0.02)


def url_of(cluster: NodeProcesses, node_id: int) -> str:
    return cluster.address(node_id, "peer").replace("tcp", "http")


def named_cluster(make_cluster: Callable[..., NodeProcesses]) -> NodeProcesses:
    cluster = make_cluster(3)
    for node_id in cluster.node_ids:
        told = ("--name", f"n{node_id}", "--etcd-advertise", f"http://h{node_id}:2379")
        cluster.node_options[node_id] = told
    cluster.start()
    cluster.leader()
    return cluster


def test_every_member_says_its_name_and_where_its_gateway_is(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = named_cluster(make_cluster)

    async def body(call: Call) -> None:
        found = await eventually("list", call, lambda r: all(m.clientURLs for m in r.members))
        assert [(m.ID, m.name, m.peerURLs, m.clientURLs) for m in found.members] == [
            (n, f"n{n}", [url_of(cluster, n)], [f"http://h{n}:2379"]) for n in (1, 2, 3)
        ]
        status = ask_status(cluster.address(1, "status"), "status")
        header = found.header
        assert (header.cluster_id, header.member_id) == (status["cluster_id"], 1)
        assert (header.raft_term, header.revision) == (status["term"], 0)

    play(cluster, 1, body)


def test_a_member_is_added_started_promoted_moved_and_removed(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = named_cluster(make_cluster)
    places = dict(zip(SOCKETS, own_ports(len(SOCKETS)), strict=True))
    peer = f"http://127.0.0.1:{places['peer']}"

    async def body(call: Call) -> None:
        # A leader has to hear from everybody first.
        added = await eventually("add", call, bool, peerURLs=[peer], isLearner=True)
        new = added.member.ID
        assert new > 1 << 53
        assert added.member == rpc.Member(ID=new, peerURLs=[peer], isLearner=True)
        cluster.ports[new], cluster.node_options[new] = places, ("--name", "fourth")
        cluster.join(new)
        await eventually("promote", call, bool, ID=new)
        found = await call("list", linearizable=True)
        assert found.members[-1] == rpc.Member(ID=new, name="fourth", peerURLs=[peer])
        moved = await call("update", ID=new, peerURLs=["http://127.0.0.1:1"])
        assert moved.members[-1].peerURLs == ["http://127.0.0.1:1"]
        # It tells its own place, and another name, when it starts.
        cluster.kill(new)
        cluster.node_options[new] = ("--name", "number four")
        cluster.start(new)
        told = rpc.Member(ID=new, name="number four", peerURLs=[peer])
        await eventually("list", call, lambda found: found.members[-1] == told)
        left = await eventually("remove", call, bool, ID=new)
        assert [member.ID for member in left.members] == [1, 2, 3]
        assert cluster.wait_gone(new) == REMOVED

    play(cluster, 1, body)


REFUSED = [
    ("add", {"peerURLs": []}),
    ("add", {"peerURLs": ["h:1"]}),
    ("add", {"peerURLs": ["http://h:1/"], "isLearner": True}),
    ("add", {"peerURLs": ["OWN"]}),
    ("add", {"peerURLs": ["http://h:1", "OWN"], "isLearner": True}),
    ("remove", {"ID": 5}),
    ("remove", {"ID": "OWN"}),
    ("update", {"ID": 5, "peerURLs": ["http://h:1"]}),
    ("promote", {"ID": 5}),
    ("promote", {"ID": "OWN"}),
]
REFUSED_BESIDE_A_LEARNER = [
    ("add", {"peerURLs": ["http://h:2"], "isLearner": True}),
    ("promote", {"ID": "LEARNER"}),
    ("update", {"ID": "LEARNER", "peerURLs": ["OWN"]}),
    ("remove", {"ID": "OWN"}),
]


async def answers(call: Call) -> list[Any]:
    """What a cluster of one says to all that."""
    own = (await call("list", linearizable=True)).members[0]

    def filled(fields: dict[str, Any], learner: int = 0) -> dict[str, Any]:
        ids = {"OWN": own.ID, "LEARNER": learner}
        found = {name: ids.get(value, value) for name, value in fields.items() if name == "ID"}
        if "peerURLs" in fields:
            urls = [own.peerURLs[0] if url == "OWN" else url for url in fields["peerURLs"]]
            found["peerURLs"] = urls
        return found | {key: value for key, value in fields.items() if key == "isLearner"}

    told = [await refusal(call, method, filled(fields)) for method, fields in REFUSED]
    added = await call("add", peerURLs=["http://h:1"], isLearner=True)
    shown = sorted(member.isLearner for member in added.members)
    told.append((added.member.isLearner, added.member.name, shown))
    for method, fields in REFUSED_BESIDE_A_LEARNER:
        told.append(await refusal(call, method, filled(fields, added.member.ID)))
    left = await call("remove", ID=added.member.ID)
    told.append(([member.ID == own.ID for member in left.members], left.header.revision))
    return [*told, await refusal(call, "remove", {"ID": added.member.ID})]


async def refusal(call: Call, method: str, fields: dict[str, Any]) -> tuple[int, str]:
    try:
        return 0, str(await call(method, **fields))
    except ApiError as error:
        return int(error.code), error.message
    except grpc.aio.AioRpcError as error:
        return error.code().value[0], str(error.details())


def of_etcd(folder: Path) -> list[Any]:
    etcd = EtcdProcess(folder)

    async def main() -> list[Any]:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{etcd.port}") as channel:

            async def call(method: str, **fields: Any) -> Any:
                name = f"Member{method.capitalize()}"
                send = channel.unary_unary(
                    f"/etcdserverpb.Cluster/{name}",
                    request_serializer=lambda request: request.SerializeToString(),
                    response_deserializer=getattr(rpc, f"{name}Response").FromString,
                )
                return await send(getattr(rpc, f"{name}Request")(**fields), timeout=DEADLINE_S)

            return await answers(call)

    try:
        return asyncio.run(main())
    finally:
        etcd.stop()


def test_what_is_refused_is_refused_as_by_a_real_etcd(
    make_cluster: Callable[..., NodeProcesses], tmp_path: Path
) -> None:
    cluster = make_cluster(1)
    cluster.start()
    cluster.leader()
    ours: list[Any] = []

    async def body(call: Call) -> None:
        ours.extend(await answers(call))

    play(cluster, 1, body)
    assert ours == of_etcd(tmp_path)
