"""Where a local cluster lives: the folder that was asked for, a temporary one, or the one still
running.

Decides which layout a launch gets: a kept folder's cluster keeps its ids, its data and, when they
are still free, its ports.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cluster import keys
from cluster import layout as layouts
from cluster.layout import PORTS_PER_NODE, ClusterLayout, LayoutFailed
from cluster.processes import is_running

NODES_DEFAULT = 3
ENGINE_DEFAULT = "memory"
_TEMPORARY_PREFIX = "metastore-"


def prepare(
    directory: Path,
    nodes: int | None,
    engine: str | None,
    base_port: int | None,
    *,
    with_keys: bool = False,
    with_etcd: bool = False,
) -> ClusterLayout:
    """The layout to start in `directory`, written to its cluster.json. None: not asked for. Raises
    LayoutFailed when the folder's cluster is another one than asked for, or runs already; and
    KeyFileInvalid for keys that cannot be made."""
    directory.mkdir(parents=True, exist_ok=True)
    kept = layouts.read(directory)
    if kept is None:
        count = nodes or NODES_DEFAULT
        laid = layouts.plan(directory, count, engine or ENGINE_DEFAULT, _ports(count, base_port))
        if with_keys:
            laid = replace(laid, keys=keys.make(directory))
    elif with_keys and kept.keys is None:
        raise LayoutFailed(
            f"{directory} holds a cluster without keys; choose another --data-dir, or delete this "
            "one with its data"
        )
    else:
        laid = _reuse(directory, kept, nodes, engine, base_port)
    if with_etcd and not laid.nodes[0].etcd:
        laid = layouts.with_gateways(laid, _gateway_ports(len(laid.nodes), base_port))
    layouts.write(directory, laid)
    return laid


def _reuse(
    directory: Path,
    kept: ClusterLayout,
    nodes: int | None,
    engine: str | None,
    base_port: int | None,
) -> ClusterLayout:
    running = [str(node.node_id) for node in kept.nodes if is_running(node)]
    if running:
        raise LayoutFailed(
            f"the cluster in {directory} runs already (nodes {', '.join(running)}); "
            f"stop it with --stop --data-dir {directory}"
        )
    for name, asked, has in (("nodes", nodes, len(kept.nodes)), ("engine", engine, kept.engine)):
        if asked is not None and asked != has:
            raise LayoutFailed(
                f"{directory} holds a cluster with --{name} {has}, not {asked}; "
                "choose another --data-dir, or delete this one with its data"
            )
    fresh = replace(kept, nodes=[replace(node, pid=0) for node in kept.nodes])
    if base_port is None and all(layouts.is_free(port) for port in layouts.ports_of(kept)):
        return fresh
    moved = layouts.moved(fresh, _ports(len(kept.nodes), base_port))
    if not kept.nodes[0].etcd:
        return moved
    return layouts.with_gateways(moved, _gateway_ports(len(kept.nodes), base_port))


def _ports(nodes: int, base_port: int | None) -> list[int]:
    count = nodes * PORTS_PER_NODE
    if base_port is None:
        return layouts.random_ports(count)
    return layouts.consecutive_ports(base_port, count)


def _gateway_ports(nodes: int, base_port: int | None) -> list[int]:
    """Behind those of the nodes."""
    if base_port is None:
        return layouts.random_ports(nodes)
    return layouts.consecutive_ports(base_port + nodes * PORTS_PER_NODE, nodes)


def temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX))


def find_detached(directory: Path | None) -> tuple[Path, ClusterLayout]:
    """The cluster that --stop and --start mean: the one in `directory`, else the only temporary one
    of which a node still runs. Raises LayoutFailed when there is none or more than one."""
    if directory is not None:
        laid = layouts.read(directory)
        if laid is None:
            raise LayoutFailed(f"there is no cluster in {directory} (no cluster.json)")
        return directory, laid
    found = _running_temporaries()
    if len(found) == 1:
        return found[0]
    if not found:
        raise LayoutFailed("no detached cluster runs from a temporary folder; give --data-dir DIR")
    choices = "\n".join(f"  --data-dir {folder}" for folder, _ in found)
    raise LayoutFailed(f"several detached clusters run; say which:\n{choices}")


def _running_temporaries() -> Sequence[tuple[Path, ClusterLayout]]:
    found = []
    for path in sorted(Path(tempfile.gettempdir()).glob(_TEMPORARY_PREFIX + "*/cluster.json")):
        try:
            laid = layouts.read(path.parent)
        except LayoutFailed:
            continue  # somebody else's folder
        if laid is not None and any(is_running(node) for node in laid.nodes):
            found.append((path.parent, laid))
    return found
