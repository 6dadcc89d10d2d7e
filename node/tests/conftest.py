"""What the tests of node/ share: settings of a single node that binds only to loopback, and this
folder on sys.path, for `runtime` and `watchers`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metastore.node.settings import Settings
from metastore.node.settings_sources import load

if TYPE_CHECKING:
    from runtime import Runtime
    from watchers import Bench

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(["--node-id", "1", "--data-dir", str(tmp_path / "data")], {})


@pytest.fixture
def make_runtime(settings: Settings, tmp_path: Path) -> Callable[..., Runtime]:
    """Makes one node of a cluster of `voters`."""
    from runtime import Runtime

    def make(voters: Sequence[int] = (1,), **options: int) -> Runtime:
        return Runtime(settings, tmp_path, voters, **options)

    return make


@pytest.fixture
def alone(make_runtime: Callable[..., Runtime]) -> Runtime:
    """The leader of a cluster of one, its disk idle."""
    node = make_runtime()
    node.lead()
    return node


@pytest.fixture
def leader(make_runtime: Callable[..., Runtime]) -> Runtime:
    """A leader of three that has committed its first entry with node 2."""
    node = make_runtime((1, 2, 3))
    node.lead()
    node.acknowledge()
    return node


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A store and its watches."""
    from watchers import Bench

    bench = Bench(tmp_path / "store")
    yield bench
    bench.store.close()
