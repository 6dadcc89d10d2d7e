"""Clusters that etcdctl cannot tell apart: nodes with names and ids as an etcd's, and either kind
with a fourth member that comes later."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etcd_tools import BINARIES, done
from gateways import EtcdCluster, GatewayCluster
from node_processes import LOOPBACK
from own_ports import own_ports

FIRST_ID = (1 << 53) + 1  # as large as etcd's, so that it cannot be taken for another number


class NamedNodes(GatewayCluster):
    """m0, m1, ..., as EtcdCluster calls them."""

    def __init__(
        self,
        xprocess: Any,
        folder: Path,
        count: int = 3,
        options: Sequence[str] = (),
        engine: str = "memory",
    ) -> None:
        super().__init__(xprocess, folder, 0, options, engine)
        self.founders = [FIRST_ID + number for number in range(count)]
        self.give_ports(*self.founders)
        for number, node_id in enumerate(self.founders):
            self.give_gateway(node_id, "--name", f"m{number}")


class GrowingNodes:
    """Three of ours that a fourth can join."""

    def __init__(self, cluster: GatewayCluster) -> None:
        self._cluster = cluster
        cluster.start_with_gateways()
        self.endpoints = cluster.etcd_endpoints
        cluster.give_ports(4)
        self.peer_url = f"http://{LOOPBACK}:{cluster.ports[4]['peer']}"

    def join(self, member_id: int) -> str:
        """Where its clients come."""
        cluster = self._cluster
        cluster.ports[member_id] = cluster.ports.pop(4)
        cluster.give_gateway(member_id, "--name", "m3")
        cluster.join(member_id)
        return cluster.urls[member_id]

    def close(self) -> None:
        """Who made the cluster ends it."""


class GrowingEtcd:
    """The same, of real members."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cluster = EtcdCluster(folder)
        self.endpoints = self._cluster.etcd_endpoints
        self._client, peer = own_ports(2)
        self.peer_url = f"http://{LOOPBACK}:{peer}"
        self._joined: subprocess.Popen[bytes] | None = None

    def join(self, member_id: int) -> str:
        url = f"http://{LOOPBACK}:{self._client}"
        told = done("etcdctl", "--endpoints", self.endpoints[0], "member", "list")
        rows = [line.split(", ") for line in told.splitlines()]
        members = ",".join(f"{row[2] or 'm3'}={row[3]}" for row in rows)
        command = [str(BINARIES / "etcd"), "--name", "m3", "--unsafe-no-fsync"]
        command += ["--data-dir", str(self._folder / "m3"), "--listen-client-urls", url]
        command += ["--advertise-client-urls", url, "--listen-peer-urls", self.peer_url]
        command += ["--initial-advertise-peer-urls", self.peer_url]
        command += ["--initial-cluster", members, "--initial-cluster-state", "existing"]
        with (self._folder / "m3.log").open("wb") as log:
            self._joined = subprocess.Popen(command, stdout=log, stderr=log)
        return url

    def close(self) -> None:
        self._cluster.stop()
        if self._joined is not None:
            self._joined.kill()
            self._joined.wait()
