"""A stand-in for a node process: takes a node's flags and answers the status socket, no more.

Its --engine says how it behaves: "memory" well, "leaderless" knows no leader, "dies" ends at once
with exit code 3, "stubborn" ignores SIGTERM.
"""

import argparse
import signal
import sys

import msgpack
import zmq


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("module")  # "metastore.node", by which a launcher knows its processes
    for name in ("--node-id", "--engine", "--status-bind"):
        parser.add_argument(name, required=True)
    options, _ = parser.parse_known_args()
    if options.engine == "dies":
        sys.exit("the stub has its reasons" if options.node_id == "2" else 3)
    if options.engine == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leader = 0 if options.engine == "leaderless" else 1
    status = {
        "node_id": int(options.node_id),
        "term": 7,
        "leader_id": leader,
        "state": "leader" if int(options.node_id) == leader else "follower",
        "applied": 5,
        "commit": 6,
    }
    socket = zmq.Context().socket(zmq.REP)
    socket.bind(options.status_bind)
    while True:
        socket.recv()
        socket.send(msgpack.packb(status))


if __name__ == "__main__":
    main()
