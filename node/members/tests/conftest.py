"""What the tests of registration share, and this folder on sys.path, for `scripted_nodes`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metastore.node.members import registration

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)
from scripted_nodes import Asking, Recorder, ScriptedNode  # noqa: E402  (needs the line above)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(registration.logs, "get_logger", lambda **_: recorder)
    monkeypatch.setattr(registration, "PAUSE_S", 0.001)
    monkeypatch.setattr(registration, "PAUSE_S_MAX", 0.01)
    return recorder


@pytest.fixture
def node() -> Iterator[Callable[..., ScriptedNode]]:
    made: list[ScriptedNode] = []

    def make(*args: Any, **kwargs: Any) -> ScriptedNode:
        made.append(ScriptedNode(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def asking(log: Recorder) -> Iterator[Callable[..., Asking]]:
    made: list[Asking] = []

    def make(*args: Any, **kwargs: Any) -> Asking:
        made.append(Asking(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()
