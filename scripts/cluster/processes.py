"""The node processes of a local cluster: how one is started, recognised, stopped and mourned.

A pid from cluster.json is trusted only while its command line is that of the node it was written
for: after a reboot or a long time the same number belongs to somebody else.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cluster.layout import ClusterLayout, NodeLayout

STOP_SECONDS = 5.0  # between SIGTERM and SIGKILL; a node promises to be gone within two
_POLL_SECONDS = 0.05
_LOG_LINES_SHOWN = 15
_LOG_TAIL_BYTES = 64 * 1024


def command(layout: ClusterLayout, node: NodeLayout, extra: Sequence[str] = ()) -> list[str]:
    members = [part for peer in layout.nodes for part in ("--member", peer.member)]
    return [
        *(sys.executable, "-m", "metastore.node"),
        *("--node-id", str(node.node_id)),
        *("--cluster-id", layout.cluster_id),
        *("--data-dir", node.data_dir),
        *("--engine", layout.engine),
        *("--peer-bind", node.peer),
        *("--client-bind", node.client),
        *("--status-bind", node.status),
        *("--snapshot-bind", node.snapshot),
        *(("--etcd", node.etcd, "--etcd-advertise", node.etcd) if node.etcd else ()),
        *members,
        *(layout.keys.node_options if layout.keys is not None else ()),
        *extra,
    ]


def start(
    layout: ClusterLayout, node: NodeLayout, extra: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """The node runs in a session of its own: Ctrl-C reaches only the launcher, which stops the
    nodes in order, and a detached node outlives the terminal. Its output is appended to its log."""
    with Path(node.log).open("ab") as log:
        return subprocess.Popen(
            command(layout, node, extra),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment(os.environ),
        )


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """METASTORE_PYTHON and its mark are the scripts'; a node refuses METASTORE_ names it does not
    know. The settings among them do reach the nodes."""
    return {name: value for name, value in ours.items() if not name.startswith("METASTORE_PYTHON")}


def is_running(node: NodeLayout) -> bool:
    if node.pid <= 0:
        return False
    try:
        os.kill(node.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # another user's process: the number was given away
    line = _command_line(node.pid)
    # None: no /proc here, the signal's answer must do. A zombie has an empty line: it is dead.
    return line is None or (b"metastore.node" in line and os.fsencode(node.data_dir) in line)


def _command_line(pid: int) -> Sequence[bytes] | None:
    if not Path("/proc/self/cmdline").exists():
        return None
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ()


def stop(
    nodes: Sequence[NodeLayout], running: Callable[[NodeLayout], bool] = is_running
) -> list[int]:
    """SIGTERM to all, SIGKILL after STOP_SECONDS to those still there. Returns the ids that had to
    be killed."""
    left = [node for node in nodes if running(node)]
    for node in left:
        _signal(node.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        left = [node for node in left if running(node)]
    for node in left:
        _signal(node.pid, signal.SIGKILL)
    return [node.node_id for node in left]


def _signal(pid: int, number: signal.Signals) -> None:
    # It may end between the look and the signal, which is what was wanted.
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def log_tail(path: Path, lines: int = _LOG_LINES_SHOWN) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"  (no log: {error})"
    return "\n".join("  " + line for line in text.splitlines()[-lines:]) or "  (the log is empty)"


def obituary(node: NodeLayout, returncode: int | None) -> str:
    """What a person wants to know of a node that died."""
    if returncode is None:
        how = "is gone"
    elif returncode < 0:
        how = f"was killed by {signal.Signals(-returncode).name}"
    else:
        how = f"ended with exit code {returncode}"
    return f"node {node.node_id} {how}; the end of {node.log}:\n{log_tail(Path(node.log))}"
