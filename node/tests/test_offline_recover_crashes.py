"""`recover` that is cut short leaves the directory as it was, or as it was to be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from data_directories import (
    CONTENTS,
    ENGINES,
    LAST_INDEX,
    TERM,
    damages,
)
from recovering import AFTER_INDEX, keys, make, run, started

from metastore.node.offline import recover as recover_module
from metastore.node.offline.restore import opened_engine

engines = pytest.mark.parametrize("engine", ENGINES)


class Crash(BaseException):
    pass


def crashing_at(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """The last step fails where a crash would hit it: `before` or `after` the one that counts."""

    @contextmanager
    def opened(path: Path, identity: Any) -> Iterator[Any]:
        with opened_engine(path, identity) as (store, log):
            if not path.name.startswith("recovery"):
                target, name = (store, "install_snapshot") if where == "before" else (log, "append")
                monkeypatch.setattr(target, name, _crash)
            yield store, log

    monkeypatch.setattr(recover_module, "opened_engine", opened)


def _crash(*_: object) -> None:
    raise Crash


@engines
def test_a_crash_before_the_step_that_counts_leaves_the_old_directory(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "data", engine)
    with monkeypatch.context() as patch:
        crashing_at(patch, "before")
        with pytest.raises(Crash):
            run(path)
    with started(path, engine) as (store, found):
        assert found.membership.configuration.voters == (1, 2, 3)
        assert found.mirror.last_index() == LAST_INDEX + 2
        assert b"late" not in keys(store)
    run(path)
    assert not damages(path)


@engines
def test_a_crash_after_the_step_that_counts_leaves_the_new_directory(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "data", engine)
    crashing_at(monkeypatch, "after")
    with pytest.raises(Crash):
        run(path)
    with started(path, engine) as (store, found):
        assert found.membership.removed == (2, 3, 9)
        assert found.mirror.initial_state()[0].term == TERM + 2
        assert keys(store) == CONTENTS | {b"late": b"yes"}


def test_what_a_crash_left_lying_about_does_not_matter(tmp_path: Path) -> None:
    path = make(tmp_path / "data", "memory")
    for name in ("recovery.unfinished", f"before-recovery-{AFTER_INDEX}.unfinished"):
        (path / name / "wal").mkdir(parents=True)
        (path / name / "wal" / "half").write_bytes(b"x")
    (path / "recovered.state").write_bytes(b"half")
    _, done = run(path)
    assert not damages(path)
    assert not (done.kept / "recovered.state").exists()
    assert [child.name for child in path.iterdir() if child.name.endswith(".unfinished")] == []
