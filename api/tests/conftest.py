"""This folder on sys.path, and the client's scripted nodes: `scripted_link` and its like."""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
for _folder in (_HERE, _HERE.parents[1] / "client" / "tests"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))
