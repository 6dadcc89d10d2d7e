"""One node with its gateway, and what must not change about them whatever is sent to the port."""

import http.client
import json
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
from gateways import GatewayCluster
from node_processes import ask_status, eventually
from raw_http2 import connect

from metastore.api.protocol.messages import rpc

ANSWER_S = 20.0
MIB = 1 << 20
PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"
WATCH = "/etcdserverpb.Watch/Watch"
# A connection of its own each: channels to one target would share theirs.
OWN_CONNECTION = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
]


class Target:
    """`pid`: of the gateway."""

    def __init__(self, cluster: GatewayCluster) -> None:
        self._cluster = cluster
        self.host = cluster.urls[1].removeprefix("http://")
        self.port = int(self.host.rpartition(":")[2])
        self.pid = cluster.gateway_pid(1)
        self._count = 0

    def memory(self) -> tuple[int, int]:
        """Bytes that the gateway and the node hold."""
        return resident_bytes(self.pid), resident_bytes(self._cluster.pids[1])

    def descriptor_count(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def node_status(self) -> dict[str, Any]:
        return ask_status(self._cluster.address(1, "status"), "status", timeout_ms=5000)

    def connect(self, first: bytes = b"", timeout_s: float = ANSWER_S) -> socket.socket:
        return connect(self.port, first, timeout_s)

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.host, OWN_CONNECTION)

    def ask_http(self, verb: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        with closing(http.client.HTTPConnection(self.host, timeout=ANSWER_S)) as connection:
            connection.request(verb, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def check_well(self) -> None:
        """Both protocols write and read, the node tells of a leader, and both processes are those
        that they were."""
        self._count += 1
        value = b"%d" % self._count
        with self.channel() as channel:
            ask(channel, PUT, rpc.PutRequest(key=b"well", value=value), rpc.PutResponse)
            found = ask(channel, RANGE, rpc.RangeRequest(key=b"well"), rpc.RangeResponse)
        assert [kv.value for kv in found.kvs] == [value]
        status, answer = self.ask_http("GET", "/health")
        assert (status, answer["health"]) == (200, "true")
        assert self.node_status()["leader_id"] == 1
        assert self._cluster.gateway_pid(1) == self.pid

    def check_unburdened(self, descriptors: int) -> None:
        """All clients have left: so have their descriptors, calls and watches."""
        eventually("the descriptors are free", lambda: self.descriptor_count() <= descriptors)
        eventually("the watches are gone", lambda: self.node_status()["store"]["watches"] == 0)


def ask(channel: grpc.Channel, path: str, request: Any, reply_class: Any) -> Any:
    call = channel.unary_unary(path, None, reply_class.FromString)
    return call(request.SerializeToString(), timeout=ANSWER_S)


def fault_of(channel: grpc.Channel, path: str, data: bytes) -> tuple[str, str]:
    """("CODE", text) of what these bytes are answered with; ("OK", "")."""
    calls = channel.stream_stream(path)(iter((data,)), timeout=ANSWER_S)
    try:
        for _ in calls:
            pass
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} is gone")
