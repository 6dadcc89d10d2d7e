"""Who may do what, by gRPC and JSON through a node's own gateway, compared with a real etcd.

test_etcd_auth.py compares users, roles and keys; here is what needs the whole way: streams, leases
with keys, maintenance, the cluster, headers of HTTP, and tokens at the gateways of other nodes.
"""

import base64
import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from auth_steps import LIAR, NOBODY, READ, WRITE, add, change, get, give, grant
from etcd_process import EtcdProcess
from google.protobuf import json_format
from node_processes import BOTH_ENGINES

from metastore.api.protocol.messages import pool, rpc

ANSWER_S = 10.0
INVALID_TOKEN = "etcdserver: invalid auth token"
KV, LEASE = "etcdserverpb.KV", "etcdserverpb.Lease"
WATCH, CLUSTER = "etcdserverpb.Watch", "etcdserverpb.Cluster"
MAINTENANCE, AUTH = "etcdserverpb.Maintenance", "etcdserverpb.Auth"
LEASED = 4711


class Place:
    """A gRPC and HTTP endpoint; `tokens` by user."""

    def __init__(self, url: str) -> None:
        self.host = url.removeprefix("http://")
        self.tokens: dict[str, str] = {LIAR: "a token that nobody gave out"}
        self._channel = grpc.insecure_channel(self.host, [("grpc.use_local_subchannel_pool", 1)])

    def ask(self, who: str, service: str, name: str, request: Any) -> Any:
        """The first answer as a dict, or (code, text)."""
        method = pool.FindServiceByName(service).FindMethodByName(name)
        reply_class = getattr(rpc, method.output_type.name)
        call = self._channel.stream_stream(f"/{service}/{name}", None, reply_class.FromString)
        token = self.tokens.get(who, "")
        metadata = [("token", token)] if token else []
        answers = call(iter((request.SerializeToString(),)), timeout=ANSWER_S, metadata=metadata)
        try:
            for answer in answers:
                return json_format.MessageToDict(answer, preserving_proto_field_name=True)
        except grpc.RpcError as error:
            return error.code().value[0], error.details()
        finally:
            answers.cancel()
        return None

    def log_in(self, name: str) -> None:
        request = rpc.AuthenticateRequest(name=name, password=name)
        self.tokens[name] = self.ask(NOBODY, AUTH, "Authenticate", request)["token"]

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection(self.host, timeout=ANSWER_S)) as connection:
            connection.request("POST", path, json.dumps(body), named)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.readline())

    def close(self) -> None:
        self._channel.close()


def with_users(place: Place) -> None:
    """root; ann, who may read [a, e) and write w; ben, who may nothing. Auth is on."""
    ask = place.ask
    for name in ("root", "ann", "ben"):
        ask(NOBODY, AUTH, "UserAdd", add(name, name))
    ask(NOBODY, AUTH, "RoleAdd", rpc.AuthRoleAddRequest(name="some"))
    for request in (
        grant("some", READ, b"a", b"c"),
        grant("some", READ, b"c", b"e"),
        grant("some", WRITE, b"w"),
    ):
        ask(NOBODY, AUTH, "RoleGrantPermission", request)
    ask(NOBODY, AUTH, "UserGrantRole", give("ann", "some"))
    ask(NOBODY, AUTH, "UserGrantRole", give("root", "root"))
    ask(NOBODY, LEASE, "LeaseGrant", rpc.LeaseGrantRequest(ID=LEASED, TTL=600))
    for key, lease in ((b"a", 0), (b"secret", LEASED)):
        ask(NOBODY, KV, "Put", rpc.PutRequest(key=key, value=b"1", lease=lease))
    ask(NOBODY, AUTH, "AuthEnable", rpc.AuthEnableRequest())
    for name in ("root", "ann", "ben"):
        place.log_in(name)


def watching(key: bytes, range_end: bytes = b"") -> Any:
    create = rpc.WatchCreateRequest(key=key, range_end=range_end)
    return rpc.WatchRequest(create_request=create)


# (service, method, request)
EVERYBODY: Sequence[tuple[str, str, Any]] = (
    (MAINTENANCE, "Status", rpc.StatusRequest()),
    (MAINTENANCE, "Alarm", rpc.AlarmRequest()),
    (MAINTENANCE, "Alarm", rpc.AlarmRequest(action=2)),
    (MAINTENANCE, "Alarm", rpc.AlarmRequest(action=1)),
    (MAINTENANCE, "Hash", rpc.HashRequest()),
    (MAINTENANCE, "HashKV", rpc.HashKVRequest()),
    (MAINTENANCE, "HashKV", rpc.HashKVRequest(revision=99)),
    (MAINTENANCE, "Defragment", rpc.DefragmentRequest()),
    (MAINTENANCE, "Snapshot", rpc.SnapshotRequest()),
    (MAINTENANCE, "MoveLeader", rpc.MoveLeaderRequest(targetID=5)),
    (MAINTENANCE, "Downgrade", rpc.DowngradeRequest(version="x")),
    (MAINTENANCE, "Downgrade", rpc.DowngradeRequest(version="3")),
    (MAINTENANCE, "Downgrade", rpc.DowngradeRequest(version="3.4")),
    (MAINTENANCE, "Downgrade", rpc.DowngradeRequest(version="3.3")),
    (MAINTENANCE, "Downgrade", rpc.DowngradeRequest(version="3.5.0")),
    (MAINTENANCE, "Downgrade", rpc.DowngradeRequest(action=2)),
    (MAINTENANCE, "Downgrade", rpc.DowngradeRequest(action=7, version="3.4")),
    (CLUSTER, "MemberList", rpc.MemberListRequest()),
    (CLUSTER, "MemberRemove", rpc.MemberRemoveRequest(ID=99)),
    (CLUSTER, "MemberPromote", rpc.MemberPromoteRequest(ID=99)),
    (KV, "Range", get(b"a", b"e")),
    (KV, "Put", rpc.PutRequest(key=b"w", value=b"1")),
    (LEASE, "LeaseGrant", rpc.LeaseGrantRequest(ID=5, TTL=600)),
    (LEASE, "LeaseKeepAlive", rpc.LeaseKeepAliveRequest(ID=5)),
    (LEASE, "LeaseRevoke", rpc.LeaseRevokeRequest(ID=LEASED)),
    (LEASE, "LeaseRevoke", rpc.LeaseRevokeRequest(ID=5)),
    (KV, "Put", rpc.PutRequest(key=b"w", lease=LEASED)),
)
WITH_A_NAME: Sequence[tuple[str, str, Any]] = (
    (KV, "Compact", rpc.CompactionRequest(revision=99)),
    (LEASE, "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=LEASED)),
    (LEASE, "LeaseLeases", rpc.LeaseLeasesRequest()),
    (WATCH, "Watch", watching(b"a", b"e")),
    (WATCH, "Watch", watching(b"a", b"f")),
    (WATCH, "Watch", watching(b"w")),
)
KEYS_OF_A_LEASE = (
    *(LEASE, "LeaseTimeToLive"),
    rpc.LeaseTimeToLiveRequest(ID=LEASED, keys=True),
)
ALARMS: Sequence[tuple[str, str, Any]] = (
    (MAINTENANCE, "Alarm", rpc.AlarmRequest(action=1, alarm=2)),
    (MAINTENANCE, "Alarm", rpc.AlarmRequest(alarm=1)),
    (MAINTENANCE, "Alarm", rpc.AlarmRequest(action=2)),
    (MAINTENANCE, "Alarm", rpc.AlarmRequest()),
    (MAINTENANCE, "Alarm", rpc.AlarmRequest(action=2, alarm=2)),
)
# Where ours is as etcd has been since its later fixes, or does not let somebody in whom etcd does.
EMPTY, DENIED = (3, "etcdserver: user name is empty"), (7, "etcdserver: permission denied")
OURS: Sequence[tuple[str, str, str, Any, tuple[int, str]]] = (
    (NOBODY, MAINTENANCE, "Alarm", rpc.AlarmRequest(action=1, alarm=2), EMPTY),
    ("ann", MAINTENANCE, "Alarm", rpc.AlarmRequest(action=2, alarm=1), DENIED),
    (NOBODY, KV, "Compact", rpc.CompactionRequest(revision=2), EMPTY),
    (NOBODY, LEASE, "LeaseLeases", rpc.LeaseLeasesRequest(), EMPTY),
    ("ann", *KEYS_OF_A_LEASE, DENIED),
)
REASONS = {
    NOBODY: "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
    LIAR: f"rpc error: code = Unauthenticated desc = {INVALID_TOKEN}",
    "ann": "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
}


def plain(answer: Any) -> Any:
    """Without what differs by nature; an error is compared whole."""
    if not isinstance(answer, dict):
        return answer
    ids = ("header", "memberID", "watch_id", "version", "hash_revision", "storageVersion")
    numbers = ("hash", "TTL", "members", "blob", "remaining_bytes", "dbSizeQuota", "leader")
    found = {name: value for name, value in answer.items() if name not in ids}
    for name, value in found.items():
        if name in numbers or name.startswith(("raft", "dbSize")):
            found[name] = bool(value)
        elif name == "leases":
            found[name] = sorted(lease["ID"] for lease in value)
        elif name == "alarms":
            found[name] = [alarm["alarm"] for alarm in value]
    return {name: value for name, value in found.items() if name != "dbSizeQuota"}


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Place]:
    process = EtcdProcess(tmp_path)
    place = Place(f"http://127.0.0.1:{process.port}")
    yield place
    place.close()
    process.stop()


@BOTH_ENGINES
def test_everybody_may_do_what_etcd_lets_them(make_gateways: Any, etcd: Place) -> None:
    cluster = make_gateways(1, ("--sync", "never"))
    cluster.start_with_gateways()
    ours = Place(cluster.urls[1])
    for place in (etcd, ours):
        with_users(place)
    for who in (NOBODY, LIAR, "ben", "ann", "root"):
        questions = [*EVERYBODY]
        if who == "root":
            everything = (WATCH, "Watch", watching(b"a", b"\0"))
            questions[:0] = [*WITH_A_NAME, KEYS_OF_A_LEASE, everything]
            questions += ALARMS
        elif who not in (NOBODY, LIAR):
            questions[:0] = WITH_A_NAME
        for question in questions:
            expected = plain(etcd.ask(who, *question))
            assert plain(ours.ask(who, *question)) == expected, (who, question)
        if who == "ann":
            for name, *question, answer in OURS:
                assert ours.ask(name, *question) == answer, (name, question)
            for name, reason in REASONS.items():
                told = ours.ask(name, WATCH, "Watch", watching(b"a", b"\0"))
                assert told["watch_id"] == "-1"
                assert (told["canceled"], told["cancel_reason"]) == (True, reason)
    by_http(etcd, ours)
    ours.close()


def by_http(*places: Place) -> None:
    """The token is a header, of either name."""
    found = []
    for place in places:
        token, body = place.tokens["ann"], {"key": base64.b64encode(b"a").decode()}
        answers = [
            place.post("/v3/kv/range", body, **headers)
            for headers in (
                {"Authorization": token},
                {"Grpc_Metadata_Token": token},
                {"Authorization": f"Bearer {token}"},
                {"Token": token},
                {},
            )
        ]
        answers.append(place.post("/v3/maintenance/defragment", {}, Authorization=token))
        answers.append(place.post("/v3/maintenance/snapshot", {}))
        found.append([(status, plain(answer)) for status, answer in answers])
    assert found[0] == found[1]
    assert [status for status, _ in found[1]] == [200, 200, 401, 400, 400, 500, 500]


def test_tokens_count_at_every_node_until_their_user_changes(make_gateways: Any) -> None:
    cluster = make_gateways(3, ("--sync", "never"))
    cluster.start_with_gateways()
    one, two, three = places = [Place(cluster.urls[node_id]) for node_id in cluster.node_ids]
    with_users(one)
    two.tokens |= one.tokens
    three.tokens |= one.tokens

    def see(who: str) -> list[Any]:
        answers = [place.ask(who, KV, "Range", get(b"a", b"e")) for place in places]
        return ["seen" if isinstance(answer, dict) else answer for answer in answers]

    refused = [(16, INVALID_TOKEN)] * 3
    assert see("ann") == see("root") == ["seen"] * 3
    two.ask("root", AUTH, "UserChangePassword", change("ann", "new"))
    assert see("ann") == refused
    assert see("root") == ["seen"] * 3
    three.ask("root", AUTH, "UserGrantRole", give("ben", "some"))
    assert see("ben") == ["seen"] * 3
    one.ask("root", AUTH, "UserDelete", rpc.AuthUserDeleteRequest(name="ben"))
    assert see("ben") == refused
    two.ask("root", AUTH, "AuthDisable", rpc.AuthDisableRequest())
    assert see("root") == refused
    assert see(NOBODY) == ["seen"] * 3
    for place in places:
        place.close()
