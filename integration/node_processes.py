"""A cluster of real node processes for tests, started by pytest-xprocess, killed and paused by pid.

Nodes listen on free loopback ports. Waiting is for conditions with a deadline, never for a time.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgpack
import pytest
import zmq
from cluster.status import Keys, ask_all
from own_ports import own_ports
from xprocess import ProcessStarter

from metastore.client import Client

DEADLINE_S = 30.0
LOOPBACK = "127.0.0.1"
FAULTY_NODE = Path(__file__).with_name("faulty_node.py")
BOTH_ENGINES = pytest.mark.parametrize("engine", ["memory", "rocksdb"])
SOCKETS = ("peer", "client", "status", "snapshot")

T = TypeVar("T")


def eventually(what: str, condition: Callable[[], T | None], deadline_s: float = DEADLINE_S) -> T:
    """The first true value of the condition; AssertionError naming `what` when it never comes."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {deadline_s} s in vain: {what}")


def ask_status(
    address: str,
    method: str = "raft_status",
    timeout_ms: int = 500,
    context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
    keys: Keys | None = None,
) -> dict[str, Any]:
    """What any REQ client gets; {} when nobody answers in time. `keys`: of nodes that use some."""
    if keys is not None:
        (found,) = ask_all([address], method, timeout_ms / 1000, keys)
        return dict(found.status)
    request = (context or zmq.Context.instance()).socket(zmq.REQ)
    request.linger = 0
    try:
        request.connect(address)
        request.send(msgpack.packb({"method": method}))
        answer = msgpack.unpackb(request.recv()) if request.poll(timeout_ms) else {}
        return dict(answer)
    finally:
        request.close(0)


class NodeProcesses:
    """`ports[node_id][socket name]` is where each node listens; `peer_port_seen_by` overrides, for
    one node, how it reaches the peers of the others (through links that can be cut); `faults` are
    arguments of faulty_node.py, for nodes that run on it; `around` goes before a node's command."""

    def __init__(
        self,
        xprocess: Any,
        folder: Path,
        count: int = 3,
        options: Sequence[str] = (),
        engine: str = "memory",
    ) -> None:
        self._xprocess = xprocess
        self._name = f"{folder.name}-{os.getpid()}"
        self.folder = folder
        self.options = tuple(options)
        self.engine = engine
        self.founders = list(range(1, count + 1))
        self.joining: dict[int, Sequence[str]] = {}  # node: its own options, e.g. a role
        self.node_options: dict[int, Sequence[str]] = {}  # of a node, in place of `options`
        self.faults: dict[int, Sequence[str]] = {}
        self.around: dict[int, Sequence[str]] = {}
        self.hosts: dict[int, str] = {}  # addresses of those that are not on the loopback
        self.context: zmq.Context[zmq.Socket[bytes]] | None = None  # for clients; None: the usual
        self.client_options: dict[str, Any] = {}  # key_file and server_keys, of nodes with keys
        self.status_keys: Keys | None = None
        self.data_dirs: dict[int, Path] = {}  # those that are not in the folder
        self.ports: dict[int, dict[str, int]] = {}
        self.give_ports(*self.founders)
        self.peer_port_seen_by: dict[tuple[int, int], int] = {}
        self.client_port_shown: dict[int, int] = {}  # to clients, by node: those of links
        self.pids: dict[int, int] = {}

    def give_ports(self, *node_ids: int) -> None:
        """New ones, also to nodes that had some: they have moved when they are started again."""
        ports = iter(own_ports(len(node_ids) * len(SOCKETS)))
        for node_id in node_ids:
            self.ports[node_id] = {name: next(ports) for name in SOCKETS}

    def join(self, node_id: int, *options: str) -> None:
        """Starts a node that is no founder: it asks the others to let it in."""
        if node_id not in self.ports:
            self.give_ports(node_id)
        self.joining[node_id] = options
        self.start(node_id)

    @property
    def node_ids(self) -> list[int]:
        return sorted(self.ports)

    def address(self, node_id: int, name: str) -> str:
        host = self.hosts.get(node_id, LOOPBACK)
        return f"tcp://{host}:{self.ports[node_id][name]}"

    @property
    def endpoints(self) -> list[str]:
        return [self.shown(node_id, "client") for node_id in self.node_ids]

    def shown(self, node_id: int, name: str) -> str:
        """Where others find it; its own client address unless clients go through a link."""
        port = self.client_port_shown.get(node_id) if name == "client" else None
        return f"tcp://{LOOPBACK}:{port}" if port else self.address(node_id, name)

    def others(self, *node_ids: int) -> list[int]:
        return [node_id for node_id in self.node_ids if node_id not in node_ids]

    def data_dir(self, node_id: int) -> Path:
        return self.data_dirs.get(node_id, self.folder / f"node-{node_id}")

    def client(self, **options: Any) -> Client:
        return Client(self.endpoints, context=self.context, **self.client_options | options)

    def command(self, node_id: int) -> list[str]:
        command = [*self.around.get(node_id, ()), sys.executable]
        if node_id in self.faults:
            command += [str(FAULTY_NODE), *self.faults[node_id], "--"]
        else:
            command += ["-m", "metastore.node"]
        command += ["--node-id", str(node_id), "--engine", self.engine]
        command += ["--data-dir", str(self.data_dir(node_id)), "--cluster-id", self.folder.name]
        for name in SOCKETS:
            command += [f"--{name}-bind", self.address(node_id, name)]
        for (here, other), port in self.peer_port_seen_by.items():
            if here == node_id:
                command += ["--dial", f"{other}=tcp://{LOOPBACK}:{port}"]
        if node_id in self.client_port_shown:
            command += ["--client-advertise", self.shown(node_id, "client")]
        own = self.node_options.get(node_id, self.options)
        if node_id in self.joining:
            command += ["--join", ",".join(self.shown(n, "client") for n in self.others(node_id))]
            return [*command, *self.joining[node_id], *own]
        for other in self.founders:
            places = [self.shown(other, name) for name in SOCKETS]
            command += ["--member", f"{other}=" + ",".join(places)]
        return [*command, *own]

    def start(self, *node_ids: int) -> None:
        """All nodes, or these. Returns when each says that it has started."""
        for node_id in node_ids or self.node_ids:
            arguments = self.command(node_id)

            class Starter(ProcessStarter):  # type: ignore[misc]
                pattern = "node started"
                timeout = 60
                max_read_lines = 1000
                terminate_on_interrupt = True
                args = arguments
                # The tests' own variables look like settings that no node knows.
                env: Mapping[str, str] = {
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith("METASTORE_")
                }

            self.pids[node_id], _ = self._xprocess.ensure(
                f"{self._name}-{node_id}", Starter, restart=True
            )

    def signal(self, node_id: int, number: int) -> None:
        os.kill(self.pids[node_id], number)

    def kill(self, *node_ids: int) -> None:
        """SIGKILL, at once for all of them; returns when they are gone."""
        for node_id in node_ids:
            self.signal(node_id, signal.SIGKILL)
        for node_id in node_ids:
            self.wait_gone(node_id)

    def wait_gone(self, node_id: int, deadline_s: float = DEADLINE_S) -> int:
        """The exit code of a node that is ending; minus the signal's number if one killed it."""
        pid = self.pids.pop(node_id)
        status: list[int] = []

        def is_gone() -> bool:
            ended, code = os.waitpid(pid, os.WNOHANG)
            if ended == pid:
                status.append(os.waitstatus_to_exitcode(code))
            return bool(status)

        eventually(f"node {node_id} is gone", is_gone, deadline_s)
        return status[0]

    def has_ended(self, node_id: int) -> bool:
        """Dead, though nobody has waited for it yet."""
        return self.state(node_id) in ("", "Z", "X")

    def is_paused(self, node_id: int) -> bool:
        return self.state(node_id) == "T"

    def state(self, node_id: int) -> str:
        """The kernel's letter; "" for a process that is no more."""
        try:
            stat = Path(f"/proc/{self.pids[node_id]}/stat").read_text()
        except FileNotFoundError:
            return ""
        return stat.rpartition(")")[2].split()[0]

    def log(self, node_id: int) -> str:
        path = Path(str(self._xprocess.getinfo(f"{self._name}-{node_id}").logpath))
        return path.read_text(errors="replace")

    def stop(self) -> None:
        """SIGTERM; returns when they are gone."""
        self._end(signal.SIGTERM)

    def end(self) -> None:
        """SIGKILL, after a test: a leader would wait for a successor among nodes that stop too."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        for node_id in list(self.pids):
            try:
                self.signal(node_id, signal.SIGCONT)
                self.signal(node_id, number)
            except ProcessLookupError:
                continue
        for node_id in list(self.pids):
            self.wait_gone(node_id)

    def status(self, node_id: int) -> dict[str, Any]:
        address = self.address(node_id, "status")
        return ask_status(address, context=self.context, keys=self.status_keys)

    def leader(self, among: Sequence[int] = ()) -> int:
        """The node that all of `among` (default: all) follow, and that says itself that it
        leads."""
        asked = list(among) or self.node_ids

        def agreed() -> int | None:
            answers = [self.status(node_id) for node_id in asked]
            leaders = {answer.get("leader_id", 0) for answer in answers}
            terms = {answer.get("term", 0) for answer in answers}
            leading = [a["node_id"] for a in answers if a.get("state") == "leader"]
            if len(leaders) == len(terms) == 1 and leading == [*leaders]:
                return int(leading[0])
            return None

        return eventually(f"nodes {asked} agree on a leader", agreed)
