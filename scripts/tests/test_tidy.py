"""The tree keeps the rules of scripts/tidy.py, and every rule fails on a sample that breaks it."""

import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
import tidy
from tidy import Source

SOURCES = tidy.read_tree()


def sample(path: str, text: str) -> Source:
    return Source(PurePosixPath(path), text)


def sentences(rule: str, source: Source) -> list[str]:
    return list(tidy.RULES[rule](source))


@pytest.mark.parametrize("rule", tidy.RULES)
def test_the_tree_keeps_the_rule(rule: str) -> None:
    broken = [line for line in tidy.problems(SOURCES) if f": {rule}: " in line]
    assert not broken, "\n".join(broken)


def test_the_tree_is_read() -> None:
    assert {str(source.path) for source in SOURCES} >= {"node/raft/model.py", "scripts/check"}


def test_every_package_is_listed_in_pyproject() -> None:
    assert not list(tidy.check_packages(tidy.ROOT, SOURCES))


def test_no_module_is_dead() -> None:
    assert not list(tidy.check_no_dead_module(SOURCES))


def test_every_exception_has_a_reason_and_is_still_needed() -> None:
    assert all(reason.strip() for reason in tidy.EXCEPTIONS.values())
    assert not list(tidy.unused_exceptions(SOURCES))


BAD = [
    ("file length", "node/a.py", "x = 1\n" * 301),
    ("function length", "node/a.py", "def f():\n" + "    x = 1\n" * 40),
    ("line length", "node/a.py", "x = " + "1" * 97),
    ("imports", "node/raft/a.py", "import threading"),
    ("imports", "node/raft/a.py", "import time"),
    ("imports", "node/raft/a.py", "from os.path import join"),
    ("imports", "node/raft/a.py", "from metastore.node import codec"),
    ("imports", "node/raft/a.py", "from .. import codec"),
    ("imports", "node/raft/a.py", "def f():\n    import zmq"),
    ("imports", "node/a.py", "from metastore.client import Client"),
    ("imports", "engines/a.py", "from metastore.node.raft.model import Entry"),
    ("imports", "engines/memory/a.py", "from metastore.transport import peers"),
    ("imports", "engines/a.py", "from metastore.transport.envelope import Kind"),
    ("imports", "transport/a.py", "import metastore.node"),
    ("imports", "transport/a.py", "from metastore.engines.contract import Store"),
    ("imports", "client/a.py", "def f():\n    from metastore.node import process"),
    ("imports", "client/a.py", "from metastore.engines import contract"),
    ("imports", "client/command/serve.py", "from metastore.node import process"),
    ("imports", "client/command/verify.py", "from metastore.node.offline import verify"),
    ("imports", "client/command/load.py", "def f():\n    from metastore.node import process"),
    ("glossary", "node/raft/a.py", "commit_idx = 1"),
    ("glossary", "node/raft/a.py", "def acked(self): ..."),
    ("glossary", "node/raft/a.py", "def f(epoch): ..."),
    ("glossary", "node/raft/a.py", "raft.journal.append(1)"),
    ("glossary", "node/raft/a.py", "class X:\n    applied_index: int = 0"),
    ("name", "node/select.py", "x = 1"),
    ("name", "scripts/json/a.py", "x = 1"),
    ("name", "node/utils.py", "x = 1"),
    ("name", "client/helpers/a.py", "x = 1"),
    ("docstring", "node/a.py", "x = 1"),
    ("docstring", "node/tests/test_a.py", "x = 1"),
    ("no print", "engines/a.py", "def f():\n    print(1)"),
    ("no assert", "engines/a.py", "assert True"),
    ("nothing unfinished", "scripts/a.py", "x = 1  # " + tidy.UNFINISHED[0] + " later"),
    ("tests are no package", "node/tests/__init__.py", ""),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_a_bad_sample_breaks_the_rule(rule: str, path: str, text: str) -> None:
    assert sentences(rule, sample(path, text))


GOOD = [
    ("file length", "node/a.py", "x = 1\n" * 300),
    ("function length", "node/a.py", "def f():\n" + "    x = 1\n" * 39),
    ("line length", "node/a.py", "x = " + "1" * 96),
    ("imports", "node/raft/a.py", "from collections.abc import Sequence\nimport enum"),
    ("imports", "node/raft/a.py", "from metastore.node.raft.model import Entry"),
    ("imports", "node/raft/tests/test_a.py", "import time"),
    ("imports", "engines/a.py", "from metastore.transport import schema"),
    ("imports", "engines/a.py", "from metastore.transport.schema import Op\nimport os"),
    ("imports", "node/a.py", "from metastore.engines.contract import Store"),
    ("imports", "client/command/serve.py", "def f():\n    from metastore.node import process"),
    ("imports", "client/command/verify.py", "def f():\n    from metastore.node import offline"),
    ("glossary", "node/raft/a.py", "index = 1"),
    ("glossary", "node/a.py", "epoch = 1"),
    ("name", "node/status.py", "x = 1"),
    ("docstring", "node/a.py", '"""Here."""\nx = 1'),
    ("docstring", "node/__init__.py", ""),
    ("no print", "scripts/a.py", "print(1)"),
    ("no assert", "engines/tests/test_a.py", "assert True"),
]


@pytest.mark.parametrize(("rule", "path", "text"), GOOD)
def test_a_good_sample_keeps_the_rule(rule: str, path: str, text: str) -> None:
    assert not sentences(rule, sample(path, text))


def test_a_package_that_is_not_listed_is_found(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.setuptools]\npackages = ["metastore.node"]\n')
    sources = [sample("node/a.py", ""), sample("node/raft/b.py", "")]
    found = list(tidy.check_packages(tmp_path, sources))
    assert [line for line in found if "metastore.node.raft" in line]
    assert [line for line in found if "node/py.typed" in line]
    assert [line for line in tidy.check_packages(tmp_path, []) if "has no module" in line]


def test_a_module_that_nothing_imports_is_found() -> None:
    dead = [sample("node/a.py", ""), sample("node/tests/test_a.py", "import metastore.node.a")]
    assert list(tidy.check_no_dead_module(dead))
    alive = [sample("node/a.py", ""), sample("node/main.py", "from metastore.node import a")]
    assert not list(tidy.check_no_dead_module(alive))


def test_an_exception_that_is_no_longer_needed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "EXCEPTIONS", {("node/a.py", "docstring"): "old"})
    assert list(tidy.unused_exceptions([sample("node/a.py", '"""Has one."""')]))
    assert not list(tidy.unused_exceptions([sample("node/a.py", "x = 1")]))
    assert not [line for line in tidy.problems([sample("node/a.py", "x = 1")]) if "doc" in line]


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    """A tree that keeps every rule, this program in it."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(tidy.__file__, tmp_path / "scripts")
    (tmp_path / "client").mkdir()
    (tmp_path / "client/__init__.py").write_text("")
    (tmp_path / "client/py.typed").touch()
    (tmp_path / "pyproject.toml").write_text('[tool.setuptools]\npackages = ["metastore.client"]\n')
    return tmp_path


def run_tidy(tree: Path) -> tuple[int, list[str]]:
    command = [sys.executable, "scripts/tidy.py"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_the_command_says_nothing_of_a_tree_that_keeps_the_rules(small_tree: Path) -> None:
    assert run_tidy(small_tree) == (0, [])


def test_the_command_prints_every_broken_rule_and_leaves_with_1(small_tree: Path) -> None:
    (small_tree / "client/a.py").write_text("x = 1\n" * 301)
    (small_tree / "client/py.typed").unlink()
    code, lines = run_tidy(small_tree)
    assert code == 1
    assert set(lines) == {
        "client/a.py: file length: 301 lines, at most 300",
        "client/a.py: docstring: the module does not open with a docstring",
        "client/a.py: nothing imports this module",
        "client/py.typed is missing",
    }
    program = small_tree / "scripts/tidy.py"
    needless = 'EXCEPTIONS: dict[tuple[str, str], str] = {("client/b.py", "name"): "why"}'
    exceptions = "EXCEPTIONS: dict[tuple[str, str], str] = {}"
    program.write_text(program.read_text("utf-8").replace(exceptions, needless))
    assert "client/b.py no longer needs its exception from: name" in run_tidy(small_tree)[1]
