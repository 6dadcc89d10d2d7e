"""Puts this folder and the scripts on sys.path, for `raft_network` and `conformance`."""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent

for _folder in (_HERE, _HERE.parents[2] / "scripts"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))
