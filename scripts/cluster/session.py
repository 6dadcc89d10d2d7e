"""One run of the launcher: start the nodes, wait for a leader, tell what is there, stay, stop.

The session owns the processes it started; nodes that a --start added later are known from
cluster.json only, and are stopped with the rest.
"""

import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from cluster import layout as layouts
from cluster import processes, status
from cluster.layout import ClusterLayout, NodeLayout

LEADER_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.1
_ASK_SECONDS = 0.5

Child = subprocess.Popen[bytes]


def _is_open(url: str) -> bool:
    host, _, port = url.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), _ASK_SECONDS).close()
    except OSError:
        return False
    return True


class LaunchFailed(Exception):
    """The cluster did not come up; the text says which node and shows the end of its log."""


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal: stop everything."""


def interrupt_on_signals() -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def ignore_signals() -> None:
    """While stopping: a second Ctrl-C must not leave nodes behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


class Session:
    def __init__(self, directory: Path, laid: ClusterLayout) -> None:
        self.directory = directory
        self.laid = laid
        self.children: dict[int, Child] = {}

    def start(self, nodes: Sequence[NodeLayout]) -> None:
        """Starts these nodes and writes their pids to cluster.json."""
        for node in nodes:
            self.children[node.node_id] = processes.start(self.laid, node)
        pids = [(node_id, child.pid) for node_id, child in self.children.items()]
        self.laid = layouts.record_pids(self.directory, pids)

    def wait_for_leader(self, seconds: float = LEADER_SECONDS_MAX) -> Sequence[status.Answer]:
        """Returns once all nodes that run name the same leader. Raises LaunchFailed when a node
        that we started dies or the time is over."""
        deadline = time.monotonic() + seconds
        keys = self.laid.keys.read() if self.laid.keys is not None else None
        while True:
            dead = self.buried()
            if dead:
                raise LaunchFailed("\n".join(processes.obituary(*one) for one in dead))
            running = [node for node in self.laid.nodes if processes.is_running(node)]
            answers = status.ask_all(
                [node.status for node in running], timeout=_ASK_SECONDS, keys=keys
            )
            if len(running) > len(self.laid.nodes) // 2 and status.agreed_leader(answers):
                return answers
            if time.monotonic() >= deadline:
                raise LaunchFailed(self._no_leader(answers, seconds))
            time.sleep(_POLL_SECONDS)

    def wait_for_gateways(self, seconds: float = LEADER_SECONDS_MAX) -> None:
        """Returns once those of our own nodes take connections. Raises LaunchFailed."""
        deadline = time.monotonic() + seconds
        for node in self.laid.nodes:
            while node.etcd and node.node_id in self.children and not _is_open(node.etcd):
                if time.monotonic() >= deadline:
                    log = processes.log_tail(Path(node.log))
                    raise LaunchFailed(f"{node.etcd} is not served; the end of {node.log}:\n{log}")
                time.sleep(_POLL_SECONDS)

    def _no_leader(self, answers: Sequence[status.Answer], seconds: float) -> str:
        logs = "\n".join(
            f"the end of {node.log}:\n{processes.log_tail(Path(node.log))}"
            for node in self.laid.nodes
            if node.node_id in self.children
        )
        shown = status.status_table(answers)
        return f"the nodes agreed on no leader within {seconds:.0f} s\n{shown}\n{logs}"

    def buried(self) -> list[tuple[NodeLayout, int]]:
        """The children that ended since the last call, with their return codes."""
        ended = [
            (node_id, child.returncode)
            for node_id, child in self.children.items()
            if child.poll() is not None
        ]
        for node_id, _ in ended:
            del self.children[node_id]
        return [(self.laid.node(node_id), code) for node_id, code in ended]

    def watch(self) -> None:
        """Stays until Interrupted, telling at once of each node that dies. Returns when the last
        node of the cluster is gone."""
        while True:
            for node, code in self.buried():
                print(f"\n{processes.obituary(node, code)}")
                print(
                    f"Start it again: {start_command(self.directory, node.node_id)}\n", flush=True
                )
            if not self.children and not any(map(processes.is_running, self._recorded())):
                return
            time.sleep(_POLL_SECONDS)

    def stop(self) -> list[int]:
        """Stops every node of the cluster; returns the ids that had to be killed."""

        def running(node: NodeLayout) -> bool:
            child = self.children.get(node.node_id)
            if child is not None and child.pid == node.pid:
                return child.poll() is None  # also reaps it
            return processes.is_running(node)

        # Another --start may have run while cluster.json was out of our hands; and a launch that
        # failed half-way has children that cluster.json does not name yet.
        nodes = list(self._recorded())
        named = {node.pid for node in nodes}
        for node_id, child in self.children.items():
            if child.pid not in named:
                nodes.append(self.laid.with_pid(node_id, child.pid).node(node_id))
        killed = processes.stop(nodes, running)
        for child in self.children.values():
            child.wait()
        return killed

    def _recorded(self) -> Sequence[NodeLayout]:
        laid = layouts.read(self.directory)
        return laid.nodes if laid is not None else self.laid.nodes


def start_command(directory: Path, node_id: int) -> str:
    return f"python3 scripts/launch_local_cluster.py --data-dir {directory} --start {node_id}"
