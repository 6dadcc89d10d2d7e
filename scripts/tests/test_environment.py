"""The bootstrap: when .venv is current, when it is made again, and what a failure says."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import environment
import pytest
from environment import PreparationFailed


class Commands:
    """Instead of running anything, notes what would have been run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, command: Sequence[str], what: str, advice: str) -> None:
        self.lines.append(" ".join(command))
        if "venv" in command:
            environment.VENV.mkdir(exist_ok=True)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "a.py").write_text("")
    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools>=77"]\n')
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    noted = Commands()
    monkeypatch.setattr(environment, "_run", noted)
    return noted


def test_a_missing_environment_is_made_with_the_extras(commands: Commands) -> None:
    environment.prepare(("dev",))
    made, tools, install = commands.lines
    assert "-m venv --clear" in made
    assert tools.endswith("setuptools>=77")
    assert install.endswith(f"editable_mode=strict -e {environment.ROOT}[dev]")


def test_a_current_environment_costs_nothing(commands: Commands) -> None:
    environment.prepare(("dev",))
    commands.lines.clear()
    environment.prepare(("dev",))
    environment.prepare(())
    assert commands.lines == []


def test_a_new_file_needs_an_install_without_any_dependency(commands: Commands) -> None:
    environment.prepare(())
    commands.lines.clear()
    (environment.ROOT / "node" / "b.py").write_text("")
    environment.prepare(())
    (install,) = commands.lines
    assert "--no-deps" in install


def test_a_new_test_needs_nothing(commands: Commands) -> None:
    environment.prepare(())
    commands.lines.clear()
    (environment.ROOT / "node" / "tests").mkdir()
    (environment.ROOT / "node" / "tests" / "test_b.py").write_text("")
    environment.prepare(())
    assert commands.lines == []


def test_a_changed_pyproject_needs_the_dependencies_again(commands: Commands) -> None:
    environment.prepare(())
    commands.lines.clear()
    with (environment.ROOT / "pyproject.toml").open("a") as file:
        file.write("# new\n")
    environment.prepare(())
    assert len(commands.lines) == 2
    assert "--no-deps" not in commands.lines[1]


def test_extras_are_added_to_those_that_are_there(commands: Commands) -> None:
    environment.prepare(("dev",))
    environment.prepare(("rocksdb",))
    assert commands.lines[-1].endswith("[dev,rocksdb]")


def test_a_checkout_that_moved_gets_a_new_environment(commands: Commands) -> None:
    environment.prepare(())
    stamp = environment.VENV / "metastore-stamp.json"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "base": "elsewhere 3.11"}))
    commands.lines.clear()
    environment.prepare(())
    assert "--clear" in commands.lines[0]


def test_a_failed_install_leaves_no_stamp(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.prepare(())
    (environment.ROOT / "node" / "b.py").write_text("")

    def fail(command: Sequence[str], what: str, advice: str) -> None:
        raise PreparationFailed("no network")

    monkeypatch.setattr(environment, "_run", fail)
    with pytest.raises(PreparationFailed):
        environment.prepare(())
    assert not (environment.VENV / "metastore-stamp.json").exists()


def test_a_failure_shows_the_end_of_the_output_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    script = "print('no matching distribution'); raise SystemExit(1)"
    with pytest.raises(PreparationFailed, match=r"could not install:\n  no matching.*\ncheck it"):
        environment._run([sys.executable, "-c", script], "pip could not install", "check it")


def test_an_override_that_is_no_executable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASTORE_PYTHON", "/nowhere/python")
    with pytest.raises(SystemExit, match="METASTORE_PYTHON=/nowhere/python is no executable"):
        environment.enter()


def test_an_override_is_entered_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(environment.__file__).parent)!r})\n"
        "import environment; environment.enter(); print('inside', *sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), "a b"],
        env={"METASTORE_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "inside a b\n"
