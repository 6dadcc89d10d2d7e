"""Clients of etcd with several endpoints, each going on in a thread while members die.

gRPC's own balancing does the turning to another member (pick_first: the first of the list that can
be reached), as clients made with it do; what is asked again, and from where, is the client's: a
watch from the last revision seen plus one, a keep-alive by a new stream, a write never.
"""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from etcd_tools import BINARIES

from metastore.api.protocol.messages import lock as locks
from metastore.api.protocol.messages import rpc

ANSWER_S = 20.0
AGAIN_S = 0.05  # between two tries of a stream
HAS_LEADER = (("hasleader", "true"),)
NO_LEADER = ("UNAVAILABLE", "etcdserver: no leader")
TIMED_OUT = ("UNAVAILABLE", "etcdserver: request timed out")
CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),  # no connection shared with another client's
    ("grpc.enable_http_proxy", 0),
]
_MESSAGES = {"etcdserverpb": rpc, "v3lockpb": locks}


class EtcdChannel:
    """Calls by name: call("KV/Put", rpc.PutRequest(key=b"k"))."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        places = ",".join(url.removeprefix("http://") for url in endpoints)
        self._channel = grpc.insecure_channel(f"ipv4:{places}", CHANNEL_OPTIONS)

    def call(self, method: str, request: Any, timeout_s: float | None = ANSWER_S) -> Any:
        """Raises grpc.RpcError."""
        return self._method("unary_unary", method)(request, timeout=timeout_s)

    def stream(self, method: str, requests: Iterator[Any], timeout_s: float | None = None) -> Any:
        """One that wants a leader."""
        ask = self._method("stream_stream", method)
        return ask(requests, timeout=timeout_s, metadata=HAS_LEADER)

    def _method(self, kind: str, method: str) -> Any:
        package = "v3lockpb" if method.startswith("Lock/") else "etcdserverpb"
        reply = getattr(_MESSAGES[package], method.partition("/")[2] + "Response")
        make = getattr(self._channel, kind)
        return make(f"/{package}.{method}", lambda m: m.SerializeToString(), reply.FromString)

    def put(self, key: bytes, value: bytes, lease: int = 0, timeout_s: float | None = 5.0) -> int:
        """The revision."""
        request = rpc.PutRequest(key=key, value=value, lease=lease)
        return int(self.call("KV/Put", request, timeout_s).header.revision)

    def put_or_none(self, key: bytes, value: bytes) -> int | None:
        try:
            return self.put(key, value)
        except grpc.RpcError:
            return None

    def all_keys(self, prefix: bytes) -> list[Any]:
        """By the revision that wrote them."""
        target = rpc.RangeRequest.SortTarget.Value("MOD")
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        request = rpc.RangeRequest(key=prefix, range_end=end, sort_target=target, sort_order=1)
        return list(self.call("KV/Range", request).kvs)

    def close(self) -> None:
        self._channel.close()


class Worker:
    """Does one thing in a thread of its own, on its own channel, until stopped."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        self.channel = EtcdChannel(endpoints)
        self.refusals: list[tuple[str, str]] = []
        self.broken: list[BaseException] = []  # what no etcd may do
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self.channel.close()
        self._thread.join(ANSWER_S)

    def step(self) -> None:
        """Raises grpc.RpcError: it is tried again."""
        raise NotImplementedError

    def until_stopped(self, request: Any) -> Iterator[Any]:
        """The requests of a stream that stays open."""
        yield request
        self._stopped.wait()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.step()
            except grpc.RpcError as error:
                self.refusals.append((error.code().name, error.details()))
                self._stopped.wait(AGAIN_S)
            except ValueError:  # the channel is closed
                self._stopped.wait(AGAIN_S)
            except BaseException as error:
                self.broken.append(error)
                return


class Writer(Worker):
    """A key for each write, none of them twice: `acknowledged` has the revisions."""

    def __init__(self, endpoints: Sequence[str], prefix: bytes) -> None:
        super().__init__(endpoints)
        self._prefix = prefix
        self._tried = 0
        self.acknowledged: dict[bytes, int] = {}

    def step(self) -> None:
        self._tried += 1
        key = self._prefix + b"%06d" % self._tried
        self.acknowledged[key] = self.channel.put(key, key)


class Watcher(Worker):
    """`seen`: (revision, key) of each event of the prefix, in order of arrival."""

    def __init__(self, endpoints: Sequence[str], prefix: bytes, start_revision: int) -> None:
        super().__init__(endpoints)
        self._create = rpc.WatchCreateRequest(key=prefix, range_end=prefix[:-1] + b"\xff")
        self._next_revision = start_revision
        self.seen: list[tuple[int, bytes]] = []

    def step(self) -> None:
        self._create.start_revision = self._next_revision
        request = rpc.WatchRequest(create_request=self._create)
        for response in self.channel.stream("Watch/Watch", self.until_stopped(request)):
            self.seen += [(event.kv.mod_revision, event.kv.key) for event in response.events]
            if response.events:
                self._next_revision = self.seen[-1][0] + 1


class Keeper(Worker):
    """Keeps one lease alive; `answers` are the TTLs told, 0 if it was lost."""

    INTERVAL_S = 0.3

    def __init__(self, endpoints: Sequence[str], ttl_s: int) -> None:
        super().__init__(endpoints)
        granted = self.channel.call("Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=ttl_s))
        self.lease = int(granted.ID)
        self.answers: list[int] = []

    def step(self) -> None:
        for answer in self.channel.stream("Lease/LeaseKeepAlive", self._requests()):
            self.answers.append(answer.TTL)

    def _requests(self) -> Iterator[Any]:
        while not self._stopped.is_set():
            yield rpc.LeaseKeepAliveRequest(ID=self.lease)
            self._stopped.wait(self.INTERVAL_S)


class LockWaiter(Worker):
    """Waits for a lock, with a lease of its own, through as many members as it takes."""

    def __init__(self, endpoints: Sequence[str], name: bytes, lease: int) -> None:
        super().__init__(endpoints)
        self._request = locks.LockRequest(name=name, lease=lease)
        self.key = b""  # once it has the lock

    def step(self) -> None:
        self.key = self.channel.call("Lock/Lock", self._request, None).key
        self._stopped.wait()


class EtcdctlWatch:
    """The same by etcdctl, which resumes by itself. `told`: its other lines, errors among them."""

    def __init__(self, endpoints: Sequence[str], prefix: bytes, start_revision: int) -> None:
        self.seen: list[tuple[int, bytes]] = []
        self.told: list[str] = []
        command = [str(BINARIES / "etcdctl"), "--endpoints", ",".join(endpoints)]
        command += ["--dial-timeout", "20s", "watch", prefix.decode(), "--prefix", "-w", "fields"]
        command += ["--rev", str(start_revision)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        key = b""
        for line in self._process.stdout or ():
            name, _, value = line.strip().partition(" : ")
            if name == '"ModRevision"':  # comes after the key
                self.seen.append((int(value), key))
            elif name == '"Key"':
                key = json.loads(value).encode()
            elif not name.startswith('"'):
                self.told.append(line)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()


# Asked of a member without a majority; (method, request for a lease).
QUESTIONS: dict[str, tuple[str, Callable[[int], Any]]] = {
    "put": ("KV/Put", lambda lease: rpc.PutRequest(key=b"a")),
    "read": ("KV/Range", lambda lease: rpc.RangeRequest(key=b"k")),
    "own read": ("KV/Range", lambda lease: rpc.RangeRequest(key=b"k", serializable=True)),
    "delete": ("KV/DeleteRange", lambda lease: rpc.DeleteRangeRequest(key=b"a")),
    "grant": ("Lease/LeaseGrant", lambda lease: rpc.LeaseGrantRequest(TTL=600)),
    "time to live": ("Lease/LeaseTimeToLive", lambda lease: rpc.LeaseTimeToLiveRequest(ID=lease)),
    "members": ("Cluster/MemberList", lambda lease: rpc.MemberListRequest()),
    "status": ("Maintenance/Status", lambda lease: rpc.StatusRequest()),
}


def answers_of(channel: EtcdChannel, lease: int) -> dict[str, Any]:
    """All asked at once, without a deadline: the code and text of each refusal."""

    def ask(method: str, request: Any) -> Any:
        try:
            channel.call(method, request, None)
            return "an answer"
        except grpc.RpcError as error:
            return (error.code().name, error.details())

    with ThreadPoolExecutor(len(QUESTIONS)) as pool:
        asked = {
            name: pool.submit(ask, method, make(lease))
            for name, (method, make) in QUESTIONS.items()
        }
        return {name: answer.result() for name, answer in asked.items()}
