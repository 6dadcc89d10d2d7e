#!/usr/bin/env python3
"""Asks nodes for their RaftStatus with a plain REQ socket: a table, or JSON.

    python3 scripts/zmq_status.py tcp://127.0.0.1:12003 [ENDPOINT ...] [--json] [--watch]

Exit code 1 when a node does not answer within two seconds, 2 for wrong arguments.
"""

import argparse
import json
import sys
import time
from typing import Any

import environment

WATCH_SECONDS = 1.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Show the RaftStatus of nodes.")
    parser.add_argument("endpoints", nargs="+", metavar="ENDPOINT", help="tcp://HOST:PORT")
    parser.add_argument("--json", action="store_true", help="one JSON object per node and line")
    parser.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    parser.add_argument(
        "--full", action="store_true", help="everything a node says of itself (with --json)"
    )
    return parser.parse_args()


def show(options: argparse.Namespace) -> bool:
    """Prints once; returns whether every node answered."""
    from cluster import status

    method = "status" if options.full else "raft_status"
    answers = status.ask_all(options.endpoints, method)
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
    everyone = show(options)
    try:
        while options.watch:
            time.sleep(WATCH_SECONDS)
            if not options.json and sys.stdout.isatty():
                print("\033[H\033[2J", end="")
            everyone = show(options)
    except KeyboardInterrupt:
        pass
    return 0 if everyone else 1


if __name__ == "__main__":
    raise SystemExit(main())
