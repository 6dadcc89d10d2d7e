"""Runs data files of the three kinds and says where each first differs from what it expects."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from conformance.configuration_files import ConfigurationRunner
from conformance.datadriven import Directive, MalformedFile, read_directives
from conformance.interaction import COMMANDS, InteractionRunner
from conformance.quorum_files import QuorumRunner


class _Runner(Protocol):
    def run(self, directive: Directive) -> str: ...


_KINDS: tuple[tuple[frozenset[str], type[_Runner]], ...] = (
    (frozenset(COMMANDS), InteractionRunner),
    (frozenset(("committed", "vote")), QuorumRunner),
    (frozenset(("simple", "enter-joint", "leave-joint")), ConfigurationRunner),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What running one file gave. `report` is empty when it passed."""

    path: Path
    report: str = ""

    @property
    def passed(self) -> bool:
        return not self.report


def run_file(path: Path) -> Outcome:
    """Runs a file up to its first difference: what follows would only be its consequence."""
    try:
        directives = read_directives(path)
        runner = _runner_for(directives)
        for directive in directives:
            if report := _difference(path, directive, runner):
                return Outcome(path, report)
    except OSError as error:
        return Outcome(path, f"{path}: cannot be read: {error.strerror or error}\n")
    except MalformedFile as error:
        return Outcome(path, f"{path}:{error.line}: {error.reason}\n")
    return Outcome(path)


def _runner_for(directives: Iterable[Directive]) -> _Runner:
    for directive in directives:
        for commands, runner in _KINDS:
            if directive.command in commands:
                return runner()
    raise MalformedFile(1, "no directive of an interaction, quorum or confchange file in it")


def _difference(path: Path, directive: Directive, runner: _Runner) -> str:
    try:
        actual = runner.run(directive)
    except MalformedFile:
        raise
    # Whatever breaks inside the core fails this file, in one line, and the next file still runs.
    except Exception as error:
        what = f"{type(error).__name__}: {error}".replace("\n", " ")
        return f"{path}:{directive.line}: {directive.command}: the core failed: {what}\n"
    if actual and not actual.endswith("\n"):
        actual += "\n"
    if actual == directive.expected:
        return ""
    place = f"{path}:{directive.line}"
    lines = difflib.unified_diff(
        directive.expected.splitlines(keepends=True),
        actual.splitlines(keepends=True),
        f"{place} {directive.command} (expected)",
        f"{place} {directive.command} (actual)",
    )
    return "".join(lines)


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files given, and those ending in .txt below the folders given, sorted."""
    for path in paths:
        if path.is_dir():
            yield from sorted(path.rglob("*.txt"))
        else:
            yield path
