"""Puts this folder and the core's tests on sys.path, for `member_cluster`, `member_records` and
`raft_network`."""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent

for _folder in (_HERE, _HERE.parents[1] / "raft" / "tests"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))
