"""The keys of a cluster of tests, and its access file, which is written anew whenever it changes.

Beside node_processes.py. Every node reads the same file here.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from cluster.status import Keys
from node_processes import NodeProcesses, eventually
from replicas import details

from metastore.client import Client
from metastore.transport.security import CurveClient, new_keys, read_key_file, write_key_file
from metastore.transport.sockets import open_dealer

READ_AGAIN = "access file read again"  # in a node's log


@dataclass(frozen=True)
class Grant:
    """Of one client: its keys (names of key files), and what it may do."""

    names: Sequence[str]
    role: str
    prefixes: Sequence[str] = ()


class Keyring:
    """Nodes share the keys named `node_names`; the first of them is what a node starts with, and
    `admin` is what the tests themselves use."""

    def __init__(self, cluster: NodeProcesses) -> None:
        self.cluster = cluster
        self._options = tuple(cluster.options)  # those that have nothing to do with keys
        self.folder = cluster.folder / "keys"
        self.folder.mkdir()
        self.access_file = self.folder / "access.toml"
        self.node_names = [self.make("node")]
        self.clients = {"admin": Grant([self.make("admin")], "admin")}
        self.write()
        self.start_with("node")

    def make(self, name: str) -> str:
        """A key file of this name; the name."""
        write_key_file(self.path(name), new_keys())
        return name

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def public(self, name: str) -> str:
        return read_key_file(self.path(name)).public

    @property
    def node_key(self) -> str:
        """The public key that the nodes have had longest."""
        return self.public(self.node_names[0])

    def secrets(self) -> list[str]:
        """All that must never be seen anywhere."""
        return [read_key_file(path).secret for path in self.folder.glob("*.key")]

    def let_in(self, client: str, role: str, *prefixes: str) -> str:
        """A new client with a key of its own, named as it is."""
        self.clients[client] = Grant([self.make(client)], role, prefixes)
        self.write()
        return client

    def write(self) -> None:
        """Aside and moved over, as the guide says."""
        lines = ["[nodes]", f"keys = {self._publics(self.node_names)}"]
        for client, grant in self.clients.items():
            lines += [f"[clients.{client}]", f"keys = {self._publics(grant.names)}"]
            lines.append(f'role = "{grant.role}"')
            if grant.prefixes:
                lines.append(f"prefixes = {json.dumps(list(grant.prefixes))}")
        running = self.cluster.pids
        self._read_before = {n: self.cluster.log(n).count(READ_AGAIN) for n in running}
        aside = self.access_file.with_suffix(".new")
        aside.write_text("\n".join(lines) + "\n")
        aside.chmod(0o644)
        aside.rename(self.access_file)

    def _publics(self, names: Sequence[str]) -> str:
        return json.dumps([self.public(name) for name in names])

    def start_with(self, node_name: str, *node_ids: int) -> None:
        """Which key nodes (all, or these) use from their next start on; clients know every key of
        a node that is in the access file."""
        keys = ("--key-file", str(self.path(node_name)), "--access-file", str(self.access_file))
        options = (*self._options, *keys)
        if node_ids:
            self.cluster.node_options.update(dict.fromkeys(node_ids, options))
        else:
            self.cluster.options, self.cluster.node_options = options, {}
        server_keys = [self.public(name) for name in self.node_names]
        self.cluster.client_options = {
            "key_file": self.path("admin"),
            "server_keys": server_keys,
        }
        self.cluster.status_keys = Keys(*read_key_file(self.path("admin")), server_keys)

    def client(self, name: str, **options: Any) -> Client:
        """A client with this key."""
        return self.cluster.client(key_file=self.path(name), **options)

    def settle(self) -> None:
        """Returns when all nodes that run have read the file as it was written last."""

        def have_read() -> bool:
            return all(
                self.cluster.log(node_id).count(READ_AGAIN) > count
                for node_id, count in self._read_before.items()
            )

        eventually("the nodes have read the access file", have_read)

    def counter(self, node_id: int, name: str) -> int:
        """By the beginning of its name; the sum of all that begin so."""
        counters = details(self.cluster, node_id).get("counters", {})
        return sum(count for found, count in counters.items() if found.startswith(name))

    def wait_counted(self, name: str) -> None:
        """Until some node shows it in its status, which it renews once a tick."""
        nodes = self.cluster.node_ids
        eventually(f"{name} is counted", lambda: any(self.counter(n, name) for n in nodes))

    def dial(self, context: zmq.Context[Any], socket: str, key: str | None) -> Any:
        """A DEALER to this socket of node 1, connected or not; without a key in plaintext."""
        curve = None
        if key is not None:
            curve = CurveClient(read_key_file(self.path(key)), self.node_key)
        return open_dealer(
            context,
            self.cluster.address(1, socket),
            routing_id=b"",
            frame_bytes_max=1 << 20,
            send_max=10,
            receive_max=10,
            curve=curve,
        )


def refusals_logged(cluster: NodeProcesses, *words: str) -> dict[int, list[str]]:
    """The lines about a refusal that have all these words, by node."""
    found = {}
    for node_id in cluster.node_ids:
        lines = [line for line in cluster.log(node_id).splitlines() if "refused" in line]
        found[node_id] = [line for line in lines if all(word in line for word in words)]
    return found


def check_logged_once(cluster: NodeProcesses, *words: str) -> None:
    """By some node, and by none twice of the same one. A connection whose address the node could
    not learn any more counts as somebody else."""
    found = refusals_logged(cluster, *words)
    for lines in found.values():
        without_time = [line.partition(" ")[2] for line in lines]
        named = [line for line in without_time if "unknown address" not in line]
        assert len(named) <= 1, found
        assert len(set(without_time)) == len(without_time), found
    assert any(found.values()), words


@contextmanager
def plaintext_member(cluster: NodeProcesses, node_id: int) -> Iterator[None]:
    """A node that thinks it belongs to them, and has no key; gone afterwards."""
    options, own = cluster.options, cluster.node_options
    cluster.give_ports(node_id)
    cluster.founders.append(node_id)
    cluster.options, cluster.node_options = (), {}
    try:
        cluster.start(node_id)
        yield
    finally:
        cluster.options, cluster.node_options = options, own
        cluster.founders.remove(node_id)
        cluster.kill(node_id)
        del cluster.ports[node_id]
