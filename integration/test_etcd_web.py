"""The JSON gateway: the same requests to a real etcd and to ours, status and body compared.

Ids, terms and times are left out; revisions are counted from where each began.
"""

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from etcd_process import EtcdProcess
from gateways import GatewayCluster

ANSWER_S = 10


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def key(text: str, **more: Any) -> dict[str, Any]:
    return {"key": b64(text), **more}


PUT_A = key("a", value=b64("1"))
PUT = {"request_put": key("b", value=b64("2"))}
TXN = {
    "compare": [{"target": "VALUE", "key": b64("a"), "value": b64("1"), "result": "EQUAL"}],
    "success": [PUT, {"requestRange": key("b")}],
    "failure": [{"request_delete_range": key("a")}],
}
# (path, body as text or value), in this order on one store.
REQUESTS: list[tuple[str, Any]] = [
    ("/v3/kv/put", PUT_A),
    ("/v3/kv/put", {**PUT_A, "prev_kv": True}),
    ("/v3/kv/put", {**PUT_A, "prevKv": True, "value": b64("1")}),
    ("/v3beta/kv/range", key("a")),
    ("/v3alpha/kv/range", key("a")),
    ("/v3/kv/range", key("a", limit="5", unknown=[1])),
    ("/v3/kv/range", key("a", limit=5, sort_order="DESCEND", sort_target=1)),
    ("/v3/kv/range", key("a", range_end=b64("c"), count_only=True)),
    ("/v3/kv/range", key("a", rangeEnd=b64("c"), keysOnly=True)),
    ("/v3/kv/range", key("nothing")),
    ("/v3/kv/range", {}),
    ("/v3/kv/range", ""),
    ("/v3/kv/range", "null"),
    ("/v3/kv/range", key("a", revision=9_999_999)),
    ("/v3/kv/range", key("a", sort_order="UPWARDS")),
    ("/v3/kv/range", key("a", revision=None)),
    ("/v3/kv/txn", TXN),
    ("/v3/kv/txn", {**TXN, "compare": [{"target": "CREATE", "key": b64("a")}]}),
    ("/v3/kv/txn", {"success": [PUT, PUT]}),
    ("/v3/kv/txn", {"success": [PUT] * 129}),
    ("/v3/kv/txn", {}),
    ("/v3/kv/put", {}),
    ("/v3/kv/put", key("a", ignore_value=True, value=b64("x"))),
    ("/v3/kv/put", key("none", ignore_value=True)),
    ("/v3/kv/put", key("a", lease="77")),
    ("/v3/kv/deleterange", key("b", prev_kv=True)),
    ("/v3/kv/deleterange", key("b")),
    ("/v3/kv/compaction", {"revision": "9999999"}),
    ("/v3/kv/nothing", {}),
    ("/v3/lease/grant", {"TTL": "60", "ID": "4711"}),
    ("/v3/lease/grant", {"TTL": 60, "ID": 4711}),
    ("/v3/lease/grant", {"TTL": "9000000001"}),
    ("/v3/kv/put", key("leased", value=b64("x"), lease=4711)),
    ("/v3/kv/range", key("leased")),
    ("/v3/lease/timetolive", {"ID": "4711", "keys": True}),
    ("/v3/kv/lease/timetolive", {"ID": "4712"}),
    ("/v3/lease/leases", {}),
    ("/v3/lease/keepalive", {"ID": "4711"}),
    ("/v3/lease/keepalive", {"ID": "4799"}),
    ("/v3/kv/lease/revoke", {"ID": "4711"}),
    ("/v3/lease/revoke", {"ID": "4711"}),
    ("/v3/maintenance/alarm", {"action": "GET"}),
    ("/v3/maintenance/alarm", {}),
    ("/v3/maintenance/transfer-leadership", {"targetID": "5"}),
    ("/v3/maintenance/downgrade", {"action": "VALIDATE", "version": "x"}),
    ("/v3/maintenance/defragment", {}),
    ("/v3/cluster/member/remove", {"ID": "99"}),
    ("/v3/auth/status", {}),
    ("/v3/auth/authenticate", {"name": "root", "password": "x"}),
    ("/v3/auth/enable", {}),
    ("/v3/auth/user/add", {"name": "u", "password": "p"}),
    ("/v3/auth/user/add", {"name": "u", "password": "p"}),
    ("/v3/auth/user/get", {"name": "u"}),
    ("/v3/auth/user/get", {"name": "nobody"}),
    ("/v3/auth/role/add", {"name": "r"}),
    (
        "/v3/auth/role/grant",
        {"name": "r", "perm": {"permType": "READWRITE", "key": b64("a"), "range_end": b64("b")}},
    ),
    ("/v3/auth/role/get", {"role": "r"}),
    ("/v3/auth/user/grant", {"user": "u", "role": "r"}),
    ("/v3/auth/user/list", {}),
    ("/v3/auth/role/list", {}),
    ("/v3/auth/role/delete", {"role": "r"}),
    ("/v3/auth/user/delete", {"name": "u"}),
    ("/v3/lock/unlock", {}),
    ("/v3/election/leader", {"name": b64("e")}),
    ("/v3/election/proclaim", {}),
    ("/v3/election/resign", {}),
    # What is no JSON, or no message
    ("/v3/kv/range", "{"),
    ("/v3/kv/range", "[]"),
    ("/v3/kv/range", '"text"'),
    ("/v3/kv/range", '{"key": "not base64!"}'),
    ("/v3/kv/range", '{"key": "YQ"}'),
    ("/v3/kv/range", '{"key": "_-8="}'),
    ("/v3/kv/range", '{"key": 5}'),
    ("/v3/kv/range", '{"key": "YQ==", "limit": "many"}'),
    ("/v3/kv/range", '{"key": "YQ==", "limit": 1.5}'),
]
# The library's own words about what is no message; status and code are etcd's.
OWN_WORDS = ("{", "[]", '"text"', "null")


class System:
    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._host = url.removeprefix("http://")
        self.base = 0

    def ask(self, path: str, body: Any, method: str = "POST") -> tuple[int, str, bytes]:
        text = body if isinstance(body, str) else json.dumps(body)
        with closing(http.client.HTTPConnection(self._host, timeout=ANSWER_S)) as connection:
            connection.request(method, path, text)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read()

    def ask_json(self, path: str, body: Any) -> tuple[int, Any]:
        status, _, data = self.ask(path, body)
        lines = [normal(json.loads(line), self.base) for line in data.splitlines() if is_json(line)]
        return status, lines


def is_json(line: bytes) -> bool:
    return line.startswith((b"{", b"["))


_DROPPED = ("cluster_id", "member_id", "raft_term", "memberID", "token")
_REVISIONS = ("revision", "create_revision", "mod_revision")


def normal(value: Any, base: int) -> Any:
    if isinstance(value, list):
        return [normal(one, base) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, inner in value.items():
        if name in _REVISIONS:
            found[name] = str(int(inner) - base)
        elif name not in _DROPPED:
            found[name] = normal(inner, base)
    return found


@pytest.fixture(scope="module")
def systems(
    xprocess: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[System, System]]:
    etcd = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    ours = GatewayCluster(xprocess, tmp_path_factory.mktemp("web"), 1, ("--sync", "never"))
    try:
        ours.start_with_gateways()
        yield (System("etcd", f"http://127.0.0.1:{etcd.port}"), System("ours", ours.urls[1]))
    finally:
        ours.end()
        etcd.stop()


def test_the_same_requests_have_the_same_answers(systems: tuple[System, System]) -> None:
    differences = []
    for path, body in REQUESTS:
        theirs, ours = (system.ask_json(path, body) for system in systems)
        if isinstance(body, str) and body and theirs != ours:
            theirs, ours = without_words(theirs), without_words(ours)
        if theirs != ours:
            differences.append(f"{path} {body}\n  etcd {theirs}\n  ours {ours}")
    assert not differences, "\n".join(differences)


def without_words(answer: tuple[int, Any]) -> tuple[int, Any]:
    status, lines = answer
    return status, [{"code": line.get("code")} for line in lines]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v3/kv/range"),
        ("POST", "/version"),
        ("GET", "/"),
        ("GET", "/no/such/path"),
        ("GET", "/health"),
        ("GET", "/health?serializable=true"),
    ],
)
def test_paths_for_people_and_wrong_methods(
    systems: tuple[System, System], method: str, path: str
) -> None:
    (status, kind, data), ours = (system.ask(path, "", method) for system in systems)
    assert ours[0] == status
    if status == 200:
        assert json.loads(ours[2]) == json.loads(data)
    elif status == 404:
        assert ours[1].split(";")[0] == kind.split(";")[0]


def names(metrics: bytes) -> set[bytes]:
    lines = [line for line in metrics.splitlines() if not line.startswith(b"#")]
    return {line.split(b"{")[0].split()[0] for line in lines}


def test_the_metrics_have_the_names_that_dashboards_know(systems: tuple[System, System]) -> None:
    etcd, ours = (names(system.ask("/metrics", "", "GET")[2]) for system in systems)
    assert {
        *(b"etcd_server_has_leader", b"etcd_server_is_leader", b"etcd_server_version"),
        *(b"etcd_server_leader_changes_seen_total", b"etcd_server_proposals_committed_total"),
        *(b"etcd_mvcc_db_total_size_in_bytes", b"etcd_debugging_mvcc_keys_total"),
        *(b"etcd_network_client_grpc_received_bytes_total", b"grpc_server_handled_total"),
        *(b"grpc_server_started_total", b"process_resident_memory_bytes"),
    } <= ours & etcd


def test_a_watch_says_that_it_is_made_before_the_first_event_and_each_line_leaves_at_once(
    systems: tuple[System, System],
) -> None:
    for system in systems:
        connection = http.client.HTTPConnection(system._host, timeout=ANSWER_S)
        create = {"create_request": {"key": b64("watched"), "start_revision": None}}
        connection.request("POST", "/v3/watch", json.dumps(create))
        answer = connection.getresponse()
        first = json.loads(answer.readline())["result"]
        assert first["created"], system.name
        system.ask("/v3/kv/put", key("watched", value=b64("1")))
        events = json.loads(answer.readline())["result"]["events"]
        assert [(one.get("type"), one["kv"]["value"]) for one in events] == [(None, b64("1"))]
        connection.close()


def test_a_stream_that_begins_with_no_message_is_refused(
    systems: tuple[System, System],
) -> None:
    refused = systems[1].ask_json("/v3/watch", '{"create_request": {"key": "!"}}')
    error = refused[1][0]["error"]
    assert (refused[0], error["grpc_code"]) == (400, 3)  # etcd: 500, of the same cause
