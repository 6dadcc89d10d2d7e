"""The checks that run_tests.py, check and fix share: named steps, run one after the other.

A failed step never hides the next one; the summary at the end names every step and how long it
took.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from environment import PACKAGE_FOLDERS, ROOT

FAST_FOLDERS = ("node", "transport", "engines", "client", "api", "scripts")
# ruff looks only at files that end in .py unless told
COMMANDS = ("scripts/bench", "scripts/check", "scripts/fix", "scripts/fuzz")


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def format_check() -> Step:
    return Step("format", _module("ruff", "format", "--check", "--quiet", ".", *COMMANDS))


def lint() -> Step:
    return Step("lint", _module("ruff", "check", "--quiet", ".", *COMMANDS))


def types() -> Step:
    folders = [name for name in PACKAGE_FOLDERS if (ROOT / name).is_dir()]
    packages = [part for name in folders for part in ("-p", f"metastore.{name}")]
    return Step("types", _module("mypy", "--strict", *packages))


def all_tests(arguments: Sequence[str]) -> Step:
    """Says why each skipped test was: what a machine cannot do must not look as if it passed.

    Two files of tests at a time: most of their time is waiting for processes."""
    coverage = ("--cov=metastore", "--cov-report=term:skip-covered")
    side_by_side = ("-n", "2", "--dist", "loadfile")
    return Step("tests", _module("pytest", "-rs", *side_by_side, *coverage, *arguments))


def fast_tests() -> Step:
    """Without the tests across processes; leaves nothing behind."""
    folders = [name for name in FAST_FOLDERS if (ROOT / name).is_dir()]
    quiet = {"PYTHONDONTWRITEBYTECODE": "1"}
    return Step("tests", _module("pytest", "-p", "no:cacheprovider", *folders), quiet)


def fixes() -> Sequence[Step]:
    return (
        Step("lint", _module("ruff", "check", "--fix", "--quiet", ".", *COMMANDS)),
        Step("format", _module("ruff", "format", "--quiet", ".", *COMMANDS)),
    )


def run(steps: Sequence[Step]) -> int:
    """Runs all steps; returns the exit code: that of the first failed step, 0 when all passed."""
    summary: list[str] = []
    code = 0
    for step in steps:
        print(f"== {step.name}: {' '.join(step.command[2:])}", flush=True)
        started = time.monotonic()
        done = subprocess.run(
            step.command, cwd=ROOT, env={**os.environ, **step.environment}, check=False
        )
        code = code or done.returncode
        verdict = f"FAILED ({done.returncode})" if done.returncode else "ok"
        summary.append(f"{step.name} {verdict} in {time.monotonic() - started:.0f} s")
    print("== " + "; ".join(summary))
    return code


def _module(name: str, *arguments: str) -> Sequence[str]:
    return (sys.executable, "-m", name, *arguments)
