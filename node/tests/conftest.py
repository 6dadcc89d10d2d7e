"""What the tests of node/ share: settings of a single node that binds only to loopback, and this
folder on sys.path, for `runtime`."""

import sys
from pathlib import Path

import pytest

from metastore.node.settings import Settings
from metastore.node.settings_sources import load

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(["--node-id", "1", "--data-dir", str(tmp_path / "data")], {})
