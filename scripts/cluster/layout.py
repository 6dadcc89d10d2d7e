"""What a local cluster consists of: nodes, their addresses and folders, and the file that names
them.

DIR/cluster.json is the one source of truth between the launcher, its --start and --stop, and tests.
It is written aside and renamed, under a lock, so that a reader never sees half of it. Starts
nothing.
"""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cluster.keys import KeysLayout

HOST = "127.0.0.1"
PORTS_PER_NODE = 4
NODES_MAX = 64
# Above the registered services, below what Linux hands to outgoing connections (32768): a peer that
# connects must never be given the port on which another node is about to listen.
_PORT_LOW, _PORT_HIGH = 12_000, 32_000
_PICK_ATTEMPTS_MAX = 10_000


class LayoutFailed(Exception):
    """The cluster cannot be laid out as asked; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """One node; the first seven fields are the contract of cluster.json, and `etcd`, the URL of its
    gateway, where it has one. pid 0: not started."""

    node_id: int
    pid: int
    peer: str
    client: str
    status: str
    log: str
    data_dir: str
    snapshot: str
    etcd: str = ""

    @property
    def member(self) -> str:
        return f"{self.node_id}={self.peer},{self.client},{self.status},{self.snapshot}"


@dataclass(frozen=True, slots=True)
class ClusterLayout:
    cluster_id: str
    engine: str
    nodes: Sequence[NodeLayout]
    keys: KeysLayout | None = None

    def node(self, node_id: int) -> NodeLayout:
        for node in self.nodes:
            if node.node_id == node_id:
                return node
        known = ", ".join(str(node.node_id) for node in self.nodes)
        raise LayoutFailed(f"there is no node {node_id}; this cluster has {known}")

    def with_pid(self, node_id: int, pid: int) -> "ClusterLayout":
        changed = [replace(n, pid=pid) if n.node_id == node_id else n for n in self.nodes]
        return replace(self, nodes=changed)


def plan(directory: Path, count: int, engine: str, ports: Sequence[int]) -> ClusterLayout:
    """A new cluster. `ports` holds PORTS_PER_NODE numbers per node. The cluster's id is random, so
    that two clusters on one machine can never take each other's messages for their own."""
    return ClusterLayout(
        cluster_id=f"local-{secrets.token_hex(4)}",
        engine=engine,
        nodes=[
            _plan_node(directory, i + 1, ports[i * PORTS_PER_NODE : (i + 1) * PORTS_PER_NODE])
            for i in range(count)
        ],
    )


def _plan_node(directory: Path, node_id: int, ports: Sequence[int]) -> NodeLayout:
    peer, client, status, snapshot = (f"tcp://{HOST}:{port}" for port in ports)
    return NodeLayout(
        node_id=node_id,
        pid=0,
        peer=peer,
        client=client,
        status=status,
        log=str(directory / f"node-{node_id}.log"),
        data_dir=str(directory / f"node-{node_id}"),
        snapshot=snapshot,
    )


def with_gateways(layout: ClusterLayout, ports: Sequence[int]) -> ClusterLayout:
    """`ports` holds one number per node."""
    pairs = zip(layout.nodes, ports, strict=True)
    return replace(
        layout, nodes=[replace(node, etcd=f"http://{HOST}:{port}") for node, port in pairs]
    )


def moved(layout: ClusterLayout, ports: Sequence[int]) -> ClusterLayout:
    """The same cluster (ids and folders) on other ports."""
    nodes = []
    for i, node in enumerate(layout.nodes):
        fresh = _plan_node(Path(node.log).parent, node.node_id, ports[i * PORTS_PER_NODE :][:4])
        nodes.append(replace(fresh, data_dir=node.data_dir, log=node.log))
    return replace(layout, nodes=nodes)


def ports_of(layout: ClusterLayout) -> Sequence[int]:
    return [
        int(address.rpartition(":")[2])
        for node in layout.nodes
        for address in (node.peer, node.client, node.status, node.snapshot, node.etcd)
        if address
    ]


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as libzmq binds
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def consecutive_ports(base: int, count: int, free: Callable[[int], bool] = is_free) -> list[int]:
    """Raises LayoutFailed naming the first port that is taken."""
    if not 1 <= base <= 65_536 - count:
        raise LayoutFailed(f"--base-port {base}: {count} ports from there do not fit below 65536")
    ports = list(range(base, base + count))
    taken = next((port for port in ports if not free(port)), None)
    if taken is not None:
        raise LayoutFailed(
            f"port {taken} is taken; stop what uses it or choose another --base-port"
        )
    return ports


def random_ports(count: int, free: Callable[[int], bool] = is_free) -> list[int]:
    chosen: set[int] = set()
    for _ in range(_PICK_ATTEMPTS_MAX):
        if len(chosen) == count:
            return sorted(chosen)
        port = _PORT_LOW + secrets.randbelow(_PORT_HIGH - _PORT_LOW)
        if port not in chosen and free(port):
            chosen.add(port)
    raise LayoutFailed(f"found no {count} free ports between {_PORT_LOW} and {_PORT_HIGH}")


def layout_path(directory: Path) -> Path:
    return directory / "cluster.json"


def read(directory: Path) -> ClusterLayout | None:
    """None when there is no cluster in this folder; LayoutFailed when its file cannot be
    understood."""
    path = layout_path(directory)
    try:
        document = json.loads(path.read_text())
        nodes = [NodeLayout(**node) for node in document["nodes"]]
        keys = KeysLayout(**document["keys"]) if "keys" in document else None
        return ClusterLayout(document["cluster_id"], document["engine"], nodes, keys)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LayoutFailed(f"{path} is not this script's cluster.json: {error!r}") from None


def write(directory: Path, layout: ClusterLayout) -> None:
    path = layout_path(directory)
    aside = path.with_name(f".cluster.json.{os.getpid()}")
    document = asdict(layout)
    for node in document["nodes"]:
        if not node["etcd"]:
            del node["etcd"]
    if layout.keys is None:
        del document["keys"]
    aside.write_text(json.dumps(document, indent=2) + "\n")
    aside.rename(path)


def record_pids(directory: Path, pids: Iterable[tuple[int, int]]) -> ClusterLayout:
    """Writes (node id, pid) pairs into cluster.json; safe beside another --start."""
    with _locked(directory):
        layout = read(directory)
        if layout is None:
            raise LayoutFailed(f"{layout_path(directory)} is gone")
        for node_id, pid in pids:
            layout = layout.with_pid(node_id, pid)
        write(directory, layout)
        return layout


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / ".cluster.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
