"""What the tests of node/ share: settings of a single node that binds only to loopback."""

from pathlib import Path

import pytest

from metastore.node.settings import Settings
from metastore.node.settings_sources import load


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(["--node-id", "1", "--data-dir", str(tmp_path / "data")], {})
