"""Fixtures of the front's tests: certificates. Puts this folder on sys.path, for `fronting` and
`certificates`, and that of gRPC's tests, for `grpc_serving`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from certificates import Authority

_HERE = Path(__file__).resolve().parent
for _folder in (str(_HERE), str(_HERE.parents[1] / "grpc" / "tests")):
    if _folder not in sys.path:
        sys.path.append(_folder)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs the certificates of the whole run: keys take a while to make."""
    from certificates import Authority

    return Authority(tmp_path_factory.mktemp("authority"))
