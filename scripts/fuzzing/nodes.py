"""The nodes that scripts/fuzz brings for a siege: one in the open and one with keys, each a cluster
of its own in a temporary folder."""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cluster import layout as layouts
from cluster import processes
from fuzzing.decoding import Finding
from fuzzing.siege import NODE_OPTIONS, Target

from metastore.node.settings_values import parse_cluster_id
from metastore.transport.security import CurveClient, new_keys, write_key_file

SOCKETS = ("peer", "client", "status", "snapshot")


class Access(NamedTuple):
    """`options` of a node with keys; `client` may do everything there, `stranger` little."""

    options: Sequence[str] = ()
    client: CurveClient | None = None
    stranger: CurveClient | None = None


def access_with_keys(folder: Path) -> Access:
    """Writes the node's key file and its access file."""
    node, client, stranger = new_keys(), new_keys(), new_keys()
    key_file, access_file = folder / "node.key", folder / "access.toml"
    write_key_file(key_file, node)
    access_file.write_text(
        f'[nodes]\nkeys = ["{node.public}"]\n'
        f'[clients.good]\nkeys = ["{client.public}"]\nrole = "admin"\n'
        f'[clients.strange]\nkeys = ["{stranger.public}"]\nrole = "write"\nprefixes = ["a"]\n'
    )
    options = ("--key-file", str(key_file), "--access-file", str(access_file))
    return Access(options, CurveClient(client, node.public), CurveClient(stranger, node.public))


@contextmanager
def own_nodes() -> Iterator[list[Target]]:
    """Running until the block ends. A Finding in it gets the ends of their logs."""
    with tempfile.TemporaryDirectory(prefix="metastore-fuzz-") as temporary:
        folder = Path(temporary)
        children: list[subprocess.Popen[bytes]] = []
        targets = []
        try:
            for name, access in (("open", Access()), ("with-keys", access_with_keys(folder))):
                home = folder / name
                home.mkdir()
                child, target = _start(home, f"the node {name}", access)
                children.append(child)
                targets.append(target)
            yield targets
        except Finding as finding:
            logs = "\n".join(map(processes.log_tail, sorted(folder.glob("*/*.log"))))
            raise Finding(f"{finding}\nthe ends of the logs:\n{logs}", finding.path) from None
        finally:
            for child in children:
                child.kill()
                child.wait()


def _start(home: Path, name: str, access: Access) -> "tuple[subprocess.Popen[bytes], Target]":
    laid = layouts.plan(home, 1, "memory", layouts.random_ports(layouts.PORTS_PER_NODE))
    place = laid.nodes[0]
    child = processes.start(laid, place, (*NODE_OPTIONS, *access.options))
    return child, Target(
        name=name,
        pid=child.pid,
        cluster_id=parse_cluster_id(laid.cluster_id),
        addresses={socket: getattr(place, socket) for socket in SOCKETS},
        client=access.client,
        stranger=access.stranger,
    )
