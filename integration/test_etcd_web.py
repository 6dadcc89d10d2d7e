"""The JSON gateway: the same requests to a real etcd and to ours, status and body compared.

Ids, terms and times are left out; revisions are counted from where each began.
"""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from etcd_process import EtcdProcess
from gateways import GatewayCluster
from web_requests import QUIRKS, REQUESTS, b64, key

ANSWER_S = 10


class System:
    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.host = url.removeprefix("http://")
        self.base = 0

    def ask(
        self, path: str, body: Any, method: str = "POST", **headers: str
    ) -> tuple[int, str, bytes]:
        text = body if isinstance(body, str) else json.dumps(body)
        with closing(http.client.HTTPConnection(self.host, timeout=ANSWER_S)) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, text, named)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read()

    def ask_json(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        status, _, data = self.ask(path, body, **headers)
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
    for path, body in [*REQUESTS, *QUIRKS]:
        theirs, ours = (system.ask_json(path, body) for system in systems)
        if isinstance(body, str) and body and theirs != ours:
            theirs, ours = without_words(theirs), without_words(ours)
        if theirs != ours:
            differences.append(f"{path} {str(body)[:200]}\n  etcd {theirs}\n  ours {ours}")
    assert not differences, "\n".join(differences)


def without_words(answer: tuple[int, Any]) -> tuple[int, Any]:
    status, lines = answer
    return status, [{"code": line.get("code"), "names": sorted(line)} for line in lines]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v3/kv/range"),
        ("PUT", "/v3/kv/range"),
        ("GET", "/v3/watch"),
        ("OPTIONS", "/v3/kv/range"),
        ("POST", "/version"),
        ("POST", "/health"),
        ("GET", "/v3/no/such/path"),
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
    assert ours == (status, kind, data)


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
        connection = http.client.HTTPConnection(system.host, timeout=ANSWER_S)
        create = {"create_request": {"key": b64("watched"), "start_revision": None}}
        connection.request("POST", "/v3/watch", json.dumps(create))
        answer = connection.getresponse()
        first = json.loads(answer.readline())["result"]
        assert first["created"], system.name
        system.ask("/v3/kv/put", key("watched", value=b64("1")))
        events = json.loads(answer.readline())["result"]["events"]
        assert [(one.get("type"), one["kv"]["value"]) for one in events] == [(None, b64("1"))]
        connection.close()


def test_users_call_with_the_token_that_they_were_given(systems: tuple[System, System]) -> None:
    """The same scenario on both; names of headers as etcd's gateway knows them."""
    outcomes = [[*scenario_with_users(system)] for system in systems]
    assert outcomes[1] == outcomes[0]


def scenario_with_users(system: System) -> Iterator[Any]:
    root, user = ({"name": name, "password": name} for name in ("root", "reader"))
    permission = {"permType": "READ", "key": b64("a")}
    for path, body in (
        ("/v3/auth/user/add", root),
        ("/v3/auth/user/grant", {"user": "root", "role": "root"}),
        ("/v3/auth/user/add", user),
        ("/v3/auth/role/add", {"name": "readers"}),
        ("/v3/auth/role/grant", {"name": "readers", "perm": permission}),
        ("/v3/auth/user/grant", {"user": "reader", "role": "readers"}),
        ("/v3/auth/enable", {}),
    ):
        assert system.ask_json(path, body)[0] == 200, path
    tokens = []
    for one in (root, user):
        tokens.append(json.loads(system.ask("/v3/auth/authenticate", one)[2])["token"])
        yield system.ask_json("/v3/auth/authenticate", {**one, "password": "wrong"})
    for headers in (
        *({}, {"Authorization": "wrong"}, {"Authorization": f"Bearer {tokens[0]}"}),
        *({"Authorization": token} for token in tokens),
        {"Grpc_Metadata_Token": tokens[1]},
        {"Authorization": tokens[1], "Grpc_Metadata_Token": "wrong"},
        {"Authorization": "wrong", "Grpc_Metadata_Token": tokens[0]},
        {"Token": tokens[0]},
    ):
        for path, body in (("range", key("a")), ("range", key("b")), ("put", key("a"))):
            yield path, headers.keys(), without_revisions(system, f"/v3/kv/{path}", body, headers)
    yield system.ask("/health", "", "GET")
    yield system.ask_json("/v3/auth/disable", {}, Authorization=tokens[0])[0]


def without_revisions(
    system: System, path: str, body: Any, headers: dict[str, str]
) -> tuple[int, Any]:
    status, lines = system.ask_json(path, body, **headers)
    return status, [line.get("message") for line in lines]


def test_a_time_that_the_caller_gives_is_kept(systems: tuple[System, System]) -> None:
    """A second lock of a name waits for the first."""
    for system in systems:
        name = {"name": b64("waited-for")}
        assert system.ask("/v3/lock/lock", name)[0] == 200
        status, (line,) = system.ask_json("/v3/lock/lock", name, Grpc_Timeout="50m")
        # Of etcd's two parts that look at the time, now one is first and now the other.
        assert (status, line["code"]) in ((504, 4), (500, 2))[: 1 if system.name == "ours" else 2]
        assert line["message"] == "context deadline exceeded"
        status, (line,) = system.ask_json("/v3/lock/lock", name, Grpc_Timeout="50x")
        assert (status, line["message"]) == (400, "invalid grpc-timeout: 50x")
