"""The core reproduces every datadriven file byte for byte, logs included."""

import subprocess
import sys
from pathlib import Path

import pytest
from conformance.runner import run_file

DATA = Path(__file__).resolve().parent / "data"
SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "raft_conformance.py"
FILES = sorted(DATA.rglob("*.txt"))


def test_all_files_of_the_suite_are_here() -> None:
    assert len(FILES) == 29


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DATA)))
def test_the_core_reproduces(path: Path) -> None:
    outcome = run_file(path)
    assert outcome.passed, outcome.report


def _write(folder: Path, text: str) -> Path:
    path = folder / "file.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_difference_is_shown_as_a_diff_with_the_place_of_its_directive(tmp_path: Path) -> None:
    path = _write(tmp_path, "# why\nlog-level none\n----\nok\n\nstabilize\n----\nnot ok\n")
    report = run_file(path).report
    assert f"--- {path}:6 stabilize (expected)" in report
    assert "-not ok\n" in report
    assert "+ok\n" in report


def test_only_the_first_difference_of_a_file_is_shown(tmp_path: Path) -> None:
    path = _write(tmp_path, "stabilize\n----\none\n\nstabilize\n----\ntwo\n")
    assert "two" not in run_file(path).report


def test_an_unknown_command_beside_known_ones_answers_so(tmp_path: Path) -> None:
    path = _write(tmp_path, "fly 1\n----\nunknown command\n\nstabilize\n----\nok\n")
    assert run_file(path).passed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no directive of an interaction, quorum or confchange file"),
        ("hello world\n----\n", "no directive of an interaction, quorum or confchange file"),
        ("stabilize\n", "has no '----' line"),
        ("campaign 1\n----\n", "there is no node 1"),
        ("add-nodes x\n----\n", "'x' is not a number"),
        ("add-nodes 1 voters=(1\n----\n", "parentheses do not match"),
        ("simple\nx1\n----\n", "'x1' is not a change"),
        ("vote cfg=(1) votes=(maybe)\n----\n", "a vote is y, n or _"),
    ],
)
def test_a_malformed_file_fails_with_one_clear_line(tmp_path: Path, text: str, reason: str) -> None:
    report = run_file(_write(tmp_path, text)).report
    assert reason in report
    assert report.count("\n") == 1


def test_a_file_that_cannot_be_read_fails_with_one_clear_line(tmp_path: Path) -> None:
    report = run_file(tmp_path / "absent.txt").report
    assert "cannot be read" in report
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe")
    assert "not UTF-8 text" in run_file(binary).report


def _script(*paths: Path) -> subprocess.CompletedProcess[str]:
    # -E -S: neither PYTHONPATH nor installed packages may help it.
    command = [sys.executable, "-E", "-S", str(SCRIPT), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_script_runs_files_and_folders_without_an_installed_package(tmp_path: Path) -> None:
    passed = _script(DATA / "quorum", DATA / "testdata" / "single_node.txt")
    assert (passed.returncode, passed.stdout) == (0, "4 passed, 0 failed\n")
    failed = _script(DATA / "quorum", tmp_path / "absent.txt")
    assert failed.returncode == 1
    assert failed.stdout.endswith("3 passed, 1 failed\n")
    assert failed.stderr == ""
