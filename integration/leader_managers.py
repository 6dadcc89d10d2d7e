"""Small high-availability managers: who of several may lead, agreed on by a key in an etcd.

What managers of databases do: the leader's key has a lease of a few seconds, is made only if there
is none (a transaction on create_revision), and is watched from the revision of the last look on,
for at most the wait of the loop. Whoever cannot renew in time holds itself for deposed. Each notes
by its own clock when it held itself for the leader.
"""

import base64
import http.client
import json
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, NamedTuple

import grpc
from failover_clients import EtcdChannel
from node_processes import eventually

from metastore.api.protocol.messages import rpc

TTL_S = 5
LOOP_WAIT_S = 1.0
ANSWER_S = 3.0


class Look(NamedTuple):
    """At the leader's key. `holder` "": there is none."""

    holder: str
    create_revision: int
    revision: int  # of the store


class Unreachable(Exception):
    """Nobody has answered as hoped; it may have happened all the same."""


class GrpcStore:
    """Several endpoints; gRPC turns to another one."""

    def __init__(self, endpoints: Sequence[str], key: str) -> None:
        self._channel = EtcdChannel(endpoints)
        self._key = key.encode()

    def grant(self) -> int:
        return int(self._call("Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=TTL_S)).ID)

    def renew(self, lease: int) -> bool:
        try:
            requests = iter([rpc.LeaseKeepAliveRequest(ID=lease)])
            for answer in self._channel.stream("Lease/LeaseKeepAlive", requests, ANSWER_S):
                return bool(answer.TTL)
        except grpc.RpcError as error:
            raise Unreachable from error
        raise Unreachable

    def look(self) -> Look:
        found = self._call("KV/Range", rpc.RangeRequest(key=self._key))
        for kv in found.kvs:
            return Look(kv.value.decode(), kv.create_revision, found.header.revision)
        return Look("", 0, found.header.revision)

    def create(self, value: str, lease: int) -> bool:
        put = rpc.PutRequest(key=self._key, value=value.encode(), lease=lease)
        target = rpc.Compare.CompareTarget.Value("CREATE")
        compare = rpc.Compare(target=target, key=self._key, create_revision=0)
        success = [rpc.RequestOp(request_put=put)]
        return bool(
            self._call("KV/Txn", rpc.TxnRequest(compare=[compare], success=success)).succeeded
        )

    def wait_for_change(self, revision: int) -> None:
        create = rpc.WatchCreateRequest(key=self._key, start_revision=revision)
        ended = threading.Event()

        def requests() -> Any:
            yield rpc.WatchRequest(create_request=create)
            ended.wait()

        try:
            for response in self._channel.stream("Watch/Watch", requests(), LOOP_WAIT_S):
                if response.events:
                    return
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                raise Unreachable from error
        finally:
            ended.set()

    def _call(self, method: str, request: Any) -> Any:
        try:
            return self._channel.call(method, request, ANSWER_S)
        except grpc.RpcError as error:
            raise Unreachable from error

    def close(self) -> None:
        self._channel.close()


class HttpStore:
    """The JSON gateway; one connection a call, the next endpoint after a failure."""

    def __init__(self, endpoints: Sequence[str], key: str) -> None:
        self._places = [url.removeprefix("http://") for url in endpoints]
        self._key = base64.b64encode(key.encode()).decode()

    def grant(self) -> int:
        return int(self._call("/v3/lease/grant", {"TTL": TTL_S})["ID"])

    def renew(self, lease: int) -> bool:
        return "TTL" in self._call("/v3/lease/keepalive", {"ID": str(lease)})["result"]

    def look(self) -> Look:
        found = self._call("/v3/kv/range", {"key": self._key})
        revision = int(found["header"]["revision"])
        for kv in found.get("kvs", ()):
            holder = base64.b64decode(kv["value"]).decode()
            return Look(holder, int(kv["create_revision"]), revision)
        return Look("", 0, revision)

    def create(self, value: str, lease: int) -> bool:
        text = base64.b64encode(value.encode()).decode()
        put = {"key": self._key, "value": text, "lease": str(lease)}
        compare = {"key": self._key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
        body = {"compare": [compare], "success": [{"request_put": put}]}
        return bool(self._call("/v3/kv/txn", body).get("succeeded"))

    def wait_for_change(self, revision: int) -> None:
        body = {"create_request": {"key": self._key, "start_revision": str(revision)}}
        with self._answer("/v3/watch", body, LOOP_WAIT_S) as answer:
            try:
                while line := answer.readline():
                    if "events" in json.loads(line)["result"]:
                        return
            except TimeoutError:
                return
            except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
                raise Unreachable from error

    def _call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with self._answer(path, body, ANSWER_S) as answer:
            try:
                return dict(json.loads(answer.readline()))
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise Unreachable from error

    def _answer(self, path: str, body: dict[str, Any], timeout_s: float) -> Any:
        connection = http.client.HTTPConnection(self._places[0], timeout=timeout_s)
        try:
            # The end of the connection comes with the end of the answer.
            connection.request("POST", path, json.dumps(body), {"Connection": "close"})
            answer = connection.getresponse()
            if answer.status == http.client.OK:
                return answer
            raise Unreachable(answer.read())
        except (OSError, http.client.HTTPException) as error:
            self._places.append(self._places.pop(0))
            raise Unreachable from error

    def close(self) -> None:
        pass


class Manager:
    """`held`: from when to when it held itself for the leader, by time.monotonic()."""

    def __init__(self, name: str, store: GrpcStore | HttpStore) -> None:
        self.name = name
        self.held: list[list[float]] = []
        self.renewals = 0
        self.broken: list[BaseException] = []
        self._store = store
        self._lease = 0
        self._until = 0.0  # the lease lives at least so long
        self._stopped = threading.Event()
        self._awake = threading.Event()
        self._awake.set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def holds(self) -> bool:
        return bool(self.held) and time.monotonic() < self.held[-1][1]

    def start(self) -> None:
        self._thread.start()

    def freeze(self) -> None:
        """As a machine that hangs: nothing is renewed, nothing is given back."""
        self._awake.clear()

    def thaw(self) -> None:
        self._awake.set()

    def stop(self) -> None:
        self._stopped.set()
        self._awake.set()
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._cycle()
            except Unreachable:
                self._stopped.wait(0.1)
            except BaseException as error:
                self.broken.append(error)
                return

    def _cycle(self) -> None:
        self._renew()
        look = self._store.look()
        if not look.holder and self._store.create(self.name, self._lease):
            self._note_held(since=time.monotonic())
            look = self._store.look()
        elif look.holder == self.name:
            self._note_held(since=time.monotonic())
        elif self.holds:
            self.held[-1][1] = time.monotonic()  # deposed
        self._awake.wait()
        self._store.wait_for_change(look.revision + 1)
        self._awake.wait()

    def _renew(self) -> None:
        asked = time.monotonic()
        if not self._lease or not self._store.renew(self._lease):
            self._lease = self._store.grant()
        self._until = asked + TTL_S
        self.renewals += 1

    def _note_held(self, since: float) -> None:
        if self.holds:
            self.held[-1][1] = self._until
        elif since < self._until:
            self.held.append([since, self._until])


class Team:
    """Three managers that want one key, by gRPC or by HTTP."""

    def __init__(self, kind: type[GrpcStore] | type[HttpStore], endpoints: list[str]) -> None:
        key = f"service/{kind.__name__}/leader"
        self.store = kind(endpoints, key)
        # Each prefers another member, as managers on three machines do.
        orders = [endpoints[n:] + endpoints[:n] for n in range(len(endpoints))]
        self.managers = [Manager(f"m{n}", kind(order, key)) for n, order in enumerate(orders)]

    def start(self, stack: ExitStack) -> None:
        """The first one becomes the leader."""
        stack.callback(self.store.close)
        for manager in self.managers:
            manager.start()
            stack.callback(manager.stop)
            eventually("somebody leads", lambda: self.managers[0].holds)

    def looked(self) -> Look | None:
        try:
            return self.store.look()
        except Unreachable:
            return None

    def check_one_at_a_time(self) -> None:
        assert [manager.broken for manager in self.managers if manager.broken] == []
        held = sorted((*times, manager.name) for manager in self.managers for times in manager.held)
        overlaps = [(one, two) for one, two in pairwise(held) if two[0] < one[1]]
        assert overlaps == []
