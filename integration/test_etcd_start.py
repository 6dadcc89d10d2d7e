"""A node in etcd's place: the flags of scripts that start one, TLS, keys, and gateways alone."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from gateways import GatewayCluster, get_json, is_healthy
from node_keys import Keyring
from node_processes import LOOPBACK, eventually
from own_ports import own_ports

from metastore.api.protocol.messages import rpc

METASTORE = [sys.executable, "-m", "metastore.client.command.main"]
READY = "ready to serve client requests"
QUICK = ("--heartbeat-interval", "50", "--election-timeout", "500")


class EtcdLike:
    """Processes started as an etcd is, by name; ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clients: dict[str, str] = {}
        self.peers: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def place(self, *names: str) -> None:
        ports = iter(own_ports(2 * len(names)))
        for name in names:
            self.clients[name] = f"http://{LOOPBACK}:{next(ports)}"
            self.peers[name] = f"http://{LOOPBACK}:{next(ports)}"

    def start(self, name: str, *flags: str, environment: Sequence[tuple[str, str]] = ()) -> None:
        cluster = ",".join(f"{n}={url}" for n, url in self.peers.items())
        command = [*METASTORE, "etcd", "--name", name, "--data-dir", str(self.folder / name)]
        command += ["--listen-peer-urls", self.peers[name], "--initial-cluster", cluster]
        command += ["--initial-advertise-peer-urls", self.peers[name], *flags, *QUICK]
        variables = {
            "ETCD_LISTEN_CLIENT_URLS": self.clients[name],
            "ETCD_ADVERTISE_CLIENT_URLS": self.clients[name],
            **dict(environment),
        }
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("METASTORE_", "ETCD_"))}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env=ours | variables, stdout=log, stderr=log
            )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_healthy(self, *names: str) -> None:
        for name in names:
            url = self.clients[name]
            eventually(f"{name} is healthy", lambda url=url: is_healthy(url))

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(20)


@pytest.fixture
def etcds(tmp_path: Path) -> Iterator[EtcdLike]:
    made = EtcdLike(tmp_path)
    yield made
    for name in list(made.processes):
        made.stop(name, signal.SIGKILL)


def post(url: str, path: str, body: Any) -> dict[str, Any]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST", path, json.dumps(body))
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


def members(url: str) -> dict[str, dict[str, Any]]:
    found = post(url, "/v3/cluster/member/list", {})["members"]
    return {member.get("name", ""): member for member in found}


def test_three_are_started_as_etcds_are_restarted_and_joined_by_a_fourth(etcds: EtcdLike) -> None:
    etcds.place("a", "b", "c")
    for name in "abc":
        etcds.start(name)
    etcds.wait_healthy(*"abc")
    assert all(READY in etcds.log(name) for name in "abc")
    post(etcds.clients["a"], "/v3/kv/put", {"key": "YQ==", "value": "MQ=="})
    eventually(
        "all have told their URLs",
        lambda: all("clientURLs" in one for one in members(etcds.clients["b"]).values()),
    )
    known = members(etcds.clients["b"])
    assert {name: one["clientURLs"] for name, one in known.items()} == {
        name: [url] for name, url in etcds.clients.items()
    }
    assert [known[name]["peerURLs"] for name in "abc"] == [[etcds.peers[name]] for name in "abc"]
    assert all(int(one["ID"]) > 1 << 53 for one in known.values())

    assert etcds.stop("a") == 0
    etcds.start("a")
    etcds.wait_healthy("a")
    assert members(etcds.clients["a"])["a"]["ID"] == known["a"]["ID"]

    etcds.place("d")
    added = post(etcds.clients["b"], "/v3/cluster/member/add", {"peerURLs": [etcds.peers["d"]]})
    etcds.start("d", "--initial-cluster-state", "existing")
    etcds.wait_healthy("d")
    got = post(etcds.clients["d"], "/v3/kv/range", {"key": "YQ==", "serializable": True})
    assert got["kvs"][0]["value"] == "MQ=="
    assert got["header"]["member_id"] == added["member"]["ID"]


def test_what_makes_no_sense_is_said_and_nothing_is_made(etcds: EtcdLike) -> None:
    etcds.place("a")
    for flags, said in (
        (["--no-such-flag"], "--no-such-flag is no flag of etcd's"),
        (["--peer-auto-tls"], "METASTORE_KEY_FILE"),
        (["--initial-cluster-state", "existing"], "names nobody else"),
    ):
        etcds.start("a", *flags)
        assert etcds.processes.pop("a").wait(20) == 2
        assert said in etcds.log("a")
        assert not (etcds.folder / "a").exists()


def test_a_script_that_asks_for_the_version_finds_it() -> None:
    said = subprocess.run([*METASTORE, "etcd", "--version"], capture_output=True, check=True)
    first = said.stdout.decode().splitlines()[0]
    assert first.startswith("etcd Version: 3.")


def test_numbers_are_served_at_an_address_of_their_own_and_no_calls(etcds: EtcdLike) -> None:
    etcds.place("a")
    (port,) = own_ports(1)
    numbers = f"http://{LOOPBACK}:{port}"
    etcds.start("a", "--listen-metrics-urls", numbers)
    etcds.wait_healthy("a")
    assert is_healthy(numbers)
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    connection.request("POST", "/v3/kv/range", "{}")
    assert connection.getresponse().status == 404
    connection.close()


def test_a_node_with_keys_has_a_gateway_and_one_alone_needs_a_key_that_may(
    make_gateways: Callable[..., GatewayCluster], tmp_path: Path
) -> None:
    cluster = make_gateways(1)
    keyring = Keyring(cluster)
    cluster.give_gateway(1)
    cluster.start_with_gateways()
    assert get_json(cluster.urls[1], "/version")["etcdcluster"].startswith("3.")
    (port,) = own_ports(1)
    url = f"http://{LOOPBACK}:{port}"
    command = [*METASTORE, "gateway", "--node", cluster.address(1, "client"), "--listen", url]
    command += ["--node-status", cluster.address(1, "status"), "--key-file"]
    command += [str(keyring.path("admin")), f"--server-key={keyring.public('node')}"]
    with (tmp_path / "alone.log").open("wb") as log:
        alone = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        eventually("the gateway alone serves", lambda: is_healthy(url))
        post(url, "/v3/kv/put", {"key": "YQ==", "value": "MQ=="})
        assert post(cluster.urls[1], "/v3/kv/range", {"key": "YQ=="})["kvs"][0]["value"] == "MQ=="
        alone.send_signal(signal.SIGINT)
        assert alone.wait(20) == 0
    finally:
        alone.kill()
        alone.wait()


def caller(channel: grpc.Channel) -> Callable[[str, Any, Any], Any]:
    """call(path, request, class of the reply)"""

    def call(path: str, request: Any, reply: Any) -> Any:
        method = channel.unary_unary(path, type(request).SerializeToString, reply.FromString)
        return method(request, timeout=10)

    return call


def start_with_tls(cluster: GatewayCluster, authority: Authority, server: Sequence[Path]) -> str:
    """host:port"""
    host = cluster.urls[1].removeprefix("http://")
    cluster.node_options[1] = (
        *("--etcd", f"https://{host}", "--etcd-cert-file", str(server[0])),
        *("--etcd-key-file", str(server[1]), "--etcd-trusted-ca-file", str(authority.file)),
        "--etcd-client-cert-auth",
    )
    cluster.start()
    return host


def version(host: str, context: ssl.SSLContext) -> bytes:
    connection = http.client.HTTPSConnection(host, timeout=5, context=context)
    try:
        connection.request("GET", "/version")
        return connection.getresponse().read()
    except OSError:
        return b""
    finally:
        connection.close()


def test_tls_serves_both_protocols_and_its_common_name_is_the_user(
    make_gateways: Callable[..., GatewayCluster], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    server, client = (authority.issue(tmp_path, name) for name in ("server", "ann"))
    host = start_with_tls(make_gateways(1), authority, server)
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(*client)
    eventually("https is served", lambda: version(host, context))
    credentials = grpc.ssl_channel_credentials(
        authority.file.read_bytes(), client[1].read_bytes(), client[0].read_bytes()
    )
    with grpc.secure_channel(host, credentials) as channel:
        call = caller(channel)
        auth = "/etcdserverpb.Auth/"
        for user in ("root", "ann"):
            call(auth + "UserAdd", rpc.AuthUserAddRequest(name=user), rpc.AuthUserAddResponse)
        grant = rpc.AuthUserGrantRoleRequest(user="root", role="root")
        call(auth + "UserGrantRole", grant, rpc.AuthUserGrantRoleResponse)
        call(auth + "AuthEnable", rpc.AuthEnableRequest(), rpc.AuthEnableResponse)
        # The certificate says "ann", who may see herself and no key.
        me = call(auth + "UserGet", rpc.AuthUserGetRequest(name="ann"), rpc.AuthUserGetResponse)
        assert me.roles == []
        with pytest.raises(grpc.RpcError) as caught:
            call("/etcdserverpb.KV/Range", rpc.RangeRequest(key=b"a"), rpc.RangeResponse)
        error: Any = caught.value
        assert error.details() == "etcdserver: permission denied"
