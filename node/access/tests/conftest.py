"""What the tests of node/access share: an access file that can change, and this folder on sys.path,
for `doors`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metastore.node.access.file import AccessFile

if TYPE_CHECKING:
    from doors import Door

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)


@pytest.fixture
def door() -> Door:
    from doors import Door

    return Door()


@pytest.fixture
def access(tmp_path: Path) -> AccessFile:
    from doors import NODE, TEXT

    path = tmp_path / "access.toml"
    path.write_text(TEXT)
    return AccessFile(path, NODE)


@pytest.fixture
def change(tmp_path: Path, access: AccessFile) -> Callable[[str], None]:
    def change_file(text: str) -> None:
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(tmp_path / "access.toml")
        access.reload_if_changed()
        assert access.problem == ""

    return change_file
