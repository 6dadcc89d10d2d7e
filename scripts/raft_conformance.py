#!/usr/bin/env python3
"""Runs datadriven Raft files against the core: raft_conformance.py FILE_OR_FOLDER...

Each file is an interaction, quorum or confchange file, told apart by its commands. Prints the first
difference of each failed file and ends with `N passed, N failed`. Exit code 0 when all passed, 1
when any failed or could not be read, 2 for a wrong command line. Needs nothing but Python: from a
checkout that is not installed it takes the packages from the checkout's folders.
"""

import argparse
import importlib
import sys
import types
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE_OR_FOLDER")
    paths = parser.parse_args(arguments).paths
    make_importable()
    from conformance.runner import find_files, run_file

    counts = {True: 0, False: 0}
    for path in paths:
        files = list(find_files([path]))
        if not files:
            print(f"{path}: no .txt file in this folder")
            counts[False] += 1
        for file in files:
            outcome = run_file(file)
            counts[outcome.passed] += 1
            print(outcome.report, end="")
    print(f"{counts[True]} passed, {counts[False]} failed")
    return 1 if counts[False] else 0


def make_importable() -> None:
    """Takes `metastore.node.raft` from the checkout of this script, unless it is importable."""
    try:
        importlib.import_module("metastore.node.raft.model")
        return
    except ModuleNotFoundError:
        pass
    package = types.ModuleType("metastore")
    package.__path__ = [str(Path(__file__).resolve().parent.parent)]
    for name in [name for name in sys.modules if name.split(".")[0] == "metastore"]:
        del sys.modules[name]
    sys.modules["metastore"] = package


if __name__ == "__main__":
    sys.exit(main())
