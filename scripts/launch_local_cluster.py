#!/usr/bin/env python3
"""Starts a local cluster of real node processes, shows it, and stays until Ctrl-C.

    python3 scripts/launch_local_cluster.py [--nodes N] [--engine memory|rocksdb] [--data-dir DIR]
                                            [--base-port P] [--keys] [--etcd] [--detach]
    python3 scripts/launch_local_cluster.py --stop [--data-dir DIR]
    python3 scripts/launch_local_cluster.py --start NODE_ID [--data-dir DIR]

Needs only Python 3.11 with venv. DIR/cluster.json says where everything is; exit code 1 when the
cluster does not come up (with the end of the log of the node at fault), 2 for wrong arguments.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from cluster.layout import ClusterLayout
    from cluster.session import Session
    from cluster.status import Answer


SCRIPT = "scripts/launch_local_cluster.py"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Start, stay with, or stop a local cluster.")
    parser.add_argument("--nodes", type=_node_count, metavar="N", help="how many (default 3)")
    parser.add_argument("--engine", choices=("memory", "rocksdb"), help="default memory")
    parser.add_argument(
        "--data-dir",
        type=lambda text: Path(text).absolute(),
        metavar="DIR",
        help="kept, and used again when it holds a cluster (default: a temporary one)",
    )
    parser.add_argument(
        "--base-port", type=int, metavar="P", help="first of 4 ports per node (default: free ones)"
    )
    parser.add_argument(
        "--keys",
        action="store_true",
        help="encrypt everything; makes keys and an access file in DIR/keys (a kept cluster that "
        "has keys uses them in any case)",
    )
    parser.add_argument(
        "--etcd",
        action="store_true",
        help="give every node a gateway that etcd's clients talk to (a kept cluster that has them "
        "starts them in any case)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--detach", action="store_true", help="return once there is a leader")
    what.add_argument("--stop", action="store_true", help="stop a detached cluster")
    what.add_argument(
        "--start", type=int, metavar="NODE_ID", help="start one node of a detached cluster again"
    )
    return parser.parse_args()


def _node_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError("a number from 1 to 64")
    return int(text)


def launch(options: argparse.Namespace) -> int:
    from cluster import folders
    from cluster.session import Interrupted, LaunchFailed, Session, interrupt_on_signals

    directory = options.data_dir or folders.temporary()
    laid = folders.prepare(
        directory,
        options.nodes,
        options.engine,
        options.base_port,
        with_keys=options.keys,
        with_etcd=options.etcd,
    )
    session = Session(directory, laid)
    keep = options.data_dir is not None
    interrupt_on_signals()
    try:
        print(f"Starting {len(laid.nodes)} nodes in {directory} ...", flush=True)
        session.start(laid.nodes)
        answers = session.wait_for_leader()
        session.wait_for_gateways()
        show(session, answers)
        if options.detach:
            print(f"\nStop it: python3 {SCRIPT} --data-dir {directory} --stop")
            return 0
        print("\nCtrl-C stops everything.", flush=True)
        session.watch()
        print("error: no node is left", file=sys.stderr)
        keep = True
        return 1
    except Interrupted:
        print("\nStopping ...", flush=True)
        return stop_session(session, keep)
    except LaunchFailed as failure:
        print(f"error: {failure}\nThe files stay in {directory}", file=sys.stderr)
        stop_session(session, keep=True)
        return 1
    except BaseException:
        stop_session(session, keep=True)
        raise


def stop_session(session: "Session", keep: bool) -> int:
    from cluster.session import ignore_signals

    ignore_signals()
    _report_stopped(session.stop())
    if not keep:
        shutil.rmtree(session.directory, ignore_errors=True)
    return 0


def stop_detached(options: argparse.Namespace) -> int:
    from cluster import folders, processes

    directory, laid = folders.find_detached(options.data_dir)
    running = [node for node in laid.nodes if processes.is_running(node)]
    _report_stopped(processes.stop(running))
    print(f"Stopped {len(running)} of {len(laid.nodes)} nodes; the files stay in {directory}")
    return 0


def _report_stopped(killed: list[int]) -> None:
    for node_id in killed:
        print(f"node {node_id} did not stop on SIGTERM and was killed", file=sys.stderr)


def start_one(options: argparse.Namespace) -> int:
    from cluster import folders, processes
    from cluster.session import LaunchFailed, Session

    directory, laid = folders.find_detached(options.data_dir)
    node = laid.node(options.start)
    if processes.is_running(node):
        print(f"node {node.node_id} runs already (pid {node.pid})", file=sys.stderr)
        return 1
    session = Session(directory, laid)
    session.start([node])
    try:
        show(session, session.wait_for_leader())
    except LaunchFailed as failure:
        # It stays, if it lives: without a majority there is no leader, and the next node brings
        # one.
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


def show(session: "Session", answers: "Sequence[Answer]") -> None:
    from cluster import status

    laid = session.laid
    by_status = {node.status: node for node in laid.nodes}
    nodes = [by_status[answer.endpoint] for answer in answers]
    extra = {
        "pid": [str(node.pid) for node in nodes],
        "client endpoint": [node.client for node in nodes],
        "peer endpoint": [node.peer for node in nodes],
    }
    if nodes and nodes[0].etcd:
        extra["etcd endpoint"] = [node.etcd for node in nodes]
    print(f"\n{status.status_table(answers, extra)}\n")
    print(next_steps(session.directory, laid), flush=True)


def next_steps(directory: Path, laid: "ClusterLayout") -> str:
    command = Path(sys.executable).parent / "metastore"
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    tool = f"  {command} --cluster {directory}"
    return "\n".join(
        (
            "Try next, in another terminal:",
            *([f"  {laid.keys.exports}"] if laid.keys is not None else []),
            f"{tool} put greeting hello",
            f"{tool} get greeting",
            f"{tool} status",
            f"  python3 scripts/zmq_status.py {' '.join(node.status for node in laid.nodes)}",
            *_etcd_steps(laid),
            f"Logs: {directory}/node-*.log   Everything else: {directory}/cluster.json",
        )
    )


def _etcd_steps(laid: "ClusterLayout") -> Sequence[str]:
    urls = ",".join(node.etcd for node in laid.nodes if node.etcd)
    return [f"  etcdctl --endpoints={urls} endpoint status -w table"] if urls else []


def main() -> int:
    options = arguments()
    extras = {"rocksdb": options.engine == "rocksdb", "etcd": options.etcd}
    environment.enter(extras=[name for name, is_wanted in extras.items() if is_wanted])
    from cluster.layout import LayoutFailed

    from metastore.transport.errors import KeyFileInvalid

    try:
        if options.stop:
            return stop_detached(options)
        if options.start is not None:
            return start_one(options)
        return launch(options)
    except (LayoutFailed, KeyFileInvalid) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
