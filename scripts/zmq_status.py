#!/usr/bin/env python3
"""Asks nodes for their RaftStatus with a REQ socket: a table, or JSON.

    python3 scripts/zmq_status.py tcp://127.0.0.1:12003 [ENDPOINT ...] [--json] [--watch]
                                  [--key-file PATH --server-key=KEY ...]

Exit code 1 when a node does not answer within two seconds, 2 for wrong arguments.
"""

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import environment

if TYPE_CHECKING:
    from cluster.status import Keys

WATCH_SECONDS = 1.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Show the RaftStatus of nodes.")
    parser.add_argument("endpoints", nargs="+", metavar="ENDPOINT", help="tcp://HOST:PORT")
    parser.add_argument("--json", action="store_true", help="one JSON object per node and line")
    parser.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    parser.add_argument(
        "--full", action="store_true", help="everything a node says of itself (with --json)"
    )
    parser.add_argument(
        "--key-file",
        default=os.environ.get("METASTORE_CLIENT_KEY_FILE"),
        metavar="PATH",
        help="our key, for nodes that use keys [env METASTORE_CLIENT_KEY_FILE]",
    )
    parser.add_argument(
        "--server-key",
        action="append",
        metavar="KEY[,KEY...]",
        help="public key that the nodes may have; repeatable [env METASTORE_CLIENT_SERVER_KEYS]",
    )
    return parser.parse_args()


def read_keys(options: argparse.Namespace) -> "Keys | None":
    """Raises KeyInvalid."""
    from cluster.status import Keys

    from metastore.transport.errors import KeyInvalid
    from metastore.transport.security import check_public_key, read_key_file

    texts = options.server_key or [os.environ.get("METASTORE_CLIENT_SERVER_KEYS", "")]
    server_keys = [key for key in ",".join(texts).split(",") if key]
    if not options.key_file and not server_keys:
        return None
    if not options.key_file or not server_keys:
        raise KeyInvalid("--key-file and --server-key go together: give both or neither")
    for key in server_keys:
        check_public_key(key)
    return Keys(*read_key_file(options.key_file), server_keys)


def show(options: argparse.Namespace, keys: "Keys | None") -> bool:
    """Prints once; returns whether every node answered."""
    from cluster import status

    method = "status" if options.full else "raft_status"
    answers = status.ask_all(options.endpoints, method, keys=keys)
    if options.json:
        for answer in answers:
            document: dict[str, Any] = {"endpoint": answer.endpoint, **answer.status}
            if answer.problem:
                document["problem"] = answer.problem
            print(json.dumps(document, default=repr), flush=True)
    else:
        print(status.status_table(answers), flush=True)
    return not any(answer.problem for answer in answers)


def main() -> int:
    options = arguments()
    environment.enter()
    try:
        keys = read_keys(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    everyone = show(options, keys)
    try:
        while options.watch:
            time.sleep(WATCH_SECONDS)
            if not options.json and sys.stdout.isatty():
                print("\033[H\033[2J", end="")
            everyone = show(options, keys)
    except KeyboardInterrupt:
        pass
    return 0 if everyone else 1


if __name__ == "__main__":
    raise SystemExit(main())
