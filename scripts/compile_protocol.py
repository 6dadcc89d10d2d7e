#!/usr/bin/env python3
"""Compiles the .proto files of the etcd API into the one descriptor file that the gateway loads.

    python3 scripts/compile_protocol.py

Only after a change of a .proto file. A test compares the two.
"""

import sys
from pathlib import Path

import environment

FOLDER = environment.ROOT / "api" / "protocol"
SOURCES = ("rpc.proto", "lock.proto", "election.proto")


def compile_to(target: Path) -> int:
    """protoc's exit code."""
    from grpc_tools import protoc

    arguments = ["protoc", f"-I{FOLDER}", "--include_imports", f"--descriptor_set_out={target}"]
    return int(protoc.main([*arguments, *SOURCES]))


def main() -> int:
    environment.enter(extras=("dev",))
    code = compile_to(FOLDER / "etcd.binpb")
    if code:
        print("error: protoc failed; etcd.binpb may be incomplete", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
