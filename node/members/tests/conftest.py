"""What the tests of registration share; this folder and that of the core's tests on sys.path, for
`scripted_nodes`, `member_cluster` and `raft_network`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metastore.node.members import registration

_HERE = Path(__file__).resolve().parent
for _folder in map(str, (_HERE, _HERE.parents[1] / "raft" / "tests")):
    if _folder not in sys.path:
        sys.path.append(_folder)
from scripted_nodes import Asking, Recorder, ScriptedNode  # noqa: E402  (needs the lines above)


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
