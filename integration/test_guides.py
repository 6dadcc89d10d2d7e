"""The examples of the guides do what the guides say, against three real nodes."""

import fnmatch
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from node_processes import NodeProcesses

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "guide"
ENDPOINTS = 'endpoints = ["tcp://127.0.0.1:7002"]'

pytestmark = pytest.mark.timeout(120)


def blocks(page: str, language: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of the fenced blocks."""
    text = (GUIDE / page).read_text("utf-8")
    for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start(1)) + 1, found[1]


def transcript(text: str) -> Iterator[tuple[str, list[str]]]:
    """(command, lines that it prints)."""
    command = ""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, lines
            command, lines = line[2:], []
        else:
            lines.append(line)
    yield command, lines


def run(command: str, environment: dict[str, str]) -> list[str]:
    """What it prints; a last line for an exit code that is not 0."""
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60
    )
    code = [f"[exit code {done.returncode}]"] if done.returncode else []
    return [*(line.rstrip() for line in done.stdout.splitlines()), *code]


def fits(lines: Sequence[str], wanted: Sequence[str]) -> bool:
    patterns = [re.sub(r"([*?[])", r"[\1]", line).replace("…", "*") for line in wanted]
    pairs = zip(lines, patterns, strict=False)
    return len(lines) == len(wanted) and all(fnmatch.fnmatchcase(*pair) for pair in pairs)


def test_the_examples_of_the_python_client(cluster: NodeProcesses) -> None:
    names: dict[str, Any] = {}
    for number, text in blocks("python-client.md", "python"):
        code = text.replace(ENDPOINTS, f"endpoints = {cluster.endpoints[:1]}")
        exec(compile("\n" * (number - 1) + code, "python-client.md", "exec"), names)
    assert "main" in names


def test_the_examples_of_the_commands(cluster: NodeProcesses, tmp_path: Path) -> None:
    python = shlex.quote(sys.executable)
    script = tmp_path / "metastore"
    script.write_text(f'#!/bin/sh\nexec {python} -m metastore.client.command.main "$@"\n')
    script.chmod(0o755)
    environment = os.environ | {
        "METASTORE_ENDPOINTS": cluster.endpoints[0],
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    for number, text in blocks("commands.md", "console"):
        for command, wanted in transcript(text):
            lines = run(command, environment)
            assert fits(lines, wanted), f"line {number}: {command}: {lines}, not {wanted}"
